"""Which revisions of a release are known to have served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from deploy.release.cluster import Cluster
from deploy.release.served import NOTE, known, note
from deploy.release.state import OURS, State
from deploy.tools.helm import Helm, Revision
from deploy.tools.kubectl import Context, ForbiddenError, Kubectl

REVISION = "deployment.kubernetes.io/revision"


def _pod(ready: bool) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    metadata = {"name": "digits-1", "uid": "p", "ownerReferences": [{"uid": "s"}]}
    return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": status}


@dataclass
class Workload:
    """A kubectl that has one Deployment, or none."""

    ready: bool = True
    annotations: dict[str, str] = field(default_factory=dict)
    forbidden: bool = False
    pods: tuple[bool, ...] = ()  # those of its newest revision, and whether each is ready
    progressing: str = ""

    def get(self, kinds: Sequence[str], *_words: str) -> list[dict[str, Any]]:
        if "events" in kinds:
            return []
        count = 1 if self.ready else 0
        status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": count}
        if self.progressing:
            status |= {"conditions": [{"type": "Progressing", "reason": self.progressing}]}
        metadata = {"name": "digits", "uid": "d", "annotations": {**self.annotations, REVISION: "3"}}
        mine = {"uid": "s", "ownerReferences": [{"uid": "d"}], "annotations": {REVISION: "3"}}
        found = [
            {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": len(self.pods) or 1}, "status": status},
            {"kind": "ReplicaSet", "metadata": mine}, *map(_pod, self.pods),
        ]  # fmt: skip
        return [item for item in found if f"{item['kind'].lower()}s" in kinds]

    def annotate(self, kind: str, name: str, annotations: Mapping[str, str]) -> None:
        assert (kind, name) == ("deployment", "digits")
        if self.forbidden:
            raise ForbiddenError("you may not patch it")
        self.annotations |= annotations


def cluster(workload: Workload) -> Cluster:
    context = Context("test", "https://127.0.0.1:1")
    return Cluster(Helm(Path("helm")), cast(Kubectl, workload), context, "ml")


def state(*statuses: str) -> State:
    return State("digits", tuple(Revision(n, status, "", "", "") for n, status in enumerate(statuses, 1)))


def test_what_is_noted_and_what_serves_now() -> None:
    two = state("superseded", "deployed")
    assert known(cluster(Workload()), two).served == {2}
    assert known(cluster(Workload(annotations={NOTE: "1"})), two).served == {1, 2}
    assert known(cluster(Workload(ready=False, annotations={NOTE: "1"})), two).served == {1}
    assert known(cluster(Workload(ready=False)), two).served == set()
    assert (
        known(cluster(Workload()), state("deployed", "failed")).served == set()
    )  # which of them it is, is not known


def test_what_somebody_else_sent_serves_while_one_of_its_pods_is_moved() -> None:
    """The first is noted; the second was sent by `helm upgrade`, and a failed third goes back to it."""

    def good(**more: Any) -> int | None:
        noted = {NOTE: "1"}
        back = known(cluster(Workload(ready=False, annotations=noted, **more)), state("superseded", "deployed")).good
        return back.number if back else None

    assert good(pods=(True, False)) == 2
    assert good(pods=(False,), progressing="NewReplicaSetAvailable") == 2
    assert good(pods=(False, False)) == 1
    assert good(pods=(False, False), progressing="ReplicaSetUpdated") == 1
    assert good(pods=(True, False), progressing="ProgressDeadlineExceeded") == 1


def test_a_first_revision_that_never_served_is_not_gone_back_to() -> None:
    sent = State("digits", (Revision(1, "deployed", "", "", f"{OURS}digits on target production"),))
    assert known(cluster(Workload(ready=False, pods=(False,))), sent).good is None


def test_the_last_ten_are_kept() -> None:
    workload = Workload()
    assert note(cluster(workload), "digits", range(1, 13)) == ""
    assert workload.annotations == {NOTE: "3,4,5,6,7,8,9,10,11,12"}
    assert known(cluster(workload), state("superseded", "failed")).served == set(range(3, 13))


def test_a_note_that_may_not_be_made_is_told_and_stops_nothing() -> None:
    told = note(cluster(Workload(forbidden=True)), "digits", [1])
    assert told == "that it serves could not be noted for later rollbacks: you may not patch it"
