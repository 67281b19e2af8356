"""A model file, loaded and warm, with its buffers: device, engine and ring put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.host import Host
from tritonkit_runtime.parameters import Copies, ParameterError, TensorSpec

ENGINES = ("onnxruntime", "tensorrt")


class Loaded:
    """What `load` gives: the ring runs batches, `close` frees everything."""

    def __init__(self, device: Device, engine: BufferedEngine, ring: Ring) -> None:
        self.device, self.engine, self.ring = device, engine, ring

    def close(self) -> None:
        """Frees buffers, sessions and the model; nothing must be under way."""
        self.ring.close()
        self.engine.close()


def load(
    engine: str, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], buckets: Sequence[int], *,
    gpu: int | None, batched: bool = True, threads: int = 1, slots: int = 3, copies: Copies = "auto",
) -> Loaded:  # fmt: skip
    """The engine that is named, on the GPU of this number or (None) on the CPU, warm for every bucket.

    `threads` are ONNX Runtime's, on the CPU. Raises ParameterError for what cannot be loaded and OutOfMemoryError
    where it has no room; nothing is kept then.
    """
    if engine not in ENGINES:
        raise ParameterError(f"there is no engine {engine!r}; valid are {', '.join(ENGINES)}")
    if engine == "tensorrt" and gpu is None:
        raise ParameterError("TensorRT runs on a GPU; give the instance one, or take the engine onnxruntime")
    if not path.is_file():
        raise ParameterError(f"the engine's file {path} does not exist: build or render the model again")
    sizes = Buckets(buckets).sizes
    device = Host() if gpu is None else _gpu(gpu)
    made: BufferedEngine
    if engine == "tensorrt":
        from tritonkit_runtime.buffered.tensorrt import TensorRT

        made = TensorRT(device, path, inputs, outputs, sizes, batched=batched)
    else:
        from tritonkit_runtime.buffered.onnxruntime import OnnxRuntime

        made = OnnxRuntime(device, path, inputs, outputs, sizes, batched=batched, threads=threads, index=gpu or 0)
    try:
        return Loaded(device, made, Ring(device, made, sizes, slots=slots, copies=copies))
    except BaseException:
        made.close()
        raise


def _gpu(index: int) -> Cuda:
    try:
        return Cuda(index)
    except CudaError as error:
        raise ParameterError(f"the model wants GPU {index}, and it cannot be used: {error}") from error
