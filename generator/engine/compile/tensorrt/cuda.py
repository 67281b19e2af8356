"""The little of CUDA's driver library that running a plan needs, through ctypes: it is wherever a GPU's driver is."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MAJOR, _MINOR = 75, 76  # attributes of a device: its compute capability
_NON_BLOCKING, _RELAXED = 1, 2


class CudaError(RuntimeError):
    """A call of the driver failed; the message names it."""


class Cuda:
    """The first GPU's primary context, as TensorRT uses it, made current in this thread.

    Raises CudaError where there is no driver or no GPU.
    """

    def __init__(self) -> None:
        try:
            self._lib = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError("no GPU driver is here (libcuda.so.1 cannot be loaded)") from error
        self._call("cuInit", 0)
        self._device = c_int()
        self._call("cuDeviceGet", byref(self._device), 0)
        context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._lib, name)(*arguments)
        if status:
            text = c_char_p()
            self._lib.cuGetErrorString(status, byref(text))
            raise CudaError(f"{name} failed with {status}: {(text.value or b'unknown').decode()}")

    def facts(self) -> dict[str, str]:
        """The GPU's name, compute capability, and the CUDA version that the driver brings."""
        name = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", name, 128, self._device)
        numbers = [c_int() for _ in range(3)]
        self._call("cuDeviceGetAttribute", byref(numbers[0]), _MAJOR, self._device)
        self._call("cuDeviceGetAttribute", byref(numbers[1]), _MINOR, self._device)
        self._call("cuDriverGetVersion", byref(numbers[2]))
        cuda = numbers[2].value
        return {
            "gpu": name.value.decode(),
            "compute_capability": f"{numbers[0].value}.{numbers[1].value}",
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
            "driver": driver_version(),
        }

    def allocate(self, size_bytes: int) -> int:
        """Device memory; at least one byte, so that an empty tensor has an address too."""
        pointer = c_void_p()
        self._call("cuMemAlloc_v2", byref(pointer), c_size_t(max(1, size_bytes)))
        return int(pointer.value or 0)

    def free(self, pointer: int) -> None:
        """Gives device memory back."""
        self._call("cuMemFree_v2", c_void_p(pointer))

    def to_device(self, pointer: int, array: Array, stream: int) -> None:
        """Copies a contiguous array into device memory; it must live until the stream has got there."""
        if array.nbytes:
            size = c_size_t(array.nbytes)
            self._call("cuMemcpyHtoDAsync_v2", c_void_p(pointer), c_void_p(array.ctypes.data), size, c_void_p(stream))

    def to_host(self, array: Array, pointer: int, stream: int) -> None:
        """Fills a contiguous array from device memory."""
        if array.nbytes:
            size = c_size_t(array.nbytes)
            self._call("cuMemcpyDtoHAsync_v2", c_void_p(array.ctypes.data), c_void_p(pointer), size, c_void_p(stream))

    def stream(self) -> int:
        """A stream that does not wait for the default one."""
        stream = c_void_p()
        self._call("cuStreamCreate", byref(stream), c_uint(_NON_BLOCKING))
        return int(stream.value or 0)

    def free_stream(self, stream: int) -> None:
        """Ends a stream."""
        self._call("cuStreamDestroy_v2", c_void_p(stream))

    def wait(self, stream: int) -> None:
        """Returns when everything in the stream is done."""
        self._call("cuStreamSynchronize", c_void_p(stream))

    def event(self) -> int:
        """A point in time of a stream."""
        event = c_void_p()
        self._call("cuEventCreate", byref(event), c_uint(0))
        return int(event.value or 0)

    def free_event(self, event: int) -> None:
        """Gives an event back."""
        self._call("cuEventDestroy_v2", c_void_p(event))

    def record(self, event: int, stream: int) -> None:
        """The event is when everything before it in the stream is done."""
        self._call("cuEventRecord", c_void_p(event), c_void_p(stream))

    def between_us(self, start: int, end: int) -> float:
        """Microseconds between two events that have passed."""
        elapsed = c_float()
        self._call("cuEventElapsedTime", byref(elapsed), c_void_p(start), c_void_p(end))
        return elapsed.value * 1000

    def begin_capture(self, stream: int) -> None:
        """What is put into the stream from now on is recorded and not run."""
        self._call("cuStreamBeginCapture_v2", c_void_p(stream), c_int(_RELAXED))

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched."""
        graph, ready = c_void_p(), c_void_p()
        self._call("cuStreamEndCapture", c_void_p(stream), byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(ready), graph, ctypes.c_ulonglong(0))
        self._call("cuGraphDestroy", graph)
        return int(ready.value or 0)

    def launch(self, graph: int, stream: int) -> None:
        """Runs what was recorded."""
        self._call("cuGraphLaunch", c_void_p(graph), c_void_p(stream))

    def free_graph(self, graph: int) -> None:
        """Gives a recording back."""
        self._call("cuGraphExecDestroy", c_void_p(graph))


def driver_version() -> str:
    """The GPU driver's own version, as in `580.95.05`; empty where it cannot be asked."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    text = ctypes.create_string_buffer(96)
    if library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(text, 96):
        return ""
    return text.value.decode()
