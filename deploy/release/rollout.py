"""How far the pods of a release are: asked again and again until they serve, or will not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from deploy.release.cluster import Cluster
from deploy.release.objects import Object, objects_of
from deploy.release.patience import LOOK_S, SILENT_S, answered
from deploy.release.reasons import of_owner, restarts, why_not_ready

T = TypeVar("T")
KINDS = ("deployments", "statefulsets", "replicasets", "pods", "jobs")
# A container that ended so often does not come up by itself.
HOPELESS_RESTARTS = 5
NO_WORKLOAD = "the release has no workload on the cluster"
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Rollout:
    """Where it stands. `waiting` says why, a sentence a pod; `failed` why it will not go on (empty: it may)."""

    ready: int
    wanted: int
    is_done: bool
    waiting: tuple[str, ...] = ()
    failed: str = ""
    serves: bool = False  # whether what is wanted now does, even if a pod of it is missing at the moment

    @property
    def sentence(self) -> str:
        """`1 of 2 pods of this revision are ready; digits-7d9: cannot be scheduled: …`."""
        what = "pods" if self.is_done else "pods of this revision"
        return "; ".join([f"{self.ready} of {self.wanted} {what} are ready", *self.waiting])


def look(cluster: Cluster, release: str, before: Mapping[str, int] | None = None) -> Rollout:
    """Where the release stands now; `before` as rollout_of takes it. Raises KubectlError, HelmError."""
    found = cluster.kubectl.get(KINDS, selector_of(release))
    may_be_empty = may_be_empty_of(cluster, release, found)
    rollout = rollout_of(found, (), may_be_empty=may_be_empty)
    if rollout.is_done:
        return rollout
    events = cluster.kubectl.get(["events"], "--field-selector=type=Warning")
    return rollout_of(found, events, before=before, may_be_empty=may_be_empty)


def may_be_empty_of(cluster: Cluster, release: str, found: Sequence[Object]) -> bool:
    """Whether the release itself says that it has no pods; asked only where there are none. Raises HelmError."""
    if not any(_is_empty(item) for item in found):
        return False
    return any(_is_empty(item) for item in objects_of(cluster.helm.manifest(release)))


def _is_empty(item: Object) -> bool:
    return item["kind"] in {"Deployment", "StatefulSet"} and item["spec"].get("replicas") == 0


def rollout_of(
    found: Sequence[Object], events: Sequence[Object], *, before: Mapping[str, int] | None = None,
    may_be_empty: bool = False,
) -> Rollout:  # fmt: skip
    """The same, from the objects of a release and the warnings of its namespace.

    `before` are restarts that containers already had, by their pod's uid; `may_be_empty` where no pods are wanted.
    """
    jobs = [_of_job(job, found, events) for job in _kind(found, "Job")]
    workloads = [
        _of_workload(item, found, events, before or {}, may_be_empty=may_be_empty)
        for kind in ("Deployment", "StatefulSet")
        for item in _kind(found, kind)
    ] or [Rollout(0, 0, is_done=False, waiting=(NO_WORKLOAD,))]
    parts = [*jobs, *workloads]
    failed = [part.failed for part in parts if part.failed]
    return Rollout(
        sum(part.ready for part in workloads), sum(part.wanted for part in workloads),
        all(part.is_done for part in parts), tuple(line for part in parts for line in part.waiting),
        "; ".join(failed), all(part.serves for part in parts),
    )  # fmt: skip


def wait(
    cluster: Cluster, release: str, *, timeout_s: float, progress: Callable[[str], None], look_s: float = LOOK_S,
    silent_s: float = SILENT_S,
) -> Rollout:  # fmt: skip
    """Asks until the release serves, will not, or the time is over; the last state that was seen.

    `progress` gets what is not ready and why, whenever that changes. A cluster that does not answer is asked again,
    `silent_s` seconds at least. Raises KubectlError, HelmError.
    """
    deadline = time.monotonic() + timeout_s
    said = ""

    def ask(question: Callable[[], T]) -> T:
        return answered(question, until=deadline, say=progress, silent_s=silent_s, look_s=look_s)

    before = ask(lambda: _restarts_now(cluster, release))
    while True:
        rollout = ask(lambda: look(cluster, release, before))
        if rollout.is_done or rollout.failed or time.monotonic() > deadline:
            return rollout
        if rollout.sentence != said:
            progress(rollout.sentence)
            said = rollout.sentence
        time.sleep(look_s)


def selector_of(release: str) -> str:
    """Of all objects of a release."""
    return f"--selector=app.kubernetes.io/instance={release}"


def _restarts_now(cluster: Cluster, release: str) -> dict[str, int]:
    """How often containers have ended by now, by their pod's uid: that is no doing of a rollout that begins now."""
    pods = cluster.kubectl.get(("pods",), selector_of(release))
    return {pod["metadata"]["uid"]: restarts(pod) for pod in pods}


def _kind(found: Sequence[Object], kind: str) -> list[Object]:
    return [item for item in found if item["kind"] == kind]


def _of_workload(
    item: Object, found: Sequence[Object], events: Sequence[Object], before: Mapping[str, int], *, may_be_empty: bool
) -> Rollout:  # fmt: skip
    """Of a Deployment or StatefulSet: its newest pods alone count."""
    spec, status = item["spec"], item.get("status", {})
    wanted = int(spec.get("replicas", 1))
    seen = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 1)
    pods = [pod for pod in _newest_pods(item, found) if "deletionTimestamp" not in pod["metadata"]]
    ready = min(wanted, sum(not why_not_ready(pod) for pod in pods))
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    done = seen and updated == available == status.get("replicas", 0) == wanted
    if done and not wanted and not may_be_empty:
        name = f"{item['kind']} {item['metadata']['name']}"
        told = f"{name}: somebody has scaled it to no pods, and the release wants some"
        return Rollout(0, 0, is_done=False, waiting=(told,))
    if done:
        return Rollout(wanted, wanted, is_done=True, serves=True)
    waiting = [f"{pod['metadata']['name']}: {why}" for pod in pods if (why := why_not_ready(pod, events))]
    name = f"{item['kind']} {item['metadata']['name']}"
    if len(pods) < wanted and (why := _no_pod(item, found, events)):
        waiting.append(f"{name}: {why}")
    elif not waiting:
        waiting.append(
            f"{name}: earlier pods finish what they have begun" if ready == wanted else f"{name}: pods are made"
        )
    failed = _failed(item, pods, before) if seen else ""
    was_whole = _progressing(item) == "NewReplicaSetAvailable"  # these pods, once: a Deployment keeps that
    serves = seen and (was_whole or (ready > 0 and not failed))
    return Rollout(ready, wanted, is_done=False, waiting=tuple(waiting), failed=failed, serves=serves)


def _newest_pods(item: Object, found: Sequence[Object]) -> list[Object]:
    """The pods of what is being rolled out, and not those that it takes the place of."""
    uid, pods = item["metadata"].get("uid"), _kind(found, "Pod")
    if item["kind"] == "StatefulSet":
        revision = item.get("status", {}).get("updateRevision")
        mine = [pod for pod in pods if _is_of(pod, uid)]
        return [
            pod for pod in mine if (pod["metadata"].get("labels") or {}).get("controller-revision-hash") == revision
        ]
    number = (item["metadata"].get("annotations") or {}).get(_REVISION)
    sets = [
        one["metadata"].get("uid")
        for one in _kind(found, "ReplicaSet")
        if _is_of(one, uid) and (one["metadata"].get("annotations") or {}).get(_REVISION) == number
    ]
    return [pod for pod in pods if any(_is_of(pod, one) for one in sets)]


def _is_of(item: Object, uid: str | None) -> bool:
    return any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or ())


def _no_pod(item: Object, found: Sequence[Object], events: Sequence[Object]) -> str:
    sets = [one for one in _kind(found, "ReplicaSet") if _is_of(one, item["metadata"].get("uid"))]
    return next((why for one in (item, *sets) if (why := of_owner(one, events))), "")


def _failed(item: Object, pods: Sequence[Object], before: Mapping[str, int]) -> str:
    """Why the rollout will not go on by itself."""
    if _progressing(item) == "ProgressDeadlineExceeded":
        return f"no pod became ready within {item['spec'].get('progressDeadlineSeconds', 600)} s"
    unready = [pod for pod in pods if why_not_ready(pod)]
    often = max((restarts(pod) - before.get(pod["metadata"].get("uid", ""), 0) for pod in unready), default=0)
    return f"a container has ended {often} times" if often >= HOPELESS_RESTARTS else ""


def _progressing(item: Object) -> str:
    """What a Deployment says of its rollout; a StatefulSet says nothing."""
    conditions = item.get("status", {}).get("conditions") or ()
    return next((str(one.get("reason", "")) for one in conditions if one["type"] == "Progressing"), "")


def is_complete(job: Object) -> bool:
    """Whether a Job has ended well."""
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Complete" and one.get("status") == "True" for one in conditions)


def _of_job(job: Object, found: Sequence[Object], events: Sequence[Object]) -> Rollout:
    """Of a Job: an engine that has to be built before the pods can load it."""
    name = f"Job {job['metadata']['name']}"
    conditions = {condition["type"]: condition for condition in job.get("status", {}).get("conditions") or ()}
    if is_complete(job):
        return Rollout(0, 0, is_done=True, serves=True)
    if conditions.get("Failed", {}).get("status") == "True":
        said = conditions["Failed"].get("message") or conditions["Failed"].get("reason", "")
        return Rollout(
            0, 0, is_done=False, failed=f"{name} failed: {said}", waiting=tuple(_ended(job, found, events))
        )
    return Rollout(0, 0, is_done=False, waiting=(f"{name}: builds an engine", *_ended(job, found, events)))


def _ended(job: Object, found: Sequence[Object], events: Sequence[Object]) -> list[str]:
    pods = [pod for pod in _kind(found, "Pod") if _is_of(pod, job["metadata"].get("uid"))]
    return [f"{pod['metadata']['name']}: {why}" for pod in pods if (why := why_not_ready(pod, events))]
