"""Everything that can be known before anything is changed on a cluster: asked at once, told at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from deploy.release.cluster import Cluster
from deploy.release.nodes import shortages
from deploy.release.objects import Object
from deploy.release.rights import LISTED_WHEN_REMOVED, REMOVING, denied, resources_of
from deploy.release.rollout import is_complete, selector_of
from deploy.release.served import known
from deploy.release.state import State, obstacles, state_of
from deploy.tools.kubectl import ForbiddenError, KubectlBrokenError, KubectlError, UnreachableError
from generator.problems import Problem, ProblemsError, Severity, errors


@dataclass(frozen=True)
class Found:
    """What a cluster says before a release goes there. `problems` are warnings: errors have stopped it."""

    state: State
    namespace_exists: bool
    problems: tuple[Problem, ...]


def preflight(
    cluster: Cluster, name: str, objects: Sequence[Object], *, create_namespace: bool, changing: bool = True,
    nodes_must_do: bool = True,
) -> Found:  # fmt: skip
    """Asks whether the release `name` with these objects can go there; `changing` also whether it may.

    Nodes may come: a pool that is scaled to zero has none. Without `nodes_must_do` they are a warning. Raises
    ProblemsError with everything that is in the way.
    """
    reachable(cluster)
    there = namespace_exists(cluster)
    resources, problems = resources_of(cluster, objects)
    if not there and not create_namespace and changing:
        problems.append(_no_namespace(cluster))
    refused = denied(cluster, resources.values(), create_namespace=not there and create_namespace) if changing else []
    problems += refused
    state = State(name)
    if not any(problem.field == "secrets" for problem in refused):
        state = state_of(cluster, name)
        state = known(cluster, state) if changing and not refused else state
        problems += obstacles(cluster, state) if changing else []
    problems += _nodes(cluster, _to_run(cluster, name, objects), must_do=changing and nodes_must_do)
    if errors(problems):
        raise ProblemsError(problems)
    return Found(state, there, tuple(problems))


def may_change(cluster: Cluster, objects: Sequence[Object]) -> None:
    """Before a rollback to these objects: raises ProblemsError with every right that is missing for it."""
    _stop_if(denied(cluster, resources_of(cluster, objects)[0].values()))


def may_remove(cluster: Cluster, objects: Sequence[Object]) -> None:
    """Before these objects of a release are removed: raises ProblemsError with every right that is missing for it."""
    resources = resources_of(cluster, objects)[0].values()
    _stop_if(denied(cluster, resources, verbs=REMOVING, listed=LISTED_WHEN_REMOVED))


def _stop_if(problems: Sequence[Problem]) -> None:
    if problems:
        raise ProblemsError(problems)


def reachable(cluster: Cluster) -> None:
    """Raises ProblemsError when the cluster does not answer, or does not know the user."""
    try:
        cluster.kubectl.raw("/version")
    except UnreachableError as error:
        raise cluster.stop(
            "TK444", f"the cluster at {cluster.context.server} does not answer: {error.message}",
            "see whether it runs and whether the kubeconfig is of today; --context names another",
        ) from error  # fmt: skip
    except KubectlBrokenError:
        raise
    except KubectlError as error:
        raise cluster.stop(
            "TK444", f"the cluster at {cluster.context.server} refuses to be talked to: {error.message}",
            "the credentials of the kubeconfig may have expired: log in again",
        ) from error  # fmt: skip


def namespace_exists(cluster: Cluster) -> bool:
    """Whether it is there; also where one may not ask."""
    try:
        return cluster.kubectl.raw(f"/api/v1/namespaces/{cluster.namespace}") is not None
    except ForbiddenError:
        return True


def _no_namespace(cluster: Cluster) -> Problem:
    return Problem(
        "TK450", cluster.place, "", f"there is no namespace `{cluster.namespace}`",
        "--create-namespace makes it; --namespace names another",
    )  # fmt: skip


def _to_run(cluster: Cluster, name: str, objects: Sequence[Object]) -> list[Object]:
    """The objects without the Jobs that have ended well there: they are not run again, and take no GPU."""
    done: set[str] = set()
    if any(item["kind"] == "Job" for item in objects):
        with suppress(ForbiddenError):
            found = cluster.kubectl.get(["jobs"], selector_of(name))
            done = {job["metadata"]["name"] for job in found if is_complete(job)}
    return [item for item in objects if item["kind"] != "Job" or item["metadata"]["name"] not in done]


def _nodes(cluster: Cluster, objects: Sequence[Object], *, must_do: bool) -> list[Problem]:
    try:
        nodes = cluster.kubectl.get(["nodes"], namespaced=False)
    except ForbiddenError:
        message = "you may not list the nodes, so nobody has looked whether they have the GPUs"
        return [Problem("TK448", cluster.place, "nodes", message, severity=Severity.NOTE)]
    more = "; --no-node-check where such nodes are to come" if must_do else ""
    return [
        Problem(
            "TK455" if found.is_total else "TK448", cluster.place, found.owner, found.message,
            found.hint + ("" if found.is_total else more),
            Severity.ERROR if must_do and not found.is_total else Severity.WARNING,
        )
        for found in shortages(objects, nodes)
    ]  # fmt: skip
