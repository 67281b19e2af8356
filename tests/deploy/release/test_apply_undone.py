"""A release that does not come up, or is interrupted, is taken back: what Helm is asked then, and what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.release import apply as module
from deploy.release import patience
from deploy.release.apply import Planned, apply
from deploy.release.cluster import Cluster
from deploy.release.overrides import Overrides
from deploy.release.preflight import Found
from deploy.release.rollout import Rollout
from deploy.release.served import NOTE
from deploy.release.state import OURS, State
from deploy.release.wanted import Wanted
from deploy.tools.helm import Helm, HelmError, HelmUnreachableError, Revision
from deploy.tools.kubectl import Context, Kubectl
from generator.problems import ProblemsError

DONE, STUCK = (
    Rollout(2, 2, is_done=True),
    Rollout(0, 2, is_done=False, waiting=("digits-1: cannot be scheduled: no room",)),
)


@dataclass
class Helms:
    """What a Helm would do to the history, and when it fails."""

    statuses: list[str]
    upgrade_fails: BaseException | None = None
    rollback_fails: BaseException | None = None
    asked: list[str] = field(default_factory=list)
    silent: int = 0  # so often nobody answers after something was sent
    mark: str = ""
    marked_number: int = 0
    namespaces: list[bool] = field(default_factory=list)
    description: str = ""

    def history(self, _name: str) -> list[Revision]:
        if self.silent and self.asked:
            self.silent -= 1
            raise HelmUnreachableError("connection refused")
        return [
            Revision(n, status, "noon", "triton-1", self.description) for n, status in enumerate(self.statuses, 1)
        ]

    def marked(self, _name: str, mark: str) -> int | None:
        return self.marked_number if mark == self.mark else None

    def upgrade(
        self, _name: str, _chart: Path, _values: str, *, mark: str, create_namespace: bool, **_more: Any
    ) -> None:
        self.asked.append("upgrade")
        self.mark, self.marked_number = mark, len(self.statuses) + 1
        self.namespaces.append(create_namespace)
        if self.upgrade_fails is not None:
            self.statuses.append("failed")
            raise self.upgrade_fails
        self.statuses = ["superseded" if status == "deployed" else status for status in self.statuses] + ["deployed"]

    def manifest(self, _name: str, _revision: int | None = None) -> str:
        return "kind: Deployment\nmetadata: {name: digits-triton}\nspec: {replicas: 2}\n"

    def rollback(self, _name: str, revision: int) -> None:
        self.asked.append(f"rollback {revision}")
        if self.rollback_fails is not None:
            raise self.rollback_fails
        self.statuses.append("deployed")

    def uninstall(self, _name: str) -> str:
        self.asked.append("uninstall")
        self.statuses.clear()
        return ""


@dataclass
class Notes:
    """A kubectl that has one workload, and what is noted there."""

    noted: dict[str, str] = field(default_factory=dict)

    def get(self, _kinds: Sequence[str], *_words: str) -> list[dict[str, Any]]:
        return [{"kind": "Deployment", "metadata": {"name": "digits-triton", "annotations": self.noted}}]

    def annotate(self, _kind: str, _name: str, annotations: Mapping[str, str]) -> None:
        self.noted |= annotations


@dataclass
class Run:
    helm: Helms
    kubectl: Notes = field(default_factory=Notes)
    served: frozenset[int] = frozenset()
    namespace_exists: bool = True
    meanwhile: Callable[[], None] = lambda: None
    said: list[str] = field(default_factory=list)
    guarded: list[int] = field(default_factory=list)

    def __call__(self, *, keep_failed: bool = False, create_namespace: bool = False) -> Any:
        context = Context("test", "https://127.0.0.1:1")
        cluster = Cluster(cast(Helm, self.helm), cast(Kubectl, self.kubectl), context, "ml")
        wanted = Wanted("digits", "production", (), {}, Overrides(), ())
        state = State("digits", tuple(self.helm.history("digits")), self.served)
        planned = Planned(wanted, Found(state, self.namespace_exists, ()), ())
        self.meanwhile()
        return apply(
            cluster, planned, create_namespace=create_namespace, timeout_s=5, say=self.said.append,
            guard=self.guard, keep_failed=keep_failed,
        )  # fmt: skip

    @contextmanager
    def guard(self) -> Iterator[None]:
        before = len(self.helm.asked)
        yield
        self.guarded.append(len(self.helm.asked) - before)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """What the wait for the pods brings: a Rollout, or an exception; what is waited for afterwards is done."""

    def first(outcome: Any) -> None:
        left = [outcome]

        def wait(*_args: Any, **_more: Any) -> Rollout:
            now = left.pop() if left else DONE
            if isinstance(now, BaseException):
                raise now
            return cast(Rollout, now)

        monkeypatch.setattr(module, "wait", wait)

    return first


def test_what_comes_up_stays(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"]))
    assert run().revision == 2
    assert run.helm.asked == ["upgrade"]


def test_what_does_not_come_up_is_rolled_back_within_the_guard(waits: Callable[[Any], None]) -> None:
    waits(STUCK)
    run = Run(Helms(["superseded", "deployed"]))
    with pytest.raises(
        ProblemsError,
        match=r"TK452 .*did not come up within 5 s: .*cannot be scheduled: no room; rolled back to revision 2",
    ) as caught:
        run()
    assert run.helm.asked == ["upgrade", "rollback 2"]
    assert run.guarded == [1]
    assert caught.value.problems[0].hint == "revision 2 serves again"


def test_a_first_installation_is_removed(waits: Callable[[Any], None]) -> None:
    waits(STUCK)
    run = Run(Helms([]))
    with pytest.raises(ProblemsError, match="it was the first installation, so all of it was removed"):
        run()
    assert run.helm.asked == ["upgrade", "uninstall"]


def test_a_failure_of_helm_itself_is_taken_back_too(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"], upgrade_fails=HelmError("the API server refused it")))
    with pytest.raises(ProblemsError, match="the API server refused it; rolled back to revision 1"):
        run()
    assert run.helm.asked == ["upgrade", "rollback 1"]


def test_an_interrupt_goes_on_when_all_is_as_before(waits: Callable[[Any], None]) -> None:
    waits(KeyboardInterrupt())
    run = Run(Helms(["deployed"]))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run.helm.asked == ["upgrade", "rollback 1"]
    assert run.said[-1] == "rolled back to revision 1"
    assert run.guarded == [1]


def test_an_interrupt_before_helm_wrote_anything_needs_no_undoing(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"]))
    run.helm.upgrade = lambda *_args, **_more: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run.helm.asked == []
    assert run.said[-1] == "nothing was changed"


def test_what_cannot_be_taken_back_says_so_and_what_to_do(waits: Callable[[Any], None]) -> None:
    waits(STUCK)
    run = Run(Helms(["deployed"], rollback_fails=HelmError("connection refused")))
    with pytest.raises(
        ProblemsError, match=r"IT COULD NOT BE TAKEN BACK \(connection refused\): `tritonkit deploy rollback`"
    ):
        run()


def test_a_failed_release_can_be_kept_for_a_look(waits: Callable[[Any], None]) -> None:
    waits(STUCK)
    run = Run(Helms(["deployed"]))
    with pytest.raises(ProblemsError, match="it was left as it is"):
        run(keep_failed=True)
    assert run.helm.asked == ["upgrade"]


def test_what_helm_itself_did_not_manage_can_be_kept_too(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"], upgrade_fails=HelmError("the API server refused it")))
    with pytest.raises(ProblemsError, match=r"TK452 .*the API server refused it; it was left as it is"):
        run(keep_failed=True)
    assert run.helm.asked == ["upgrade"]


def test_nothing_is_sent_over_what_somebody_did_meanwhile(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    helm = Helms([])
    run = Run(helm, meanwhile=lambda: helm.statuses.append("deployed"))
    with pytest.raises(
        ProblemsError, match=r"TK457 .*was not installed when it was looked at, and is now revision 1"
    ):
        run()
    assert run.helm.asked == []


def test_the_loser_of_two_installs_removes_nothing(waits: Callable[[Any], None]) -> None:
    """Helm refuses the second, because the first is there by then, as revision 1."""
    waits(DONE)
    run = Run(Helms([], upgrade_fails=HelmError("cannot re-use a name that is still in use")))
    marked = run.helm.upgrade

    def upgrade(*words: Any, **more: Any) -> None:
        try:
            marked(*words, **{**more, "mark": "of the other"})
        finally:
            run.helm.statuses[:] = ["deployed"]

    run.helm.upgrade = upgrade  # type: ignore[method-assign]
    with pytest.raises(ProblemsError, match=r"still in use; the release is somebody else's now .* left alone"):
        run()
    assert run.helm.asked == ["upgrade"]


def test_what_somebody_sent_over_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain `helm upgrade` hands the labels of the revision before on: the number is another one."""
    run = Run(Helms(["deployed"]))

    def wait(*_args: Any, **_more: Any) -> Rollout:
        run.helm.statuses[:] = ["superseded", "superseded", "deployed"]
        run.helm.marked_number = 3
        return STUCK

    monkeypatch.setattr(module, "wait", wait)
    with pytest.raises(ProblemsError, match=r"somebody else's now \(revision 3, deployed\) and was left alone"):
        run()
    assert run.helm.asked == ["upgrade"]


def test_what_served_is_noted_and_what_never_did_is_not_gone_back_to(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"]), served=frozenset({1}))
    run()
    assert run.kubectl.noted == {NOTE: "1,2"}
    waits(STUCK)
    run = Run(Helms(["superseded", "deployed"]), served=frozenset({1}))
    with pytest.raises(ProblemsError, match="rolled back to revision 1"):
        run()


def test_a_cluster_that_is_silent_for_a_second_spoils_no_success(
    waits: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda _s: None)
    waits(DONE)
    run = Run(Helms(["deployed"], silent=0), served=frozenset({1}))
    run.meanwhile = lambda: setattr(run.helm, "silent", 3)
    assert run().revision == 2
    assert run.kubectl.noted == {NOTE: "1,2"}
    assert "the cluster does not answer, and is asked again: connection refused" in run.said


def test_a_note_that_finds_nobody_is_told_and_what_serves_serves(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"]))
    run.helm.marked = lambda *_words: (_ for _ in ()).throw(HelmError("no such key"))  # type: ignore[method-assign]
    assert run().revision == 2
    assert run.said[-1] == "that it serves could not be noted for later rollbacks: no such key"
    assert run.kubectl.noted == {}


def test_what_somebody_else_sent_meanwhile_is_not_noted_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods that came up are those of the other."""
    run = Run(Helms(["deployed"]))

    for number, statuses in ((3, ["superseded", "superseded", "deployed"]), (0, ["superseded", "deployed"])):

        def wait(*_args: Any, now: tuple[int, list[str]] = (number, statuses), **_more: Any) -> Rollout:
            run.helm.marked_number, run.helm.statuses[:] = now
            return DONE

        run.helm.statuses[:] = ["deployed"]
        monkeypatch.setattr(module, "wait", wait)
        with pytest.raises(ProblemsError, match=r"TK457 .*revision 2, which was waited for, is no longer the newest"):
            run()
    assert run.kubectl.noted == {}
    assert run.helm.asked == ["upgrade", "upgrade"]


def test_where_nothing_has_ever_served_there_is_nothing_to_go_back_to(waits: Callable[[Any], None]) -> None:
    """The first was sent by `apply`, never came up, and was kept for a look."""
    waits(STUCK)
    run = Run(Helms(["deployed"], description=f"{OURS}digits on target production"))
    with pytest.raises(ProblemsError, match=r"TK452 .*cannot be scheduled: no room; no revision before it") as caught:
        run()
    said = str(caught.value)
    assert "nothing to go back to: revision 2 is left as it is" in said
    assert "`tritonkit deploy apply` goes over it" in said
    assert "`tritonkit deploy delete` removes" in said
    assert run.helm.asked == ["upgrade"]
    assert caught.value.problems[0].hint == ""

    waits(KeyboardInterrupt())
    run = Run(Helms(["deployed"], description=f"{OURS}digits on target production"))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run.helm.asked == ["upgrade"]
    assert "revision 2 is left as it is" in run.said[-1]


def test_what_somebody_else_has_sent_may_have_served(waits: Callable[[Any], None]) -> None:
    """A release of plain Helm: nobody has watched it, and nobody has noted anything."""
    waits(STUCK)
    run = Run(Helms(["deployed"], description="Install complete"))
    with pytest.raises(ProblemsError, match="rolled back to revision 1"):
        run()


def test_a_silent_cluster_is_asked_again_what_there_is_to_take_back(
    waits: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SILENT_S", 30)
    monkeypatch.setattr(patience.time, "sleep", lambda _s: None)
    waits(STUCK)
    run = Run(Helms(["deployed"], silent=0))
    run.meanwhile = lambda: setattr(run.helm, "silent", 3)
    with pytest.raises(ProblemsError, match="rolled back to revision 1"):
        run()
    assert run.helm.asked == ["upgrade", "rollback 1"]
    assert "the cluster does not answer, and is asked again: connection refused" in run.said


def test_a_namespace_is_made_only_where_it_is_missing_and_is_named_when_it_stays(
    waits: Callable[[Any], None],
) -> None:
    waits(DONE)
    run = Run(Helms([]))
    run(create_namespace=True)
    assert run.helm.namespaces == [False]
    waits(STUCK)
    run = Run(Helms([]), namespace_exists=False)
    with pytest.raises(ProblemsError, match="all of it was removed; namespace `ml`, which was made for it, stays"):
        run(create_namespace=True)
    assert run.helm.namespaces == [True]


def test_a_rollout_that_goes_on_is_waited_for(waits: Callable[[Any], None]) -> None:
    waits(DONE)
    run = Run(Helms(["deployed"]))
    context = Context("test", "https://127.0.0.1:1")
    cluster = Cluster(cast(Helm, run.helm), cast(Kubectl, run.kubectl), context, "ml")
    planned = Planned(
        Wanted("digits", "production", (), {}, Overrides(), ()),
        Found(State("digits", tuple(run.helm.history("digits"))), True, ()), (),
    )  # fmt: skip
    assert module.watched(cluster, planned, timeout_s=5, say=run.said.append).rollout.is_done
    assert run.kubectl.noted == {NOTE: "1"}
    waits(STUCK)
    assert not module.watched(cluster, planned, timeout_s=5, say=run.said.append).rollout.is_done
    assert run.helm.asked == []


def test_why_a_rollout_will_not_go_on_is_told(waits: Callable[[Any], None]) -> None:
    waits(Rollout(0, 2, is_done=False, waiting=("digits-1: ended",), failed="a container has ended 5 times"))
    with pytest.raises(
        ProblemsError, match="the rollout failed; a container has ended 5 times; digits-1: ended; rolled"
    ):
        Run(Helms(["deployed"]))()
