"""What of the latencies may be the sender's doing: requests that left late, and what they made others wait.

A server that works on as long as there is something to do, one request after the other, ends nothing earlier because
requests come later. So late requests only add to latencies, and a pass with them is one without them. By how much:
requests that all come up to x later end up to x later. Which of them count is the reasoning of `truth.guards` again:
a server that keeps its objective has answered what was due longer ago than the bound on the p99.

A batcher is no such server: it may gain from requests that come together. How late 99 of 100 may leave is bounded,
and so is that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.samples.record import Outcome

if TYPE_CHECKING:
    from loadtest.samples.record import Samples


def without_lateness(samples: Samples, bound_us: float, deadline_us: int) -> Samples:
    """The same requests with the least latency that each may have had if all had left when they were due.

    `samples` are in the order in which they were due, those of several turns after each other. Those that were not
    answered within the deadline because they left too late for the bound count as answered.
    """
    found = samples.copy()
    around = lag_around(samples["due_us"], samples["lag_us"], bound_us)
    latencies = samples["latency_us"].astype(np.int64)
    timeouts = samples["outcome"] == Outcome.TIMEOUT
    latencies[timeouts] = np.maximum(latencies[timeouts], deadline_us)
    least = np.maximum(latencies - around, 0)
    found["outcome"][timeouts & (least <= bound_us)] = Outcome.OK
    found["latency_us"] = np.where(found["outcome"] == Outcome.OK, least, samples["latency_us"])
    return found


def lag_around(due_us: Any, lag_us: Any, within_us: float) -> Any:
    """The longest lag [n] of each request itself and those due up to `within_us` before it, in the same turn."""
    due, longest = np.asarray(due_us).astype(np.int64), np.asarray(lag_us).astype(np.int64)
    if not len(due):
        return longest
    turn = np.cumsum(np.diff(due, prepend=due[0]) < 0)
    at = due + turn * (int(due.max()) + int(within_us) + 1)
    first = np.searchsorted(at, at - int(within_us), "left")
    count = np.arange(len(at)) - first + 1
    level = np.log2(count).astype(np.int64)
    found, size = longest.copy(), 1
    for number in range(int(level.max()) + 1):  # `longest` is of each request and the size - 1 before it
        own = np.flatnonzero(level == number)
        found[own] = np.maximum(longest[own], longest[first[own] + size - 1])
        longest = np.concatenate([longest[:size], np.maximum(longest[size:], longest[:-size])])
        size *= 2
    return found
