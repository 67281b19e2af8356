"""An instance's side: an engine that is none, but hands batches to the engine process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed, Size, fixed
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.memory import Shared, aligned
from tritonkit_runtime.engine_process.starting import NoEngineError, connected
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.parcel import Parcel

_LEAVE_S = 30.0  # how long the engine process may take to end; then it is left to do so
SLOTS = 2  # as few as a ring has; an instance hands over one batch after the other


def load(work: Work, most: int) -> Loaded:
    """The engine process of this work, started where it is not there yet, behind a ring of batches up to `most`.

    An input that a kernel makes there is none of the ring's: what it is made of goes into the parcel of the lane's
    session. ParameterError for what it cannot load.
    """
    made = None if work.kernel is None else work.kernel.input
    inputs, outputs = fixed(tuple(tensor for tensor in work.inputs if tensor.name != made)), fixed(work.outputs)
    slot = sum(aligned(tensor.bytes_of(most)) for tensor in (*inputs, *outputs))
    memory = Shared(SLOTS * (slot + aligned(_parcel_bytes(work, most))))
    engine = RemoteEngine(work, inputs, outputs, memory, most)
    try:
        engine.connect()
        # Batches are padded where they are run: here every size is one.
        return Loaded(memory, engine, Ring(memory, engine, range(1, most + 1), slots=SLOTS))
    except NoEngineError as error:
        engine.close()
        raise ParameterError(str(error)) from error
    except BaseException:
        engine.close()
        raise


def _parcel_bytes(work: Work, most: int) -> int:
    if work.kernel is None:
        return 0
    # Models that carry the runtime have this part of it where they need it alone.
    from tritonkit_runtime.preprocess.parcel import parcel_bytes

    return parcel_bytes(work.kernel.recipe().item_shape, most, work.kernel.limits.max_pixels)


class RemoteEngine:
    """A BufferedEngine in another process, on tensors in shared memory.

    When that process has ended, the batch that it had fails, and the next one starts it again and waits until it is
    ready. Threads take turns. `kinds` of JPEG files are those that it decodes.
    """

    recordable = False

    def __init__(
        self, work: Work, inputs: tuple[Fixed, ...], outputs: tuple[Fixed, ...], memory: Shared, most: int
    ) -> None:  # fmt: skip
        self.inputs, self.outputs, self.batched = inputs, outputs, work.batched
        self.about = f"the engine process of {work.about}"
        self.kinds = frozenset[tuple[int, bytes]]()
        self._work, self._memory, self._most = work, memory, most
        self._turn = threading.Lock()
        self._connection: socket.socket | None = None

    def connect(self) -> socket.socket:
        """Finds the process or starts it; NoEngineError."""
        memory = self._memory
        self._connection = connected(self._work, memory.descriptor, memory.mapped.size_bytes)
        if self._work.kernel is not None:
            try:
                self.kinds = wire.receive_kinds(self._connection)
            except (EOFError, OSError) as error:
                self._drop()
                raise NoEngineError(f"{self.about} ended as soon as it was ready") from error
        return self._connection

    def session(self, stream: int) -> RemoteSession:  # noqa: ARG002 — plain memory has none
        """One for each slot."""
        return RemoteSession(self, self._memory.mapped.address, self._parcel())

    def _parcel(self) -> Parcel | None:
        kernel, memory = self._work.kernel, self._memory
        if kernel is None:
            return None
        from tritonkit_runtime.preprocess.parcel import Parcel

        address = memory.pinned(_parcel_bytes(self._work, self._most))
        return Parcel(address, memory.mapped.address, self._most, kernel.recipe(), kernel.limits.max_pixels)

    def run(self, asked: wire.Asked) -> tuple[int, ...]:
        """Has a batch run; its outputs are in the shared memory then, but for the rows that are given: their files
        were not decoded. BatchError.
        """
        with self._turn:
            try:
                answer = wire.receive_answer(self._sent(asked.packed()))
            except NoEngineError as error:
                raise BatchError(f"{self.about} cannot be started again: {error}") from error
            except (EOFError, OSError) as error:
                self._drop()
                raise BatchError(f"{self.about} ended with this batch; the next one starts it again") from error
            except BaseException:  # the answer that is still to come would be taken for the next batch's
                self._drop()
                raise
        if isinstance(answer, tuple):
            return answer
        if answer:
            raise BatchError(answer)
        return ()

    def _sent(self, message: bytes) -> socket.socket:
        """The connection that has the message. A process that ended without a batch of ours is started again."""
        if self._connection is not None:
            try:
                self._connection.send(message, socket.MSG_NOSIGNAL)
                return self._connection
            except OSError:
                self._drop()
        connection = self.connect()
        connection.send(message, socket.MSG_NOSIGNAL)
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Leaves the process, which ends with the last that does; then what it held of a GPU is free."""
        with self._turn:
            if self._connection is not None:
                try:
                    self._connection.shutdown(socket.SHUT_WR)
                    self._connection.settimeout(_LEAVE_S)
                    wire.receive_words(self._connection)
                except (EOFError, OSError):
                    pass
                self._drop()
        self._memory.close()


class RemoteSession:
    """What a slot needs of it: where its tensors lie, and its images for a kernel; a Session.

    `refused`: the rows of the last batch whose files were not decoded.
    """

    def __init__(self, engine: RemoteEngine, base: int, parcel: Parcel | None) -> None:
        self._engine, self._base, self.parcel = engine, base, parcel
        self.refused: tuple[int, ...] = ()
        self._offsets: tuple[int, ...] = ()

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:  # noqa: ARG002
        """Notes where the tensors lie; the engine has been warm since it was loaded."""
        tensors = (*self._engine.inputs, *self._engine.outputs)
        images = () if self.parcel is None else (self.parcel.offset,)
        self._offsets = (*(addresses[tensor.name] - self._base for tensor in tensors), *images)

    def run(self, size: Size, stream: int) -> None:  # noqa: ARG002
        """Has the batch run and waits for it; BatchError."""
        self.refused = self._engine.run(wire.Asked(size.items, self._offsets))

    def shape(self, name: str) -> tuple[int, ...]:
        """None has a shape of its own."""
        raise KeyError(name)

    def close(self) -> None:
        """Nothing of its own."""
