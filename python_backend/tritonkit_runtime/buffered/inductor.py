"""What PyTorch's Inductor compiled, on the CPU or on a GPU, on buffers that are already there."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tritonkit_runtime.buffered import inductor_package
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.inductor_module import library, set_precision
from tritonkit_runtime.buffered.shapes import Fixed, Size, fixed, sizes_of
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OutOfMemoryError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

# Triton's words -> torch's.
_DTYPES: Mapping[str, str] = {
    "BOOL": "bool", "UINT8": "uint8", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "BF16": "bfloat16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
_PACKAGES = {"aotinductor": "torch", "torch.compile": "torch, onnx and onnx2torch"}


class Inductor:
    """A file of Inductor's, checked against the declared tensors; a BufferedEngine.

    On a GPU each session records a CUDA graph of every size itself, in memory that torch gives to nobody else: so the
    ring has nothing to record. `threads` are torch's, on the CPU, where the compiled code has a number of them in it;
    there torch takes memory for what lies between inputs and outputs with every batch. `index` is the GPU's. Raises
    ParameterError for a file that cannot be loaded, was compiled for another machine, or has other tensors.
    """

    recordable = False

    def __init__(
        self, device: Device, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec],
        sizes: Sequence[int], *, batched: bool = True, threads: int = 1, index: int = 0,
        lengths: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.batched, self.about = batched, f"the file {path.name} of Inductor"
        self.device, self.index, self.on_gpu = device, index, not device.unified
        self.inputs, self.outputs = (fixed(tensors, is_open=bool(lengths)) for tensors in (inputs, outputs))
        try:
            self.said = said = inductor_package.described(path)
        except ValueError as error:
            raise ParameterError(f"{path.name} {error}: build or render the model again") from error
        self._check(said, sizes_of(sizes, lengths))
        inductor_package.caches.enter()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        try:
            self.torch = self._library(threads)
            self._folder = tempfile.TemporaryDirectory(prefix="tritonkit-inductor-", ignore_cleanup_errors=True)
            self.call = self._loaded(path, Path(self._folder.name))
        except BaseException:
            self.close()
            raise
        # What is run, in the file's order.
        self.given, self.answered = (
            tuple({tensor.name: tensor for tensor in tensors}[name] for name in said[word])
            for word, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        )

    def _check(self, said: Mapping[str, Any], sizes: Sequence[Size]) -> None:
        here = "cuda" if self.on_gpu else "cpu"
        if said["device"] != here:
            names = {"cuda": "a GPU", "cpu": "the CPU"}
            raise ParameterError(
                f"{self.about} was compiled for {names[said['device']]}, and the instance runs on {names[here]}"
            )
        for word, tensors in (("input", self.inputs), ("output", self.outputs)):
            found, declared = said[f"{word}s"], [tensor.name for tensor in tensors]
            if unknown := [name for name in declared if name not in found]:
                raise ParameterError(f"{self.about} has no {word} {unknown[0]!r}; its {word}s are {', '.join(found)}")
            if unbound := [name for name in found if name not in declared]:
                raise ParameterError(f"{self.about} has an {word} {unbound[0]!r} that is not declared")
        for tensor in (*self.inputs, *self.outputs):
            if tensor.triton not in _DTYPES:
                raise ParameterError(f"{tensor.name!r} is {tensor.triton}, which PyTorch has no kernels for")
        for tensor in self.inputs:
            self._check_ranges(tensor, said["ranges"][tensor.name], sizes)

    def _check_ranges(self, tensor: Fixed, entry: Mapping[str, Any], sizes: Sequence[Size]) -> None:
        about = f"input {tensor.name!r} of {self.about}"
        if entry["dtype"] != _DTYPES[tensor.triton]:
            raise ParameterError(f"{about} is {entry['dtype']}, declared is {tensor.triton}")
        for size in sizes:
            shape = tensor.shape(size.items, self.batched, size.length)
            low, high = entry["min"], entry["max"]
            if len(shape) != len(low) or any(
                not least <= length <= most for least, length, most in zip(low, shape, high, strict=True)
            ):
                raise ParameterError(
                    f"{about} may be {low} to {high}, and a batch of {size} is {list(shape)}: build it for this "
                    "size, or leave the bucket out"
                )

    def _library(self, threads: int) -> Any:
        try:
            torch = library("torch")
        except ImportError as error:
            wanted = str(self.said.get("torch", "")).partition("+")[0]
            raise ParameterError(
                f"{self.about} needs PyTorch {wanted}, which the server's Python does not have ({error})"
            ) from error
        if self.on_gpu:
            if not torch.cuda.is_available():
                raise ParameterError(f"{self.about} needs a GPU, and PyTorch {torch.__version__} here sees none")
            torch.cuda.set_device(self.index)
        torch.set_num_threads(threads)
        if problem := inductor_package.why_not(self.said, inductor_package.machine(torch, self.said["device"])):
            raise ParameterError(f"{self.about} {problem}: build it again")
        return torch

    def _loaded(self, path: Path, folder: Path) -> Callable[..., tuple[Any, ...]]:
        set_precision(self.torch, self.said["precision"])
        try:
            return inductor_package.loaded(self.torch, path, self.said, folder, gpu=self.index)
        except ImportError as error:
            raise ParameterError(
                f"{self.about} needs {_PACKAGES[self.said['kind']]} in the server's Python: {error}"
            ) from error
        except Exception as error:  # torch's errors share no base class
            if isinstance(error, self.torch.OutOfMemoryError):
                raise self.no_room(error) from error
            raise ParameterError(f"PyTorch cannot load {self.about}: {beginning(error)}") from error

    def no_room(self, error: Exception) -> OutOfMemoryError:
        """What to raise where torch finds no memory on the GPU."""
        free, total = self.device.memory()
        return OutOfMemoryError(
            f"there is no room for {self.about}: {free:,} of the GPU's {total:,} bytes are free "
            f"({beginning(error)}); a smaller largest batch, fewer slots or fewer instances on this GPU need less"
        )

    def session(self, stream: int) -> InductorSession:
        """Tensors over a lane's buffers, and on a GPU its recordings."""
        return InductorSession(self, stream)

    def close(self) -> None:
        """Frees the model, and what lay in files for it."""
        self.call = None  # type: ignore[assignment]
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        inductor_package.caches.leave()
        if self.on_gpu and hasattr(self, "torch"):
            self.torch.cuda.empty_cache()


class InductorSession:
    """One set of tensors over the buffers for every size that is warm; on a GPU one recording of each."""

    def __init__(self, owner: Inductor, stream: int) -> None:
        self._owner, self._torch = owner, owner.torch
        self._bound: dict[Size, tuple[list[Any], list[Any]]] = {}
        self._graphs: dict[Size, Any] = {}
        self._stream: Any = None
        self._pool: Any = None
        if owner.on_gpu:
            self._stream = self._torch.cuda.ExternalStream(stream, device=owner.index)
            # One for all sizes of a lane, of which one runs at a time.
            self._pool = self._torch.cuda.graph_pool_handle()

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:  # noqa: ARG002 — it has its own
        """Runs, checks the answer, and on a GPU records it. ParameterError, OutOfMemoryError, BatchError."""
        owner = self._owner
        given, answered = (
            [self._tensor(tensor, size, addresses[tensor.name]) for tensor in tensors]
            for tensors in (owner.given, owner.answered)
        )
        self._bound[size] = given, answered
        with self._told(), self._here():
            found = owner.call(*given)
            self._check(size, found)
            for _ in range(2):  # libraries search and allocate before they may be recorded
                self._compute(size)
            if owner.on_gpu:
                self._record(size)

    def _tensor(self, tensor: Fixed, size: Size, address: int) -> Any:
        torch, owner = self._torch, self._owner
        shape = tensor.shape(size.items, owner.batched, size.length)
        count, dtype = tensor.bytes_of(*size), getattr(torch, _DTYPES[tensor.triton])
        if owner.on_gpu:
            flat = torch.as_tensor(_Memory(address, count), device=f"cuda:{owner.index}")
            if flat.data_ptr() != address:
                raise ParameterError(f"PyTorch copied the buffer of {tensor.name!r} and did not take it as it is")
        else:
            flat = torch.frombuffer((ctypes.c_ubyte * count).from_address(address), dtype=torch.uint8)
        return flat.view(dtype).reshape(shape)

    def _check(self, size: Size, found: Sequence[Any]) -> None:
        owner = self._owner
        for tensor, made, buffer in zip(owner.answered, found, self._bound[size][1], strict=True):
            if made.dtype != buffer.dtype or made.shape != buffer.shape:
                raise ParameterError(
                    f"output {tensor.name!r} of {owner.about} is {made.dtype} {list(made.shape)} for a batch of "
                    f"{size}, and its buffer {tensor.triton} {list(buffer.shape)}"
                )

    def _compute(self, size: Size) -> None:
        given, answered = self._bound[size]
        for buffer, found in zip(answered, self._owner.call(*given), strict=True):
            buffer.copy_(found)

    def _record(self, size: Size) -> None:
        cuda = self._torch.cuda
        self._stream.synchronize()
        self._graphs[size] = graph = cuda.CUDAGraph()
        # cuBLAS is given memory for each stream that it runs in, which torch keeps for good. What a recording uses
        # lies in the recordings' own, and goes with them, if it is asked for while they are made and not known after.
        forget = self._torch._C._cuda_clearCublasWorkspaces
        forget()
        # Other threads may use the GPU meanwhile.
        with cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            self._compute(size)
        forget()
        graph.replay()
        self._stream.synchronize()
        cuda.empty_cache()  # what the runs before it took

    def run(self, size: Size, stream: int) -> None:  # noqa: ARG002 — the session has its stream
        """Runs the code, or its recording; BatchError with torch's own words when it refuses."""
        with self._told(), self._here():
            if self._owner.on_gpu:
                self._graphs[size].replay()
            else:
                self._compute(size)

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Without gradients, and in the lane's stream: both are a thread's own, and any thread may come."""
        with self._torch.no_grad():
            if self._stream is None:
                yield
                return
            with self._torch.cuda.stream(self._stream):
                yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ParameterError, BatchError):
            raise
        except Exception as error:  # torch's errors share no base class
            if isinstance(error, self._torch.OutOfMemoryError):
                raise self._owner.no_room(error) from error
            raise BatchError(f"PyTorch could not run {self._owner.about}: {beginning(error)}") from error

    def shape(self, name: str) -> tuple[int, ...]:
        """None has a shape of its own: what is declared is what is bound."""
        raise KeyError(name)

    def close(self) -> None:
        """Frees recordings and tensors; the buffers are the lane's."""
        self._graphs.clear()
        self._bound.clear()
        self._pool = None


class _Memory:
    """Device memory as bytes, in the words that torch takes without a copy (CUDA array interface, version 3)."""

    def __init__(self, address: int, size_bytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size_bytes,), "typestr": "|u1", "data": (address, False), "strides": None, "version": 3,
        }  # fmt: skip


def beginning(error: Exception) -> str:
    """The beginning of one of torch's errors, which go on for pages; the cause is told in the second line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, " ".join(lines[:2])[:300]]) if lines else type(error).__name__
