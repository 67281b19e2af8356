"""Why a pod does not serve, in one sentence, from what the cluster says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.release.objects import Object

_LONGEST = 400  # characters of what a container has said last
_PULL = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CREATING = frozenset({"ContainerCreating", "PodInitializing"})
_FOR_ENGINES = "wait-for-engines"  # the chart's init container


def why_not_ready(pod: Object, events: Sequence[Object] = ()) -> str:
    """The sentence, without the pod's name; empty where it is ready. `events` are warnings of the namespace."""
    status = pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"failed: {status['reason']}{_after(status.get('message'))}"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {_line(scheduled.get('message')) or scheduled.get('reason', 'no reason given')}"
    for container in _unready(status):
        return _of_container(container, pod, events)
    gates = [gate["conditionType"] for gate in pod.get("spec", {}).get("readinessGates") or ()]
    waiting = [gate for gate in gates if conditions.get(gate, {}).get("status") != "True"]
    if waiting:
        return f"waits for {', '.join(waiting)}"
    return "waits for a node's kubelet to take it"


def _unready(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The containers that hold it up, those that run first first."""
    for container in status.get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if not container.get("ready") and (ended is None or ended.get("exitCode")):
            yield container
    yield from (container for container in status.get("containerStatuses") or () if not container.get("ready"))


def _of_container(container: Mapping[str, Any], pod: Object, events: Sequence[Object]) -> str:
    name, state = container["name"], container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason = waiting.get("reason", "")
    if reason in _PULL:
        why = _after(waiting.get("message") or reason)
        return f"the image {container.get('image', '')} of `{name}` cannot be pulled{why}"
    if reason == "CrashLoopBackOff" or ended:
        return _of_end(name, ended or (container.get("lastState") or {}).get("terminated") or {}, container)
    if reason in _CREATING:
        event = _event(pod, events, "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Failed")
        return f"`{name}` is being started" + _after(event)
    if waiting:
        return f"`{name}` cannot be started: {reason}{_after(waiting.get('message'))}"
    last = (container.get("lastState") or {}).get("terminated")
    if last and container.get("restartCount"):
        return f"{_of_end(name, last, container)}; it runs again, and is not ready yet"
    if name == _FOR_ENGINES:
        return "waits for the engines that a Job of the release builds"
    event = _event(pod, events, "Unhealthy")
    return f"`{name}` runs and is not ready" + (_after(event) or " yet: its models are being loaded")


def _of_end(name: str, ended: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """How a container ended, how often, and what it said last."""
    count, code, reason = container.get("restartCount", 0), ended.get("exitCode"), ended.get("reason", "")
    if reason == "OOMKilled":
        how = "was ended because it took more memory than its limit"
    else:
        how = "ended" + ("" if code is None else f" with exit status {code}")
    often = f", {count} times by now" if count > 1 else ""
    return f"`{name}` {how}{often}{_after(ended.get('message'))}"


def restarts(pod: Object) -> int:
    """How often the container of the pod that ended most often did."""
    status = pod.get("status", {})
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return max((int(container.get("restartCount", 0)) for container in containers), default=0)


def _event(pod: Object, events: Sequence[Object], *reasons: str) -> str:
    """The newest warning of this pod with one of the reasons."""
    uid = pod["metadata"].get("uid")
    mine = [e for e in events if e.get("involvedObject", {}).get("uid") == uid and e.get("reason") in reasons]
    newest = max(mine, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", default={})
    return str(newest.get("message", ""))


def of_owner(owner: Object, events: Sequence[Object]) -> str:
    """Why a workload has no pod: what forbids to make one. Empty where nothing does."""
    for condition in owner.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"no pod can be made: {_line(condition.get('message'))}"
    failed = _event(owner, events, "FailedCreate")
    return f"no pod can be made: {_line(failed)}" if failed else ""


def _after(message: Any) -> str:
    text = _line(message)
    return f": {text}" if text else ""


def _line(message: Any) -> str:
    """A message in one line; of a long one its end, where what counts stands."""
    text = " ".join(str(message or "").split())
    return text if len(text) <= _LONGEST else f"… {text[-_LONGEST:]}"
