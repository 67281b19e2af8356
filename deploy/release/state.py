"""In which state a release is, and what can be made of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from deploy.release.cluster import Cluster
from deploy.tools.helm import HelmBrokenError, HelmError, Revision
from generator.problems import Problem, Severity

_GONE = frozenset({"uninstalled"})
_WAS_SENT = frozenset({"deployed", "superseded"})  # Helm does not wait for pods: whether they served it does not say
OURS = "tritonkit: "  # what the description of a revision begins with that `apply` has sent, and so has watched
_ROLLBACK = re.compile(r"^Rollback (?:to (\d+)$|\")")


@dataclass(frozen=True)
class State:
    """A release's history, the oldest first; empty where it is not installed. `served` are the revisions that are
    known to have served; empty where nobody has noted any."""

    name: str
    history: tuple[Revision, ...] = ()
    served: frozenset[int] = frozenset()

    @property
    def newest(self) -> Revision | None:
        """The revision that was made last, whatever became of it; None where nothing is installed."""
        return self.history[-1] if self.history and self.history[-1].status not in _GONE else None

    @property
    def next_number(self) -> int:
        """The number of the revision that is made next, if nobody else makes it."""
        return self.history[-1].number + 1 if self.history else 1

    @property
    def good(self) -> Revision | None:
        """What a failed upgrade goes back to: the newest revision that served, as far as that is known."""
        fine = self.candidates()
        return fine[-1] if fine and self.newest is not None else None

    def candidates(self, besides: Collection[int] = ()) -> list[Revision]:
        """What one may go back to, the oldest first: what was sent and not taken back, rollbacks as what they are of.

        Where some of them are known to have served, no other counts; where none is, those that somebody else has
        sent: what `apply` has sent and has not seen serving never did. None of `besides` is among them.
        """
        numbers = self.sent(besides)
        known = [number for number in numbers if number in {self._origin_of(one) for one in self.served}]
        ours = {one.number for one in self.history if one.description.startswith(OURS)}
        chosen = known or [number for number in numbers if number not in ours]
        return [one for one in self.history if one.number in chosen]

    def sent(self, besides: Collection[int] = ()) -> list[int]:
        """The numbers of what was sent and not taken back, whether or not it ever served."""
        found = [one for one in self.history if one.status in _WAS_SENT and not self._is_undone(one)]
        return [number for one in found if (number := self.origin(one)) not in besides]

    def origin(self, revision: Revision) -> int:
        """The number of the revision that this one is a rollback to, as far as that one is kept; else its own."""
        match = _ROLLBACK.match(revision.description)
        if match is None or match[1] is None:
            return revision.number
        earlier = [one for one in self.history if one.number == int(match[1]) and one.number < revision.number]
        return self.origin(earlier[0]) if earlier else revision.number

    def _origin_of(self, number: int) -> int:
        return next((self.origin(one) for one in self.history if one.number == number), number)

    def _is_undone(self, revision: Revision) -> bool:
        """Whether the next thing that was done was to take it back."""
        after = [one for one in self.history if one.number > revision.number]
        return bool(after) and _ROLLBACK.match(after[0].description) is not None

    @property
    def is_pending(self) -> bool:
        """Whether an operation of Helm has begun and has not ended."""
        return self.newest is not None and self.newest.status.startswith("pending-")

    @property
    def sentence(self) -> str:
        """`revision 3, deployed`."""
        return "not installed" if self.newest is None else f"revision {self.newest.number}, {self.newest.status}"


def state_of(cluster: Cluster, name: str) -> State:
    """The release's state. Raises ProblemsError when it cannot be read."""
    try:
        return State(name, tuple(cluster.helm.history(name)))
    except HelmBrokenError:
        raise
    except HelmError as error:
        forbidden = "forbidden" in error.message.lower()
        raise cluster.stop(
            "TK446" if forbidden else "TK444", f"Helm's records of the release cannot be read: {error.message}",
            "Helm keeps them as Secrets of the namespace: a role needs get, list, create, update and delete of them"
            if forbidden else "",
        ) from error  # fmt: skip


def installed(cluster: Cluster, name: str) -> State:
    """The state of a release that is there. Raises ProblemsError when there is none."""
    state = state_of(cluster, name)
    if state.newest is None:
        raise cluster.stop(
            "TK453", f"there is no release `{name}`",
            "`helm list --all-namespaces` shows what there is; --release and --namespace name another",
        )  # fmt: skip
    return state


def obstacles(cluster: Cluster, state: State) -> list[Problem]:
    """What in the state keeps it from being upgraded, and what of it is worth knowing."""
    newest = state.newest
    if newest is None or newest.status == "deployed":
        return []
    if state.is_pending or newest.status == "uninstalling":
        return [_problem(cluster, *_unfinished(state, newest), Severity.ERROR)]
    if newest.status == "failed" and not state.sent():
        message = f"release `{state.name}` was never installed: its first revision failed ({newest.description})"
        return [_problem(cluster, message, "`tritonkit deploy delete` removes what there is of it", Severity.ERROR)]
    message = f"revision {newest.number} of release `{state.name}` is {newest.status} ({newest.description})"
    return [_problem(cluster, message, "this upgrade goes over it", Severity.WARNING)]


def _unfinished(state: State, newest: Revision) -> tuple[str, str]:
    since = f"release `{state.name}` has been {newest.status} since {newest.updated}"
    message = f"{since}: another command works on it, or was killed"
    if newest.status in {"pending-install", "uninstalling"} or not state.sent():
        return message, "wait if somebody is at work; else `tritonkit deploy delete` removes what there is of it"
    if state.good is None:
        return message, f"wait if somebody is at work; else {_by_name(state)}"
    back = f"`tritonkit deploy rollback` brings back revision {state.good.number}"
    return message, f"wait if somebody is at work; else {back}"


def _by_name(state: State) -> str:
    """What can be done where nothing has served."""
    numbers = ", ".join(map(str, dict.fromkeys(state.sent())))
    return (
        f"`tritonkit deploy rollback --revision N` brings back what was sent and is not known to have served "
        f"({numbers}), and `tritonkit deploy delete` removes all of it"
    )


def _problem(cluster: Cluster, message: str, hint: str, severity: Severity) -> Problem:
    return Problem("TK449", cluster.place, "", message, hint, severity)


def revision_of(cluster: Cluster, state: State, wanted: int | None) -> Revision:
    """The revision to go back to: the one named, else the one before that served, as far as that is known.

    One that was taken back is not gone to by itself, nor what the newest is a rollback to, unless that has failed.

    Raises ProblemsError when there is no such revision, or nothing to go back to.
    """
    kept: Sequence[Revision] = state.history
    if wanted is not None:
        for revision in kept:
            if revision.number == wanted:
                return revision
        known = ", ".join(str(revision.number) for revision in kept)
        raise cluster.stop("TK453", f"release `{state.name}` has no revision {wanted}", f"kept are {known}")
    newest = state.newest
    as_it_is = {newest.number, state.origin(newest)} if newest and newest.status == "deployed" else set()
    earlier = state.candidates(as_it_is)
    if not earlier and (never := state.sent(as_it_is)):
        listed = ", ".join(map(str, dict.fromkeys(never)))
        raise cluster.stop(
            "TK453",
            f"release `{state.name}` has no revision before this one to go back to ({state.sentence}): what was sent "
            f"as {listed} is not known to have served",
            "--revision names one all the same; `tritonkit deploy delete` removes the release",
        )  # fmt: skip
    if not earlier:
        raise cluster.stop(
            "TK453", f"release `{state.name}` has no revision before this one to go back to ({state.sentence})",
            "`tritonkit deploy delete` removes it",
        )  # fmt: skip
    return earlier[-1]
