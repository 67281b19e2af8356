"""Which revisions of a release have served: noted at its workload, because Helm knows only what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deploy.release.cluster import Cluster
from deploy.release.objects import Object
from deploy.release.rollout import look
from deploy.release.state import State
from deploy.tools.process import NoAnswerError
from generator.problems import UserError

# Of the workload itself, not of its pods: nothing is rolled for it. Helm leaves annotations of others alone, and it
# goes with the release.
NOTE = "tritonkit/served"
_KEPT = 10  # revisions, as many as Helm keeps


def known(cluster: Cluster, state: State) -> State:
    """The state with the revisions that served: those noted, and the newest one where it serves now.

    It does where all of it is there or was, and where one of its pods is ready and nothing says that the others will
    not be: a pod that is just moved says nothing against what serves. Raises KubectlError.
    """
    if state.newest is None:
        return state
    noted = {number for item in _workloads(cluster, state.name) for number in _noted(item)}
    if state.newest.status == "deployed" and look(cluster, state.name).serves:
        noted.add(state.newest.number)
    return replace(state, served=frozenset(noted))


def note(cluster: Cluster, name: str, revisions: Iterable[int]) -> str:
    """Notes that these served. Why it could not be done, in words; empty where it was. Raises NoAnswerError."""
    kept = ",".join(map(str, sorted(set(revisions))[-_KEPT:]))
    try:
        for item in _workloads(cluster, name):
            cluster.kubectl.annotate(item["kind"].lower(), item["metadata"]["name"], {NOTE: kept})
    except NoAnswerError:
        raise
    except UserError as error:
        return f"that it serves could not be noted for later rollbacks: {error.message}"
    return ""


def _workloads(cluster: Cluster, name: str) -> list[Object]:
    return cluster.kubectl.get(("deployments", "statefulsets"), f"--selector=app.kubernetes.io/instance={name}")


def _noted(item: Object) -> list[int]:
    text = (item["metadata"].get("annotations") or {}).get(NOTE, "")
    return [int(word) for word in text.split(",") if word.isdigit()]
