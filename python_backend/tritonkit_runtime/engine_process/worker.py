"""An instance's side: an engine that is none, but hands batches to the engine process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed, Size, fixed
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.memory import Shared, aligned
from tritonkit_runtime.engine_process.starting import NoEngineError, connected
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError

_LEAVE_S = 30.0  # how long the engine process may take to end; then it is left to do so
SLOTS = 2  # as few as a ring has; an instance hands over one batch after the other


def load(work: Work, most: int) -> Loaded:
    """The engine process of this work, started where it is not there yet, behind a ring of batches up to `most`.

    ParameterError for what it cannot load.
    """
    inputs, outputs = fixed(work.inputs), fixed(work.outputs)
    memory = Shared(SLOTS * sum(aligned(tensor.bytes_of(most)) for tensor in (*inputs, *outputs)))
    engine = RemoteEngine(work, inputs, outputs, memory)
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


class RemoteEngine:
    """A BufferedEngine in another process, on tensors in shared memory.

    When that process has ended, the batch that it had fails, and the next one starts it again and waits until it is
    ready. Threads take turns.
    """

    recordable = False

    def __init__(
        self, work: Work, inputs: tuple[Fixed, ...], outputs: tuple[Fixed, ...], memory: Shared
    ) -> None:  # fmt: skip
        self.inputs, self.outputs, self.batched = inputs, outputs, work.batched
        self.about = f"the engine process of {work.about}"
        self._work, self._memory = work, memory
        self._turn = threading.Lock()
        self._connection: socket.socket | None = None

    def connect(self) -> socket.socket:
        """Finds the process or starts it; NoEngineError."""
        memory = self._memory
        self._connection = connected(self._work, memory.descriptor, memory.mapped.size_bytes)
        return self._connection

    def session(self, stream: int) -> RemoteSession:  # noqa: ARG002 — plain memory has none
        """One for each slot."""
        return RemoteSession(self, self._memory.mapped.address)

    def run(self, asked: wire.Asked) -> None:
        """Has a batch run; its outputs are in the shared memory then. BatchError."""
        with self._turn:
            try:
                words = wire.receive_words(self._sent(asked.packed()))
            except NoEngineError as error:
                raise BatchError(f"{self.about} cannot be started again: {error}") from error
            except (EOFError, OSError) as error:
                self._drop()
                raise BatchError(f"{self.about} ended with this batch; the next one starts it again") from error
            except BaseException:  # the answer that is still to come would be taken for the next batch's
                self._drop()
                raise
        if words:
            raise BatchError(words)

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
    """What a slot needs of it: where its tensors lie; a Session."""

    def __init__(self, engine: RemoteEngine, base: int) -> None:
        self._engine, self._base = engine, base
        self._offsets: tuple[int, ...] = ()

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:  # noqa: ARG002
        """Notes where the tensors lie; the engine has been warm since it was loaded."""
        tensors = (*self._engine.inputs, *self._engine.outputs)
        self._offsets = tuple(addresses[tensor.name] - self._base for tensor in tensors)

    def run(self, size: Size, stream: int) -> None:  # noqa: ARG002
        """Has the batch run and waits for it; BatchError."""
        self._engine.run(wire.Asked(size.items, self._offsets))

    def shape(self, name: str) -> tuple[int, ...]:
        """None has a shape of its own."""
        raise KeyError(name)

    def close(self) -> None:
        """Nothing of its own."""
