"""Why pods are not ready: one sentence for each of the ways in which they are not."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.release.reasons import of_owner, restarts, why_not_ready

NAME = "tritonserver"


def pod(*, ready: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", [])]
    return {"metadata": {"name": "digits-1", "uid": "u"}, "spec": {}, "status": {"conditions": conditions, **status}}


def container(restarts: int = 0, last: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    return {"name": NAME, "image": "triton:1", "ready": False, "restartCount": restarts, "state": state,
            "lastState": {} if last is None else {"terminated": last}}  # fmt: skip


def event(reason: str, message: str, at: str = "2026-01-01", uid: str = "u") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at, "involvedObject": {"uid": uid}}


WAITING = {"waiting": {"reason": "ContainerCreating"}}
CASES = [
    (pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]),
     [], "cannot be scheduled: 0/3 nodes are available"),
    (pod(containerStatuses=[container(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling"})]),
     [], "the image triton:1 of `tritonserver` cannot be pulled: Back-off pulling"),
    (pod(containerStatuses=[container(4, {"exitCode": 1, "message": "failed to load all models\n"}, waiting={"reason": "CrashLoopBackOff"})]),
     [], "`tritonserver` ended with exit status 1, 4 times by now: failed to load all models"),
    (pod(containerStatuses=[container(1, {"exitCode": 137, "reason": "OOMKilled"}, waiting={"reason": "CrashLoopBackOff"})]),
     [], "`tritonserver` was ended because it took more memory than its limit"),
    (pod(containerStatuses=[container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "a" not found'})]),
     [], '`tritonserver` cannot be started: CreateContainerConfigError: secret "a" not found'),
    (pod(containerStatuses=[container(**WAITING)]), [event("FailedMount", "claim is not bound")],
     "`tritonserver` is being started: claim is not bound"),
    (pod(containerStatuses=[container(**WAITING)]), [event("FailedMount", "of another", uid="x")], "`tritonserver` is being started"),
    (pod(containerStatuses=[container(running={})]), [event("Unhealthy", "old", "2025"), event("Unhealthy", "Readiness probe failed: 400")],
     "`tritonserver` runs and is not ready: Readiness probe failed: 400"),
    (pod(containerStatuses=[container(running={})]), [], "`tritonserver` runs and is not ready yet: its models are being loaded"),
    (pod(containerStatuses=[container(2, {"exitCode": 3}, running={})]),
     [], "`tritonserver` ended with exit status 3, 2 times by now; it runs again, and is not ready yet"),
    (pod(phase="Failed", reason="Evicted", message="The node was low on memory"), [], "failed: Evicted: The node was low on memory"),
    (pod(initContainerStatuses=[container(terminated={"exitCode": 2, "message": "no such bucket"})], containerStatuses=[container(**WAITING)]),
     [], "`tritonserver` ended with exit status 2: no such bucket"),
    (pod(initContainerStatuses=[container(running={}) | {"name": "wait-for-engines"}], containerStatuses=[container(**WAITING)]),
     [], "waits for the engines that a Job of the release builds"),
    (pod(), [], "waits for a node's kubelet to take it"),
    (pod(ready=True), [], ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "events", "sentence"), CASES, ids=[sentence[:40] or "ready" for _, _, sentence in CASES]
)
def test_the_sentence(item: dict[str, Any], events: list[dict[str, Any]], sentence: str) -> None:
    assert why_not_ready(item, events) == sentence


def test_a_finished_init_container_holds_nothing_up() -> None:
    done = {**container(terminated={"exitCode": 0}), "name": "fetch-models"}
    item = pod(initContainerStatuses=[done], containerStatuses=[container(**WAITING)])
    assert why_not_ready(item) == "`tritonserver` is being started"


def test_a_readiness_gate() -> None:
    item = pod(conditions=[{"type": "gate/a", "status": "False"}])
    item["spec"]["readinessGates"] = [{"conditionType": "gate/a"}]
    assert why_not_ready(item) == "waits for gate/a"


def test_a_long_message_is_cut_to_its_end() -> None:
    item = pod(
        containerStatuses=[
            container(1, {"exitCode": 1, "message": "x " * 900 + "the cause"}, waiting={"reason": "CrashLoopBackOff"})
        ]
    )
    sentence = why_not_ready(item)
    assert len(sentence) < 500
    assert sentence.endswith("the cause")


def test_an_owner_without_pods() -> None:
    refused = {
        "metadata": {"uid": "u"},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]},
    }
    assert of_owner(refused, []) == "no pod can be made: exceeded quota"
    assert (
        of_owner({"metadata": {"uid": "u"}}, [event("FailedCreate", "forbidden")]) == "no pod can be made: forbidden"
    )
    assert of_owner({"metadata": {"uid": "u"}}, []) == ""


def test_restarts_are_those_of_the_worst_container() -> None:
    assert restarts(pod(containerStatuses=[container(2), container(7)], initContainerStatuses=[container(1)])) == 7
    assert restarts(pod()) == 0
