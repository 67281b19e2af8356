"""What can be made of a release in each of Helm's states."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.release.cluster import Cluster
from deploy.release.state import OURS, State, obstacles, revision_of
from deploy.tools.helm import Helm, Revision
from deploy.tools.kubectl import Context, Kubectl
from generator.problems import ProblemsError, Severity

CLUSTER = Cluster(Helm(Path("helm")), Kubectl(Path("kubectl")), Context("test", "https://127.0.0.1:1"), "ml")


def state(*statuses: str) -> State:
    return State(
        "digits", tuple(Revision(n, status, "noon", "triton-1", "said") for n, status in enumerate(statuses, 1))
    )


@pytest.mark.parametrize(
    ("statuses", "severity", "words"),
    [
        ((), None, ""),
        (("deployed",), None, ""),
        (("superseded", "deployed"), None, ""),
        (("uninstalled",), None, ""),
        (("deployed", "failed"), Severity.WARNING, "revision 2 of release `digits` is failed (said)"),
        (("failed",), Severity.ERROR, "was never installed: its first revision failed (said)"),
        (("pending-install",), Severity.ERROR, "has been pending-install since noon"),
        (("deployed", "pending-upgrade"), Severity.ERROR, "has been pending-upgrade since noon"),
        (("deployed", "pending-rollback"), Severity.ERROR, "has been pending-rollback since noon"),
        (("uninstalling",), Severity.ERROR, "has been uninstalling since noon"),
    ],
)
def test_what_is_in_the_way(statuses: tuple[str, ...], severity: Severity | None, words: str) -> None:
    found = obstacles(CLUSTER, state(*statuses))
    assert [problem.severity for problem in found] == ([] if severity is None else [severity])
    assert all(words in problem.message for problem in found)


def test_the_remedy_is_one_that_works() -> None:
    [pending] = obstacles(CLUSTER, state("superseded", "deployed", "pending-upgrade"))
    assert "`tritonkit deploy rollback` brings back revision 2" in pending.hint
    [first] = obstacles(CLUSTER, state("pending-install"))
    assert "`tritonkit deploy delete`" in first.hint


def test_what_an_upgrade_goes_back_to() -> None:
    assert [state(*s).good and state(*s).good.number for s in (  # type: ignore[union-attr]
        ("superseded", "deployed"), ("superseded", "deployed", "failed"), ("superseded", "superseded", "pending-upgrade"),
    )] == [2, 2, 2]  # fmt: skip
    assert state("failed").good is None
    assert state("superseded", "uninstalled").good is None
    assert state("superseded", "uninstalled").sentence == "not installed"


def told(*revisions: tuple[str, str], served: frozenset[int] = frozenset()) -> State:
    history = [Revision(n, status, "noon", "triton-1", text) for n, (status, text) in enumerate(revisions, 1)]
    return State("digits", tuple(history), served)


FINE, NEWEST = ("superseded", "said"), ("deployed", "said")


def test_what_was_taken_back_is_not_gone_back_to() -> None:
    after = told(FINE, FINE, ("deployed", "Rollback to 1"))
    assert after.good is not None
    assert after.good.number == 1
    with pytest.raises(ProblemsError, match=r"TK453 .*no revision before this one"):
        revision_of(CLUSTER, after, None)
    assert revision_of(CLUSTER, after, 2).number == 2  # by name one may
    later = told(FINE, FINE, ("superseded", "Rollback to 1"), NEWEST)
    assert revision_of(CLUSTER, later, None).number == 1
    failed = told(FINE, FINE, ("failed", 'Rollback "digits" failed: no answer'))
    assert revision_of(CLUSTER, failed, None).number == 1


def test_a_rollback_is_what_it_is_of() -> None:
    state = told(FINE, FINE, FINE, ("superseded", "Rollback to 2"), ("deployed", "Rollback to 4"))
    assert [state.origin(one) for one in state.history] == [1, 2, 3, 2, 2]
    assert revision_of(CLUSTER, state, None).number == 1
    trimmed = State("digits", state.history[3:])  # Helm keeps ten
    assert [trimmed.origin(one) for one in trimmed.history] == [4, 4]


def test_what_is_known_to_have_served_goes_before_what_was_only_sent() -> None:
    """The second was left as it failed, or tritonkit was killed while it waited: to Helm it is deployed."""
    state = told(FINE, NEWEST, served=frozenset({1}))
    assert state.good is not None
    assert state.good.number == 1
    assert revision_of(CLUSTER, told(FINE, FINE, NEWEST, served=frozenset({1})), None).number == 1
    assert revision_of(CLUSTER, told(FINE, FINE, NEWEST, served=frozenset({1, 2, 3})), None).number == 2
    assert revision_of(CLUSTER, told(FINE, FINE, NEWEST, served=frozenset({3})), None).number == 2  # nobody knows
    back = told(FINE, FINE, ("superseded", "Rollback to 1"), FINE, NEWEST, served=frozenset({3}))
    assert revision_of(CLUSTER, back, None).number == 1  # the third is the first


SENT = (("superseded", f"{OURS}digits on target production"), ("deployed", f"{OURS}digits on target production"))


def test_what_was_watched_and_never_served_is_gone_back_to_by_name_alone() -> None:
    never = told(*SENT)
    assert never.good is None
    with pytest.raises(
        ProblemsError, match=r"TK453 .*no revision before this one .* 1 is not known to have"
    ) as caught:
        revision_of(CLUSTER, never, None)
    assert "--revision names one all the same" in caught.value.problems[0].hint
    assert revision_of(CLUSTER, never, 1).number == 1
    assert told(FINE, SENT[1]).good is not None  # the first is somebody else's, who did not look
    once = told(*SENT, served=frozenset({1}))
    assert once.good is not None
    assert once.good.number == 1


def test_a_release_that_never_served_can_be_upgraded_and_says_what_ends_one_that_hangs() -> None:
    [failed] = obstacles(CLUSTER, told(SENT[0], ("failed", "no answer")))
    assert (failed.severity, "never installed" in failed.message) == (Severity.WARNING, False)
    [pending] = obstacles(CLUSTER, told(SENT[0], ("pending-upgrade", "")))
    assert pending.severity is Severity.ERROR
    assert "`tritonkit deploy rollback --revision N` brings back what was sent" in pending.hint
    assert "(1)" in pending.hint
    assert "`tritonkit deploy delete`" in pending.hint


def test_the_revision_before() -> None:
    assert revision_of(CLUSTER, state("superseded", "superseded", "deployed"), None).number == 2
    assert revision_of(CLUSTER, state("superseded", "deployed", "failed"), None).number == 2
    assert revision_of(CLUSTER, state("superseded", "failed", "deployed"), None).number == 1
    assert revision_of(CLUSTER, state("superseded", "deployed"), 1).number == 1
    with pytest.raises(ProblemsError, match=r"TK453 .*no revision 7"):
        revision_of(CLUSTER, state("superseded", "deployed"), 7)
    with pytest.raises(ProblemsError, match=r"TK453 .*no revision before this one"):
        revision_of(CLUSTER, state("deployed"), None)
