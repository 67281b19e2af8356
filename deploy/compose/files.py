"""The files of docker compose, from the same values as the chart's, and the chart's own rules.

They are read by Compose 2 and by docker-compose 1.29.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.docker.container import LOOPBACK, PIDS, TMP_BYTES, stop_timeout_s
from deploy.docker.flags import CHART, KEY
from deploy.docker.loader import RESULTS, SERVER
from deploy.docker.problem import refused
from deploy.docker.request import Request
from deploy.release.objects import objects_of
from deploy.tools.helm import Helm
from generator.whole_file import passing_folder

RELEASE, NAMESPACE = "tritonkit", "compose"
PROMETHEUS = "prom/prometheus:v3.5.0"
_RULES, _SCRAPE = "rules.yml", "prometheus.yml"
_COMPOSE = "compose.yaml"
_SCRAPE_S = 5
PORTS = {
    "TRITONKIT_HTTP_PORT": 8000, "TRITONKIT_GRPC_PORT": 8001, "TRITONKIT_METRICS_PORT": 8002,
    "TRITONKIT_PROMETHEUS_PORT": 9090,
}  # fmt: skip
"""Where services are published, by the variable that says another port; 0 is any free one. Inside they stay."""
_HEAD = "# Written by `tritonkit deploy compose`; `--check` says whether the specs would still give it.\n"


@dataclass(frozen=True)
class Images:
    """What runs: the server's and the load generator's image, as `deploy image build` calls them, and Prometheus."""

    server: str
    load: str
    prometheus: str = PROMETHEUS


def files_of(request: Request, images: Images, helm: Helm) -> dict[str, str]:
    """Every file by its name. Raises HelmError where the chart does not render."""
    return {
        _COMPOSE: _HEAD + _HOW + _yaml(_compose(request, images)),
        _SCRAPE: _HEAD + _yaml(_prometheus()),
        _RULES: _HEAD + _yaml({"groups": rules(request.values, helm)}),
    }


_HOW = f"""\
# Everything is published on this machine's loopback alone, on ports that these variables change:
#   {", ".join(f"{name}={port}" for name, port in PORTS.items())}
# The restricted APIs are closed unless {KEY} is set where compose is started.
#   docker compose up -d server prometheus
#   docker compose run --rm load
"""


def rules(values: Mapping[str, Any], helm: Helm) -> list[dict[str, Any]]:
    """The groups of the chart's PrometheusRule for these values."""
    wanted = {**values, "metrics": {**values["metrics"], "prometheusRule": {"enabled": True}}}
    # Nothing else of the chart is looked at: what it checks of Secrets and claims is of clusters.
    wanted["restrictedApis"] = {**values["restrictedApis"], "existingSecret": "unused"}
    local = Helm(helm.binary, namespace=NAMESPACE)
    manifests = objects_of(local.template(RELEASE, CHART, yaml.safe_dump(wanted)))
    [rule] = [one for one in manifests if one["kind"] == "PrometheusRule"]
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def _compose(request: Request, images: Images) -> dict[str, Any]:
    return {
        "services": {
            SERVER: _server(request, images.server),
            "prometheus": _scraper(images.prometheus),
            "load": _load(images.load),
        },
        "volumes": {"prometheus": {}, "results": {}},
    }


def _scraper(image: str) -> dict[str, Any]:
    return _locked({
        "image": image,
        "command": [
            f"--config.file=/etc/prometheus/{_SCRAPE}", "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=7d", "--web.listen-address=0.0.0.0:9090",
        ],
        "ports": [_published("TRITONKIT_PROMETHEUS_PORT")],
        "volumes": [
            *(f"./{name}:/etc/prometheus/{name}:ro" for name in (_SCRAPE, _RULES)), "prometheus:/prometheus",
        ],
        "depends_on": {SERVER: {"condition": "service_healthy"}},
        "restart": "unless-stopped",
    })  # fmt: skip


def _load(image: str) -> dict[str, Any]:
    return _locked(
        {
            "image": image,
            "profiles": ["load"],
            "tmpfs": [f"/tmp:size={16 * TMP_BYTES},mode=1777"],  # noqa: S108 - the container's own
            "volumes": [f"results:{RESULTS}"],
            "depends_on": {SERVER: {"condition": "service_healthy"}},
        }
    )


def _server(request: Request, image: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "image": image,
        "ports": [_published(f"TRITONKIT_{name}_PORT") for name in ("HTTP", "GRPC", "METRICS")],
        "environment": {KEY: f"${{{KEY}:-}}"},
        "tmpfs": [f"/tmp:size={TMP_BYTES},mode=1777"],  # noqa: S108 - the container's own
        "shm_size": int(request.values["sharedMemoryBytes"]),
        "stop_grace_period": f"{stop_timeout_s(request)}s",
        "restart": "unless-stopped",
    }
    if request.gpus:
        device = {"driver": "nvidia", "count": request.gpus, "capabilities": ["gpu"]}
        made["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return _locked(made)


def _published(variable: str) -> str:
    return f"{LOOPBACK}:${{{variable}:-{PORTS[variable]}}}:{PORTS[variable]}"


def _locked(service: dict[str, Any]) -> dict[str, Any]:
    """With nothing that it may do beside its work."""
    return {
        **service, "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"],
        "pids_limit": PIDS,
    }  # fmt: skip


def _prometheus() -> dict[str, Any]:
    """Scrapes carry the labels that the rules look for; on a cluster the PodMonitor puts them there."""
    labels = {"namespace": NAMESPACE, "release": RELEASE, "pod": SERVER}
    return {
        "global": {"scrape_interval": f"{_SCRAPE_S}s", "evaluation_interval": f"{_SCRAPE_S}s"},
        "rule_files": [_RULES],
        "scrape_configs": [
            {"job_name": "triton", "static_configs": [{"targets": [f"{SERVER}:8002"], "labels": labels}]}
        ],
    }


def _yaml(data: object) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def write(files: Mapping[str, str], folder: Path) -> list[str]:
    """Writes all that differs, or nothing; the names of it.

    Raises ProblemsError (TK473) before it overwrites what is not ours; OSError.
    """
    foreign = [folder / name for name in files if not _is_free(folder / name)]
    if foreign:
        raise refused("TK473", str(foreign[0]), f"`{foreign[0]}` was not written by tritonkit",
                      "name another folder")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    changed = differences(files, folder)
    _replace({Path(os.path.realpath(folder / name)): files[name] for name in changed})
    return changed


def _replace(texts: Mapping[Path, str]) -> None:
    """Everything is written beside its place first, and what was there kept until all of it stands."""
    with contextlib.ExitStack() as left:
        beside = {file: left.enter_context(passing_folder(file.parent, f".{file.name}-")) for file in texts}
        for file, fresh in beside.items():
            if file.exists():
                shutil.copy2(file, fresh / "old")
            (fresh / "new").write_text(texts[file], encoding="utf-8")
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.chown(fresh / "new", file.stat().st_uid, file.stat().st_gid)
            (fresh / "new").chmod(0o644)  # a container's user reads it
        try:
            for file, fresh in beside.items():
                (fresh / "new").replace(file)
        except BaseException:
            for file, fresh in beside.items():
                if (fresh / "old").exists():
                    (fresh / "old").replace(file)
                else:
                    file.unlink(missing_ok=True)
            raise


def differences(files: Mapping[str, str], folder: Path) -> list[str]:
    """The names of files that are not there or not so."""
    return [name for name, text in files.items() if not _is(folder / name, text)]


def _is_free(file: Path) -> bool:
    """Whether it may be written: nothing is there, or a file of ours. Nothing else is opened: a pipe would wait."""
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return not file.is_symlink()
    if not is_file:
        return False
    head = _HEAD.encode()
    with file.open("rb") as opened:
        return opened.read(len(head)) == head


def _is(file: Path, text: str) -> bool:
    try:
        return file.is_file() and file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False
