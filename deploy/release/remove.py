"""A release is taken off a cluster: what goes, what stays, and waiting until its pods have gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.release.cluster import Cluster
from deploy.release.differences import is_kept
from deploy.release.objects import Key, Object, key_of, objects_of
from deploy.release.patience import LOOK_S, answered
from deploy.release.state import State
from generator.problems import UserError


@dataclass(frozen=True)
class Removal:
    """What goes with a release, and what does not."""

    goes: tuple[Key, ...]
    stays: tuple[str, ...]


def removal_of(cluster: Cluster, state: State) -> Removal:
    """What the newest revision has on the cluster. Raises HelmError."""
    objects = objects_of(cluster.helm.manifest(state.name))
    kept = [f"{key_of(item)}: it says that it is to be kept" for item in objects if is_kept(item)]
    claims = [f"PersistentVolumeClaim {name}: the release uses it, and has not made it" for name in _claims(objects)]
    return Removal(
        tuple(key_of(item) for item in objects if not is_kept(item)),
        (*kept, *claims, f"Namespace {cluster.namespace}"),
    )


def _claims(objects: Sequence[Object]) -> list[str]:
    """The claims that pods of these objects mount."""
    found: list[str] = []
    for item in objects:
        spec = item.get("spec")
        pod = ((spec.get("template") or {}).get("spec") or {}) if isinstance(spec, dict) else {}
        for volume in pod.get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name and name not in found:
                found.append(name)
    return found


def remove(cluster: Cluster, state: State, *, timeout_s: float, say: Callable[[str], None]) -> list[str]:
    """Removes the release, and waits for its pods: they finish their requests first. The names of those still there
    when the time is over. Raises ProblemsError when the cluster refuses."""
    try:
        say("removing the release")
        cluster.helm.uninstall(state.name)
        return _gone(cluster, state.name, timeout_s=timeout_s, say=say)
    except UserError as error:
        raise cluster.stop(
            "TK451", f"the release could not be removed: {error.message}", "run the same command again"
        ) from error  # fmt: skip


def _gone(cluster: Cluster, name: str, *, timeout_s: float, say: Callable[[str], None]) -> list[str]:
    deadline, said = time.monotonic() + timeout_s, -1
    selector = f"--selector=app.kubernetes.io/instance={name}"
    while True:
        pods = answered(lambda: cluster.kubectl.get(["pods"], selector), until=deadline, say=say)
        if not pods or time.monotonic() > deadline:
            return [pod["metadata"]["name"] for pod in pods]
        if len(pods) != said:
            said = len(pods)
            say(f"{said} {'pods finish their' if said != 1 else 'pod finishes its'} requests")
        time.sleep(LOOK_S)
