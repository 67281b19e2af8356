"""The engine process at work: batches of all instances in, merged, run and answered."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from tritonkit_runtime.buffered.errors import BatchError, BrokenError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.members import Job, Member, job_of
from tritonkit_runtime.engine_process.merging import TRY_EVERY, chosen, hold_s, measured

if TYPE_CHECKING:
    from tritonkit_runtime.engine_process.decoding import Decoding

_LOOK_S = 0.01  # how often it is looked for what nobody tells: a batch that was still being started, a free file


@dataclass
class _Started:
    """A batch under way: its lane, whose rows lie in it, in order, and when it was put on its way."""

    lane: Lane
    jobs: list[Job]
    bucket: int
    since: float


class Serving:
    """Takes instances, runs their batches, and ends when the last one has left or nothing runs any more.

    A thread listens to each instance, one merges and starts, one waits for the device and answers. With `decoding`
    the second also has files decoded, while the device computes the batch before.
    """

    def __init__(self, loaded: Loaded, decoding: Decoding | None = None) -> None:
        self._loaded, self._ring, self._decoding = loaded, loaded.ring, decoding
        self._engine = loaded.engine
        made = None if decoding is None else decoding.input
        self._inputs = tuple(tensor for tensor in self._engine.inputs if tensor.name != made)
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._under_way: deque[_Started] = deque()
        self._members = 0
        self._times = measured(loaded.ring, loaded.device)
        self._done_at = 0.0  # when all that was started will be, as far as is known
        self._ended = False
        self.lost = ""
        self.last: socket.socket | None = None  # whose end tells the last instance that this process has ended
        self.batches = self.jobs = 0
        self._workers = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._schedule, self._finish)
        ]
        for worker in self._workers:
            worker.start()

    def serve(self, listener: socket.socket, first_s: float) -> str:
        """Takes instances until there is none any more, or the first has not come within `first_s` seconds.

        Gives what was lost, if that is why it ends: those whose batches failed or wait have been told then, and the
        others find that it has ended. Else nothing is under way.
        """
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or self._members, first_s):
                self._ended = True
            self._changed.wait_for(lambda: self._ended)
            while self._waiting:  # of instances that are gone
                self._waiting.popleft().member.release()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # who comes now finds nobody, and starts another process
        if not self.lost:
            for worker in self._workers:
                worker.join()
        return self.lost

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._ended:  # it was shut down
                    return
                time.sleep(_LOOK_S)  # there are too many open files: until some are closed
                continue
            with self._changed:
                if self._ended:
                    connection.close()
                    continue
                self._members += 1
                self._changed.notify_all()
            threading.Thread(target=self._listen, args=(connection, listener), daemon=True).start()

    def _listen(self, connection: socket.socket, listener: socket.socket) -> None:
        member = None
        try:
            member = Member(connection, self._loaded.device)
            member.tell("")
            if self._decoding is not None:
                wire.send_kinds(connection, self._decoding.kinds)
            self._take_jobs(member)
        except (EOFError, OSError, ValueError):
            pass  # it is gone, or none of ours
        finally:
            if member is not None:
                member.release()
            with self._changed:
                self._members -= 1
                last = not (self._members or self._ended or _is_called(listener))
                if last:
                    self.last, self._ended = connection, True
                    self._changed.notify_all()
            if not last:
                connection.close()

    def _take_jobs(self, member: Member) -> None:
        inputs, outputs, largest = self._inputs, self._engine.outputs, self._ring.buckets.largest
        unpack = None if self._decoding is None else self._decoding.unpacked
        while message := member.connection.recv(wire.LONGEST_BYTES):
            asked = wire.Asked.unpacked(message, len(inputs) + len(outputs) + (unpack is not None))
            job = job_of(member, asked, inputs, outputs, largest, unpack=unpack)
            member.hold()
            with self._changed:
                if not self.lost:
                    self._waiting.append(job)
                    self._changed.notify_all()
                    continue
            self._answer(job, self.lost)

    def _schedule(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting and self._ring.free) or self._held():
                    if self._ended:
                        return
                    if not (self._waiting and self._ring.free):
                        self._changed.wait()
                jobs = [self._waiting.popleft() for _ in range(self._count())]
            self._start(jobs)

    def _count(self) -> int:
        """How many of those that wait are run as one batch."""
        if self._waiting[0].alone or not self._engine.batched:  # those that run alone wait in front
            return 1
        waiting = [job.items for job in self._waiting]
        return chosen(waiting, self._ring.buckets, self._times, trying=self.batches % TRY_EVERY == TRY_EVERY - 1)

    def _held(self) -> bool:
        """Waits for more, where what is under way leaves time for that; whether it has waited."""
        if not self._under_way:
            return False
        items, size = sum(job.items for job in self._waiting), sum(job.size_bytes for job in self._waiting)
        ready_s = size / self._times.bytes_a_second + items * self._times.preparing_s
        wait_s = hold_s(items, self._ring.buckets.largest, self._done_at - perf_counter(), ready_s)
        if wait_s > 0:
            self._changed.wait(wait_s)
        return wait_s > 0

    def _start(self, jobs: list[Job]) -> None:
        ring, batched = self._ring, self._engine.batched
        lane: Lane | None = None
        placed, row = [], 0
        for job in jobs:
            placed += job.placed(self._inputs, row, batched=batched)
            row += job.items
        # The rows of a tensor come one after the other.
        placed.sort(key=lambda part: (part.name, part.row))
        try:
            lane = ring.take()
            self._prepare(lane, jobs, row)
            since = perf_counter()
            ring.start(lane, row, placed=placed)
        except (BatchError, ShapeError, BrokenError) as error:
            if lane is not None:
                ring.give_back(lane)
            self._failed(jobs, error)
            return
        with self._changed:
            self._done_at = max(self._done_at, since) + (self._times.of(lane.size.items) or 0.0)
            self._under_way.append(_Started(lane, jobs, lane.size.items, since))
            self.batches += 1
            self.jobs += len(jobs)
            self._changed.notify_all()

    def _prepare(self, lane: Lane, jobs: list[Job], items: int) -> None:
        """Has the images of a batch decoded into its lane; BatchError, BrokenError."""
        if self._decoding is None:
            return
        began = perf_counter()
        try:
            self._loaded.device.use()
            self._decoding.fill(lane.number, jobs)
        except CudaError as error:
            if error.lasting:
                raise BrokenError(str(error)) from error
            raise BatchError(f"the batch was not run: {error}") from error
        self._times.learn_preparing(items, perf_counter() - began)

    def _finish(self) -> None:
        before = 0.0
        while True:
            with self._changed:
                while not self._under_way:
                    if self._ended and not self._workers[0].is_alive():
                        return
                    self._changed.wait(_LOOK_S if self._ended else None)
                started = self._under_way[0]
            try:
                answers = self._ring.finish(started.lane)
                done, row = perf_counter(), 0
                for job in started.jobs:
                    job.take(self._engine.outputs, answers, row, batched=self._engine.batched)
                    row += job.items
            except (BatchError, BrokenError) as error:
                self._gone(started)
                self._failed(started.jobs, error)
                continue
            self._times.learn(started.bucket, done - max(before, started.since))
            before = done
            self._gone(started)
            for job in started.jobs:
                self._answer(job, "")

    def _gone(self, started: _Started) -> None:
        self._ring.give_back(started.lane)
        with self._changed:
            self._under_way.popleft()
            left_s = sum(self._times.of(other.bucket) or 0.0 for other in self._under_way)
            self._done_at = perf_counter() + left_s
            self._changed.notify_all()

    def _answer(self, job: Job, words: str) -> None:
        if job.refused and not words:
            job.member.refuse(job.refused)
        else:
            job.member.tell(words)
        job.member.release()

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        """Tells the instance what the ring said, or runs those of several each alone: one's items may be why.

        Where nothing runs any more, everybody is told, and it ends.
        """
        words = str(error.__cause__ or error)  # the instance's own ring says of it what this one did
        if isinstance(error, BrokenError):
            self._end(f"the engine process lost its GPU and is started again: {words}", jobs)
            return
        with self._changed:
            again = len(jobs) > 1 and not (self.lost or self._ended)
            for job in reversed(jobs if again else []):
                job.alone = True
                self._waiting.appendleft(job)
            self._changed.notify_all()
        if again:
            return
        for job in jobs:
            self._answer(job, words)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 — else everybody would wait for answers for good
            traceback.print_exc()
            self._end(f"the engine process has a defect and is started again: {error!r}", [])

    def _end(self, words: str, jobs: list[Job]) -> None:
        with self._changed:
            self.lost = self.lost or words
            jobs = [*jobs, *self._waiting]
            self._waiting.clear()
        for job in jobs:
            self._answer(job, words)
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _is_called(listener: socket.socket) -> bool:
    """Whether somebody has connected who was not taken yet."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))
