"""How far a rollout is, from the objects that the cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from deploy.release.cluster import Cluster
from deploy.release.rollout import Rollout, rollout_of, wait
from deploy.tools.helm import Helm
from deploy.tools.kubectl import Context, Kubectl, UnreachableError

REVISION = "deployment.kubernetes.io/revision"


def deployment(
    *, wanted: int = 2, generation: int = 3, seen: int = 3, revision: str = "2", **status: Any
) -> dict[str, Any]:
    return {
        "kind": "Deployment", "metadata": {"name": "digits", "uid": "d", "generation": generation, "annotations": {REVISION: revision}},
        "spec": {"replicas": wanted, "progressDeadlineSeconds": 900}, "status": {"observedGeneration": seen, **status},
    }  # fmt: skip


def owned(kind: str, name: str, owner: str, **rest: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "uid": name, "ownerReferences": [{"uid": owner}], **rest.pop("metadata", {})},
        **rest,
    }


def replica_set(name: str, revision: str) -> dict[str, Any]:
    return owned("ReplicaSet", name, "d", metadata={"annotations": {REVISION: revision}})


def pod(name: str, owner: str, *, ready: bool, restarts: int = 0, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    state = {"name": "tritonserver", "ready": ready, "restartCount": restarts, "state": {"running": {}}}
    return owned(
        "Pod",
        name,
        owner,
        metadata=metadata,
        spec={},
        status={"conditions": conditions, "containerStatuses": [state]},
    )


OLD, NEW = replica_set("old", "1"), replica_set("new", "2")
COMPLETE = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


def test_what_serves_while_a_pod_is_missing() -> None:
    """A Deployment says that it was whole for as long as its pods are of the same template."""
    complete = [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]
    moved = [deployment(conditions=complete, **{**COMPLETE, "availableReplicas": 1})]
    assert (rollout_of(moved, ()).is_done, rollout_of(moved, ()).serves) == (False, True)
    job = {"kind": "Job", "metadata": {"name": "engine", "uid": "j"}}
    assert not rollout_of([*moved, job], ()).serves
    assert not rollout_of([deployment(replicas=2, updatedReplicas=2)], ()).serves

    pods = [OLD, NEW, pod("a", "old", ready=True), pod("b", "new", ready=False)]
    assert not rollout_of([deployment(replicas=3, updatedReplicas=1), *pods], ()).serves
    pods = [*pods, pod("c", "new", ready=True)]
    assert rollout_of([deployment(replicas=3, updatedReplicas=2), *pods], ()).serves
    # What the controller has not seen yet has no pods, and its word is of the revision before.
    assert not rollout_of([deployment(conditions=complete, generation=4, seen=3), *pods], ()).serves
    exceeded = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert not rollout_of([deployment(conditions=exceeded), *pods], ()).serves


def test_done() -> None:
    assert rollout_of([deployment(**COMPLETE)], ()).is_done

    none = [deployment(wanted=0, updatedReplicas=0, availableReplicas=0)]
    assert rollout_of(none, (), may_be_empty=True).is_done


def test_nothing_that_could_serve_is_not_done() -> None:
    none = rollout_of([deployment(wanted=0, updatedReplicas=0, availableReplicas=0)], ())
    assert (none.is_done, none.failed) == (False, "")
    assert none.waiting == (
        "Deployment digits: somebody has scaled it to no pods, and the release wants some",
    )  # fmt: skip
    assert not rollout_of([], ()).is_done
    assert rollout_of([], ()).waiting == ("the release has no workload on the cluster",)


def test_what_the_controller_has_not_seen_yet_is_not_done() -> None:
    assert not rollout_of([deployment(seen=2, **COMPLETE)], ()).is_done


def test_earlier_pods_do_not_count() -> None:
    found = [deployment(replicas=3, updatedReplicas=1, availableReplicas=2), OLD, NEW,
             pod("o1", "old", ready=True), pod("o2", "old", ready=True), pod("n1", "new", ready=False)]  # fmt: skip
    rollout = rollout_of(found, ())
    assert (rollout.ready, rollout.wanted, rollout.is_done) == (0, 2, False)
    assert rollout.sentence.startswith(
        "0 of 2 pods of this revision are ready; n1: `tritonserver` runs and is not ready"
    )
    assert "o1" not in rollout.sentence


def test_old_pods_that_still_go_are_waited_for() -> None:
    found = [deployment(**{**COMPLETE, "replicas": 3}), OLD, NEW, pod("o1", "old", ready=True, deletionTimestamp="now"),
             pod("n1", "new", ready=True), pod("n2", "new", ready=True)]  # fmt: skip
    rollout = rollout_of(found, ())
    assert not rollout.is_done
    assert rollout.waiting == ("Deployment digits: earlier pods finish what they have begun",)


def test_a_deadline_of_the_cluster_is_a_failure_once_it_is_of_this_rollout() -> None:
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    found = [NEW, pod("n1", "new", ready=False)]
    assert rollout_of([deployment(conditions=late), *found], ()).failed == "no pod became ready within 900 s"
    assert rollout_of([deployment(seen=2, conditions=late), *found], ()).failed == ""


def test_a_container_that_ends_again_and_again_is_a_failure() -> None:
    assert rollout_of([deployment(), NEW, pod("n1", "new", ready=False, restarts=4)], ()).failed == ""
    assert (
        rollout_of([deployment(), NEW, pod("n1", "new", ready=False, restarts=5)], ()).failed
        == "a container has ended 5 times"
    )
    assert rollout_of([deployment(), OLD, NEW, pod("o1", "old", ready=False, restarts=9)], ()).failed == ""


def test_only_what_a_rollout_has_brought_is_its_failure() -> None:
    """Pods that are ready have survived it, and what ended before it began is not its doing."""
    old = pod("n1", "new", ready=True, restarts=6)
    assert rollout_of([deployment(), NEW, old, pod("n2", "new", ready=False)], ()).failed == ""
    late = [deployment(), NEW, pod("n1", "new", ready=False, restarts=7)]
    assert rollout_of(late, (), before={"n1": 3}).failed == ""
    assert rollout_of(late, (), before={"n1": 2}).failed == "a container has ended 5 times"


@dataclass
class Answers:
    """A cluster whose looks give this, one after the other; a text is the sentence of one that does not answer."""

    looks: list[list[dict[str, Any]] | str]
    sent: str = ""

    def get(self, _kinds: Sequence[str], *_words: str) -> list[dict[str, Any]]:
        now = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(now, str):
            raise UnreachableError(now)
        return now

    def manifest(self, _name: str) -> str:
        return self.sent


def waited(answers: Answers, said: list[str], *, timeout_s: float = 30, silent_s: float = 30) -> Rollout:
    cluster = Cluster(cast(Helm, answers), cast(Kubectl, answers), Context("test", "https://127.0.0.1:1"), "ml")
    return wait(cluster, "digits", timeout_s=timeout_s, progress=said.append, look_s=0.001, silent_s=silent_s)


def test_a_cluster_that_does_not_answer_for_a_moment_ends_no_rollout() -> None:
    said: list[str] = []
    down = "connection refused"
    answers = Answers([down, down, [], down, [deployment(**COMPLETE)]])
    assert waited(answers, said, timeout_s=0).is_done  # the time is over, and it has not been silent for long
    assert said == ["the cluster does not answer, and is asked again: connection refused"] * 2
    with pytest.raises(UnreachableError, match="connection refused"):
        waited(Answers([down]), said, timeout_s=0.01, silent_s=0.01)


def test_restarts_before_a_rollout_are_counted_when_it_begins() -> None:
    there = [pod("n1", "new", ready=False, restarts=6)]
    late = [deployment(), NEW, *there]
    assert waited(Answers([there, late, late, [deployment(**COMPLETE)]]), []).is_done
    ended = [deployment(), NEW, pod("n1", "new", ready=False, restarts=11)]
    assert waited(Answers([there, ended]), []).failed == "a container has ended 5 times"


def test_no_pods_are_fine_where_the_release_says_so() -> None:
    none = [deployment(wanted=0, updatedReplicas=0, availableReplicas=0)]
    sent = "kind: Deployment\nmetadata: {name: digits}\nspec: {replicas: %s}\n"
    assert waited(Answers([none], sent % 0), []).is_done
    assert not waited(Answers([none], sent % 2), [], timeout_s=0).is_done


def test_no_pod_can_be_made() -> None:
    refused = {
        **NEW,
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]},
    }
    assert (
        "Deployment digits: no pod can be made: exceeded quota: q" in rollout_of([deployment(), refused], ()).waiting
    )


def test_a_stateful_set_counts_the_pods_of_its_newest_revision() -> None:
    item = {"kind": "StatefulSet", "metadata": {"name": "digits", "uid": "s", "generation": 1}, "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "updateRevision": "b", "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}}  # fmt: skip
    pods = [pod("digits-0", "s", ready=True, labels={"controller-revision-hash": "a"}),
            pod("digits-1", "s", ready=True, labels={"controller-revision-hash": "b"})]  # fmt: skip
    rollout = rollout_of([item, *pods], ())
    assert (rollout.ready, rollout.is_done) == (1, False)


def test_jobs_come_first_and_a_failed_one_ends_it() -> None:
    def job(*conditions: dict[str, str]) -> dict[str, Any]:
        return {
            "kind": "Job",
            "metadata": {"name": "build", "uid": "j"},
            "spec": {},
            "status": {"conditions": list(conditions)},
        }

    assert rollout_of([deployment(**COMPLETE), job()], ()).waiting == ("Job build: builds an engine",)
    assert rollout_of([deployment(**COMPLETE), job({"type": "Complete", "status": "True"})], ()).is_done
    failed = rollout_of(
        [deployment(**COMPLETE), job({"type": "Failed", "status": "True", "message": "backoff limit"})], ()
    )
    assert (failed.is_done, failed.failed) == (False, "Job build failed: backoff limit")
