"""One request as it went: 24 bytes, in microseconds, never rounded to buckets."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

Samples = np.ndarray[Any, np.dtype[np.void]]


class Outcome(IntEnum):
    """How a request ended. Everything but OK counts as a latency of at least the deadline."""

    OK = 0
    REFUSED = 1  # the server answered with an error
    TIMEOUT = 2  # no answer within the deadline
    BROKEN = 3  # the connection was refused, or broke
    CANCELLED = 4  # cancelled on purpose, as the traffic asked for
    UNSENT = 5  # the run ended before it was sent


SAMPLE = np.dtype(
    [
        ("due_us", "<u8"),  # when it was due, from the start of the run
        ("lag_us", "<u4"),  # how much later the sender came to it; waiting for a connection is no part of it
        ("latency_us", "<u4"),  # from when it was due to the last byte of the answer, or to the error
        ("payload", "<u4"),
        ("pipeline", "<u1"),
        ("outcome", "<u1"),
        ("status", "<u2"),  # of HTTP, or of gRPC (0 is fine there)
    ]
)
"""Samples are kept in the order in which they were due."""


def sent_of(samples: Samples) -> Samples:
    """Without what was never sent, which counts nowhere. Nothing is copied where all were: there may be millions."""
    unsent = samples["outcome"] == Outcome.UNSENT
    return samples[~unsent] if unsent.any() else samples


def counted_us(samples: Samples, deadline_us: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The latency of each request as it counts, [n]: an error or a timeout is at least the deadline, none is dropped.

    What was cancelled on purpose is left out.
    """
    outcomes, latencies = samples["outcome"], samples["latency_us"]  # the columns alone: there may be millions
    kept = outcomes != Outcome.CANCELLED
    found: np.ndarray[Any, np.dtype[np.int64]] = latencies[kept].astype(np.int64)
    wrong = outcomes[kept] != Outcome.OK
    found[wrong] = np.maximum(found[wrong], deadline_us)
    return found
