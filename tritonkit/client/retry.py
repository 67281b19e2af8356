"""When a request is sent again: what was refused, within its deadline, never so often that load doubles.

A request is repeated when the connection was refused, or the server itself refused it (a queue is full, it is
stopping, a proxy has no server to give it to). Then no model has seen it, but for two cases that look the same from
here: a later model of an ensemble may refuse what earlier ones have worked on, and a Python model may say UNAVAILABLE
itself. A connection that breaks under way, here or behind a proxy that says so, leaves open whether the model ran;
that is repeated only where `lost` says so. A deadline that is over ends it in every case.
"""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass

from tritonkit.client.errors import ItemError

# How gRPC, aiohttp and Python word a connection that never stood: nothing can have been sent.
_NEVER_SENT = re.compile(
    r"failed to connect|connections to all backends failing|Connection ?Refused|ClientConnector|empty address list"
    r"|gaierror|(DNS|name) resolution|errors resolving",
    re.IGNORECASE,
)
# A server that is stopping, or is not done with starting, has none of its models.
_NOT_SERVED_NOW = re.compile(r"Request for unknown model: '[^']*' (has no available versions|is not ready)")
# A proxy whose server broke off: it may have worked before that.
_BROKE_BEHIND_PROXY = re.compile(r"HTTP status 502|http2 header with status: 502")
# Envoy, and what is built on it, says 503 of that too. Its reason tells, where it gives one; when it has tried
# several times, that is the reason of the last time alone.
_ENVOY = re.compile(r"upstream connect error or disconnect/reset before headers", re.IGNORECASE)
_ENVOY_NEVER_SENT = re.compile(
    r"before headers\. reset reason: ((local |remote )?connection failure|overflow)", re.IGNORECASE
)
_RESERVE = 10.0  # repetitions that a client may send before it has sent anything else; also the most that it saves up


@dataclass(frozen=True)
class Retry:
    """How often a request is sent again, and when.

    `attempts` counts the first one too. Pauses double from `first_pause_s` to `longest_pause_s` seconds, each drawn
    between half of that and the whole, so that clients that failed together do not come back together. Of 100
    requests `budget` * 100 may be repeated, and ten more. `lost`: also those whose connection broke, which the model
    may have run; right for a pipeline whose answer is all that it does. Raises ValueError for what cannot work.
    """

    attempts: int = 4
    first_pause_s: float = 0.1
    longest_pause_s: float = 1.0
    budget: float = 0.1
    lost: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; give 1 (never again) or more")
        if not 0 < self.first_pause_s <= self.longest_pause_s:
            found = f"{self.first_pause_s} and {self.longest_pause_s}"
            raise ValueError(f"first_pause_s and longest_pause_s are {found}; give seconds above 0, the longest last")
        if not 0 <= self.budget <= 1:
            raise ValueError(f"budget is {self.budget}; give a share of the requests, from 0 to 1")

    def repeats(self, error: ItemError) -> bool:
        """Whether a request that ended so may be sent again."""
        if _NOT_SERVED_NOW.search(error.raw):
            return True
        if error.code not in ("unreachable", "unavailable"):
            return False
        if self.lost:
            return True
        if _ENVOY.search(error.raw):
            return _ENVOY_NEVER_SENT.search(error.raw) is not None
        if error.code == "unreachable":
            return _NEVER_SENT.search(error.raw) is not None
        return not _BROKE_BEHIND_PROXY.search(f"{error.message} {error.raw}")


RETRY = Retry()
ONCE = Retry(attempts=1)


class Retries:
    """The policy of one client and what is left of its budget. Safe to use from several threads."""

    def __init__(self, policy: Retry | None, deadline_s: float) -> None:
        self.policy = policy or ONCE
        self.deadline_s = deadline_s
        self._saved = _RESERVE
        self._lock = threading.Lock()

    def course(self) -> Course:
        """Of a request that is about to be sent for the first time."""
        with self._lock:
            self._saved = min(_RESERVE, self._saved + self.policy.budget)
        return Course(self)

    def pay(self) -> bool:
        """Takes one repetition from the budget; False when there is none."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True


class Course:
    """One request from its first sending to its end."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._end = time.monotonic() + retries.deadline_s
        self.attempts = 1

    @property
    def left_s(self) -> float:
        """Seconds until its deadline, never quite 0."""
        return max(1e-3, self._end - time.monotonic())

    def pause_s(self, reply: object) -> float | None:
        """After how many seconds to send it again, which then counts as done; None: the reply is the last word."""
        policy = self._retries.policy
        if not isinstance(reply, ItemError) or self.attempts >= policy.attempts or not policy.repeats(reply):
            return None
        longest_s = min(policy.longest_pause_s, policy.first_pause_s * 2.0 ** min(self.attempts - 1, 30))
        pause_s = longest_s * random.uniform(0.5, 1)  # noqa: S311
        if pause_s >= self.left_s or not self._retries.pay():
            return None
        self.attempts += 1
        return pause_s
