"""Samples as they come in, in any order, and as they are kept: in the order in which they were due."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from loadtest.samples.record import SAMPLE, Outcome, Samples

MOST_WORDS, LONGEST_WORDS = 50, 200
OTHER_WORDS = "(other words)"

_RECORD = struct.Struct("<QIIIBBH")
_SIZE, _GROWTH = _RECORD.size, 4096
if SAMPLE.itemsize != _SIZE:
    raise AssertionError(f"a sample has {SAMPLE.itemsize} bytes, and is packed into {_SIZE}")


class Ledger:
    """Keeps what has come in, and hands on what is complete up to the first request that has not.

    `keep` is given records that follow those of the call before. It may raise OSError. A timeout and what was not
    sent have a latency of at least `deadline_ns`. What `cancel` has drawn for cancelling is CANCELLED, however it
    went: if only those counted that were answered before, the fast ones would be kept and the slow ones not.
    """

    def __init__(
        self, keep: Callable[[Samples], None], due_ns: memoryview, pipeline: memoryview, payload: memoryview, *,
        cancel: memoryview | None = None, deadline_ns: int = 0,
    ) -> None:  # fmt: skip
        self._keep, self._due_ns, self._pipeline, self._payload = keep, due_ns, pipeline, payload
        self._cancel, self._deadline_ns = cancel, deadline_ns
        self._first = 0  # the request that the first of `_records` is of
        self._records = bytearray(_GROWTH * _SIZE)
        self._filled = bytearray(_GROWTH)
        self.done = 0
        self.errors: dict[str, int] = {}

    def record(self, index: int, sent_ns: int, done_ns: int, outcome: Outcome, status: int) -> None:
        """How a request of the schedule went. Times count from the start of the run; once a request."""
        place = index - self._first
        while place >= len(self._filled):
            self._records += bytes(_GROWTH * _SIZE)
            self._filled += bytes(_GROWTH)
        due_ns = self._due_ns[index]
        if outcome is Outcome.TIMEOUT or outcome is Outcome.UNSENT:
            done_ns = max(done_ns, due_ns + self._deadline_ns)
        if self._cancel is not None and self._cancel[index]:
            outcome = Outcome.CANCELLED
        _RECORD.pack_into(
            self._records, place * _SIZE, due_ns // 1000, (sent_ns - due_ns) // 1000, (done_ns - due_ns) // 1000,
            self._payload[index], self._pipeline[index], outcome, status,
        )  # fmt: skip
        self._filled[place] = 1
        self.done += 1

    def failed(
        self, index: int, sent_ns: int, done_ns: int, outcome: Outcome, words: str, *, status: int = 0
    ) -> None:
        """The same for a request that went wrong, and why."""
        self.record(index, sent_ns, done_ns, outcome, status)
        if self._cancel is not None and self._cancel[index]:
            return
        words = " ".join(words.encode(errors="replace").decode().split())[:LONGEST_WORDS]  # no halves of characters
        if words not in self.errors and len(self.errors) >= MOST_WORDS:
            words = OTHER_WORDS
        self.errors[words] = self.errors.get(words, 0) + 1

    def flush(self) -> None:
        """Hands on what is complete up to the first gap. Raises OSError."""
        gap = self._filled.find(0)
        count = len(self._filled) if gap < 0 else gap
        if count:
            self._keep(np.frombuffer(bytes(self._records[: count * _SIZE]), SAMPLE))
            del self._records[: count * _SIZE], self._filled[:count]
            self._first += count

    def finish(self) -> None:
        """Hands on everything, over gaps as well: those requests have no sample. Raises OSError."""
        self.flush()
        rest = np.frombuffer(bytes(self._records), SAMPLE)[np.frombuffer(bytes(self._filled), np.bool_)]
        if len(rest):
            self._keep(rest)
        self._records.clear()
        self._filled.clear()
