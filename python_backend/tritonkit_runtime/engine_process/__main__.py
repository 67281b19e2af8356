"""`python -m tritonkit_runtime.engine_process LISTENER WORK`: started by an instance, and by nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING

from tritonkit_runtime.buffered.feed import Feeder
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.device import Kernels
from tritonkit_runtime.device.errors import CudaError, OutOfMemoryError
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.serving import Serving
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError

if TYPE_CHECKING:
    from tritonkit_runtime.engine_process.decoding import Decoding

_FIRST_S = 30.0  # an instance connects at once; one that was ended meanwhile never does
_LAST_WORDS_S = 2.0  # how long those who come are told why there is no engine


def main(listener: socket.socket, work: Work) -> int:
    """Serves until the last instance has left; the status that the process ends with."""
    # The terminal's Ctrl-C is for the server, which takes its instances down in order, and they this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Threads that wait for Python wake each other within this, and not only after 5 ms.
    sys.setswitchinterval(1e-4)
    began = time.perf_counter()
    listener.set_inheritable(False)  # a process that outlives this one would keep its address
    try:
        loaded = _loaded(work)
        serving = Serving(loaded, _decoding(loaded))
    except Exception as error:  # noqa: BLE001 — libraries raise what they like, and the instances have to be told
        if not isinstance(error, (ParameterError, OutOfMemoryError, CudaError, ImportError, OSError)):
            traceback.print_exc()
        where = "on the CPU" if work.gpu is None else f"on GPU {work.gpu}"
        found = f"{work.path.name} cannot be made ready {where}: {error}"
        _refuse(listener, str(error) if isinstance(error, ParameterError) else found)
        return 1
    _say(work, f"ready after {time.perf_counter() - began:.1f} s")
    if lost := serving.serve(listener, _FIRST_S):
        _say(work, lost)
        os._exit(1)  # a lost context cannot be taken down in order
    merged = f"{serving.jobs:,} batches of instances were run as {serving.batches:,}"
    loaded.close()
    if serving.last is not None:
        serving.last.detach()  # or it would be closed before the driver's context is
    _say(work, f"ends with the last instance; {merged}")
    return 0


def _loaded(work: Work) -> Loaded:
    loaded = load(
        work.engine, work.path, work.inputs, work.outputs, work.buckets, gpu=work.gpu, batched=work.batched,
        threads=work.threads, slots=work.slots, copies="beside", direct=True, awake=False,
        feed=None if work.kernel is None else partial(_kernel, work),
    )  # fmt: skip
    if any(tensor.most_bytes is not None for tensor in loaded.engine.outputs):
        about = loaded.engine.about
        loaded.close()
        raise ParameterError(
            f"shapes of outputs of {about} depend on the data, and batches of several instances could not be told "
            "apart: leave out `process: shared`"
        )
    return loaded


def _kernel(work: Work, device: Kernels) -> Feeder:
    from tritonkit_runtime.preprocess.errors import NotOnGpuError

    wanted = work.kernel
    if wanted is None or work.gpu is None:
        raise ParameterError("a kernel makes an input on a GPU, and there is none")
    try:
        return wanted.kernel(device, work.gpu, lambda text: _say(work, f"stage {wanted.stage}: {text}"), apart=True)
    except NotOnGpuError as error:
        raise ParameterError(
            f"the steps of stage {wanted.stage} cannot run on the GPU: {error}; `preprocess: cpu` would run them on "
            "the CPU"
        ) from error


def _decoding(loaded: Loaded) -> Decoding | None:
    if loaded.feeder is None:
        return None
    # Models that carry the runtime have this part of it where they need it alone.
    from tritonkit_runtime.engine_process.decoding import Decoding
    from tritonkit_runtime.preprocess.kernel import Kernel

    return Decoding(loaded.feeder) if isinstance(loaded.feeder, Kernel) else None


def _refuse(listener: socket.socket, words: str) -> None:
    listener.settimeout(_LAST_WORDS_S)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, EOFError, ValueError):
                connection.settimeout(_LAST_WORDS_S)
                descriptor, _ = wire.receive_hello(connection)
                os.close(descriptor)
                wire.send_words(connection, words)


def _say(work: Work, words: str) -> None:
    sys.stderr.write(f"tritonkit: engine process of {work.about}: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(socket.socket(fileno=int(sys.argv[-2])), Work.of(sys.argv[-1])))
