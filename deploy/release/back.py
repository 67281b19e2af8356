"""An earlier revision made the newest again, without taking pods away on the way.

Helm sends a stored manifest as it was. One of a revision with an autoscaler names no number of pods; where the
revision before it named one, Helm removes that, and Kubernetes takes a workload without a number for one pod, until
the autoscaler comes round. So such a revision is rendered again, from its own chart and values as Helm keeps them:
with the cluster in view the chart names the number of pods that there is (`_replicas.tpl`).
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from deploy.release.cluster import Cluster
from deploy.release.objects import by_key, objects_of
from deploy.release.state import State
from deploy.tools.helm import HelmError
from deploy.tools.process import NoAnswerError
from generator.problems import UserError

_WORKLOADS = {"Deployment", "StatefulSet"}
_NOT_KEPT = "what Helm keeps cannot be rendered anew"


def roll_back(cluster: Cluster, state: State, revision: int, say: Callable[[str], None]) -> None:
    """Makes it the newest, and does not wait for pods. Raises HelmError."""
    if _leaves_the_number(cluster, state, revision):
        why = _sent_again(cluster, state, revision)
        if not why:
            return
        say(f"the number of pods is the autoscaler's again, from one pod on: {why}")
    cluster.helm.rollback(state.name, revision)


def _leaves_the_number(cluster: Cluster, state: State, revision: int) -> bool:
    """Whether a number of pods is there now that this revision does not name. Raises NoAnswerError."""
    try:
        newest, earlier = (by_key(objects_of(cluster.helm.manifest(state.name, one))) for one in (None, revision))
    except NoAnswerError:
        raise
    except UserError:  # the rollback itself will say what is wrong
        return False
    return any(
        "replicas" in item["spec"] and key in earlier and "replicas" not in earlier[key]["spec"]
        for key, item in newest.items()
        if key.kind in _WORKLOADS
    )


def _sent_again(cluster: Cluster, state: State, revision: int) -> str:
    """Sends it as an upgrade to its own chart and values; why that cannot be, where nothing was sent.

    Helm takes no upgrade over an operation that was killed, a chart may be older than the number that it keeps, and
    the cluster or an admission may refuse today what they took then. Raises HelmError where it was sent and failed.
    """
    record = None if state.is_pending else _record(cluster, state.name, revision)
    if record is None:
        return _NOT_KEPT
    values = json.dumps(record.get("config") or {})
    with tempfile.TemporaryDirectory(prefix="tritonkit-chart-") as folder:
        chart = Path(folder) / "chart"
        if not _written(record["chart"], chart):
            return _NOT_KEPT
        try:
            made = objects_of(cluster.helm.dry_run(state.name, chart, values).manifest)
            if any(item["kind"] in _WORKLOADS and "replicas" not in item["spec"] for item in made):
                return _NOT_KEPT
            # Said as Helm says it: a later rollback knows by it which revision this is.
            cluster.helm.upgrade(
                state.name, chart, values, description=f"Rollback to {revision}", mark=secrets.token_hex(8)
            )
        except NoAnswerError:
            raise
        except HelmError as error:
            if State(state.name, tuple(cluster.helm.history(state.name))).newest != state.newest:
                raise
            return f"revision {revision} could not be sent anew ({error.message})"
    return ""


def _record(cluster: Cluster, name: str, revision: int) -> Mapping[str, Any] | None:
    """What Helm keeps of a revision; None where it keeps it elsewhere than in Secrets, or in another way."""
    try:
        [secret] = cluster.kubectl.get(["secrets"], f"sh.helm.release.v1.{name}.v{revision}")
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        record = json.loads(gzip.decompress(packed))
        return record if isinstance(record["chart"], dict) else None
    except NoAnswerError:
        raise
    except (UserError, ValueError, LookupError, TypeError, OSError, EOFError, zlib.error):
        return None


def _written(chart: Mapping[str, Any], folder: Path) -> bool:
    """Writes a chart as Helm keeps it; False where that is not all of it."""
    if (chart.get("metadata") or {}).get("dependencies"):
        return False  # charts inside of it are not kept
    files = {"Chart.yaml": json.dumps(chart.get("metadata")).encode(),
             "values.yaml": json.dumps(chart.get("values") or {}).encode()}  # fmt: skip
    if chart.get("schema"):
        files["values.schema.json"] = base64.b64decode(chart["schema"])
    for file in (*(chart.get("templates") or ()), *(chart.get("files") or ())):
        path = PurePosixPath(str(file["name"]))
        if path.is_absolute() or ".." in path.parts:
            return False
        files[str(path)] = base64.b64decode(file.get("data") or "")
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return True
