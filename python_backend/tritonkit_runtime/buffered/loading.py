"""A model file, loaded and warm, with its buffers: device, engine and ring put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.feed import Feeder
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.device import Device, Kernels
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.host import Host
from tritonkit_runtime.parameters import Copies, ParameterError, TensorSpec

ENGINES = ("onnxruntime", "tensorrt", "inductor")


class Loaded:
    """What `load` gives: the ring runs batches, `close` frees everything."""

    def __init__(self, device: Device, engine: BufferedEngine, ring: Ring, feeder: Feeder | None = None) -> None:
        self.device, self.engine, self.ring, self.feeder = device, engine, ring, feeder

    def close(self) -> None:
        """Frees buffers, sessions and the model; nothing must be under way."""
        self.ring.close()
        self.engine.close()
        if self.feeder is not None:
            self.feeder.close()


def load(
    engine: str, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], buckets: Sequence[int], *,
    gpu: int | None, batched: bool = True, threads: int = 1, slots: int = 3, copies: Copies = "auto",
    feed: Callable[[Kernels], Feeder] | None = None, lengths: Sequence[int] = (), direct: bool = False,
    stay: bool = False, awake: bool = True,
) -> Loaded:  # fmt: skip
    """The engine that is named, on the GPU of this number or (None) on the CPU, warm for every bucket in all lengths.

    `threads` are ONNX Runtime's and PyTorch's, on the CPU. `feed` makes what fills one of the inputs, on a GPU. There
    inputs may come in its memory if `direct`, and the outputs `stay` in it. `awake` is the ring's. Raises
    ParameterError for what cannot be loaded, OutOfMemoryError where it has no room, and what `feed` raises; nothing
    is kept then.
    """
    if engine not in ENGINES:
        raise ParameterError(f"there is no engine {engine!r}; valid are {', '.join(ENGINES)}")
    if engine == "tensorrt" and gpu is None:
        raise ParameterError("TensorRT runs on a GPU; give the instance one, or take the engine onnxruntime")
    if not path.is_file():
        raise ParameterError(f"the engine's file {path} does not exist: build or render the model again")
    sizes = Buckets(buckets).sizes
    cuda = None if gpu is None else _gpu(gpu)
    device: Device = cuda or Host()
    feeder = None if feed is None or cuda is None else feed(cuda)
    made: BufferedEngine | None = None
    try:
        if engine == "tensorrt":
            from tritonkit_runtime.buffered.tensorrt import TensorRT

            made = TensorRT(device, path, inputs, outputs, sizes, batched=batched, lengths=lengths)
        elif engine == "inductor":
            from tritonkit_runtime.buffered.inductor import Inductor

            made = Inductor(
                device, path, inputs, outputs, sizes, batched=batched, threads=threads, index=gpu or 0,
                lengths=lengths,
            )  # fmt: skip
        else:
            from tritonkit_runtime.buffered.onnxruntime import OnnxRuntime

            made = OnnxRuntime(
                device, path, inputs, outputs, sizes, batched=batched, threads=threads, index=gpu or 0,
                lengths=lengths,
            )  # fmt: skip
        if stay and any(tensor.most_bytes is not None for tensor in made.outputs):
            raise ParameterError(f"shapes of outputs of {made.about} depend on the data: they come to the host")
        ring = Ring(
            device, made, sizes, slots=slots, copies=copies, feeder=feeder, lengths=lengths,
            direct=direct and cuda is not None, kept=[tensor.name for tensor in made.outputs] if stay else (),
            awake=awake,
        )  # fmt: skip
        return Loaded(device, made, ring, feeder)
    except BaseException:
        for part in (made, feeder):
            if part is not None:
                part.close()
        raise


def _gpu(index: int) -> Cuda:
    try:
        return Cuda(index)
    except CudaError as error:
        raise ParameterError(f"the model wants GPU {index}, and it cannot be used: {error}") from error
