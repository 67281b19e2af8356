"""The little of CUDA's driver library that an engine needs, through ctypes: it is wherever a GPU's driver is."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Sequence
from ctypes import (
    POINTER,
    addressof,
    byref,
    c_char_p,
    c_float,
    c_int,
    c_size_t,
    c_ubyte,
    c_uint,
    c_ulonglong,
    c_void_p,
)
from typing import TYPE_CHECKING, Any

from tritonkit_runtime.device.errors import CudaError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MAJOR, _MINOR = 75, 76  # attributes of a device: its compute capability
_NON_BLOCKING, _RELAXED, _ASLEEP, _UNTIMED, _EXTERNAL = 1, 2, 1, 2, 1
_NOT_READY = 600

# What each function takes: without it ctypes would cut a pointer to 32 bits.
_P, _OUT = c_void_p, POINTER(c_void_p)
_TAKES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDevicePrimaryCtxRetain": (_OUT, c_int),
    "cuCtxSetCurrent": (_P,),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (_OUT, c_size_t),
    "cuMemFree_v2": (_P,),
    "cuMemHostAlloc": (_OUT, c_size_t, c_uint),
    "cuMemFreeHost": (_P,),
    "cuMemHostRegister_v2": (_P, c_size_t, c_uint),
    "cuMemHostUnregister": (_P,),
    "cuMemcpyHtoDAsync_v2": (_P, _P, c_size_t, _P),
    "cuMemcpyDtoHAsync_v2": (_P, _P, c_size_t, _P),
    "cuMemcpyDtoDAsync_v2": (_P, _P, c_size_t, _P),
    "cuMemsetD8Async": (_P, c_ubyte, c_size_t, _P),
    "cuStreamCreate": (_OUT, c_uint),
    "cuStreamDestroy_v2": (_P,),
    "cuStreamSynchronize": (_P,),
    "cuStreamWaitEvent": (_P, _P, c_uint),
    "cuEventCreate": (_OUT, c_uint),
    "cuEventDestroy_v2": (_P,),
    "cuEventRecord": (_P, _P),
    "cuEventRecordWithFlags": (_P, _P, c_uint),
    "cuEventQuery": (_P,),
    "cuEventSynchronize": (_P,),
    "cuEventElapsedTime": (POINTER(c_float), _P, _P),
    "cuStreamBeginCapture_v2": (_P, c_int),
    "cuStreamEndCapture": (_P, _OUT),
    "cuGraphInstantiateWithFlags": (_OUT, _P, c_ulonglong),
    "cuGraphDestroy": (_P,),
    "cuGraphLaunch": (_P, _P),
    "cuGraphExecDestroy": (_P,),
    "cuModuleLoadData": (_OUT, c_char_p),
    "cuModuleUnload": (_P,),
    "cuModuleGetFunction": (_OUT, _P, c_char_p),
    "cuLaunchKernel": (_P, *[c_uint] * 7, _P, _OUT, _P),
}


class _Functions(dict[str, Any]):
    """The driver's functions by name, found when they are first asked for."""

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self._library = library

    def __missing__(self, name: str) -> Any:
        function = getattr(self._library, name)
        function.argtypes, function.restype = _TAKES[name], c_int
        self[name] = function  # not before: another thread would call it without
        return function


class Cuda:
    """A GPU's primary context, as TensorRT and ONNX Runtime use it, made current in this thread; a Device.

    `index` counts the GPUs that this process sees. Raises CudaError where there is no driver or no such GPU.
    """

    unified = False

    def __init__(self, index: int = 0) -> None:
        try:
            self._lib = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError("no GPU driver is here (libcuda.so.1 cannot be loaded)") from error
        self._functions: dict[str, Any] = _Functions(self._lib)
        self._threads = threading.local()
        self._call("cuInit", 0)
        self._device = c_int()
        self._call("cuDeviceGet", byref(self._device), index)
        self._context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self.use()

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise self._failed(name, status)

    def _failed(self, name: str, status: int) -> CudaError:
        text = c_char_p()
        self._lib.cuGetErrorString(c_int(status), byref(text))
        return CudaError(f"{name} failed with {status}: {(text.value or b'unknown').decode()}", status)

    def use(self) -> None:
        """Makes the context current in this thread, once."""
        if not getattr(self._threads, "current", False):
            self._call("cuCtxSetCurrent", self._context)
            self._threads.current = True

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

    def memory(self) -> tuple[int, int]:
        """Bytes of the GPU that are free, whoever uses the rest, and all of them."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def _made(self, name: str, *arguments: Any) -> int:
        pointer = c_void_p()
        self._call(name, byref(pointer), *arguments)
        return int(pointer.value or 0)

    def allocate(self, size_bytes: int) -> int:
        """Device memory; at least one byte, so that an empty tensor has an address too."""
        return self._made("cuMemAlloc_v2", max(1, size_bytes))

    def free(self, pointer: int) -> None:
        """Gives device memory back."""
        self._call("cuMemFree_v2", pointer)

    def pinned(self, size_bytes: int) -> int:
        """Page-locked host memory; at least one byte."""
        return self._made("cuMemHostAlloc", max(1, size_bytes), 0)

    def free_pinned(self, pointer: int) -> None:
        """Gives page-locked memory back."""
        self._call("cuMemFreeHost", pointer)

    def register(self, host: int, size_bytes: int) -> None:
        """Locks pages of ordinary memory; they must be mapped until `unregister`."""
        self._call("cuMemHostRegister_v2", host, size_bytes, 0)

    def unregister(self, host: int) -> None:
        """Lets the pages go; nothing may be copying from or to them."""
        self._call("cuMemHostUnregister", host)

    def to_device(self, pointer: int, array: Array, stream: int) -> None:
        """Copies a contiguous array into device memory; it must live until the stream has got there."""
        self.copy_in(pointer, array.ctypes.data, array.nbytes, stream)

    def to_host(self, array: Array, pointer: int, stream: int) -> None:
        """Fills a contiguous array from device memory."""
        self.copy_out(array.ctypes.data, pointer, array.nbytes, stream)

    def copy_in(self, pointer: int, host: int, size_bytes: int, stream: int) -> None:
        """From host to device memory; the host's must stay as it is until the stream has got there."""
        if size_bytes:
            self._call("cuMemcpyHtoDAsync_v2", pointer, host, size_bytes, stream)

    def copy_out(self, host: int, pointer: int, size_bytes: int, stream: int) -> None:
        """From device to host memory."""
        if size_bytes:
            self._call("cuMemcpyDtoHAsync_v2", host, pointer, size_bytes, stream)

    def copy_within(self, pointer: int, source: int, size_bytes: int, stream: int) -> None:
        """From device memory to other device memory, of this process or mapped into it."""
        if size_bytes:
            self._call("cuMemcpyDtoDAsync_v2", pointer, source, size_bytes, stream)

    def zero(self, pointer: int, size_bytes: int, stream: int) -> None:
        """Makes device memory all zeros."""
        if size_bytes:
            self._call("cuMemsetD8Async", pointer, 0, size_bytes, stream)

    def stream(self) -> int:
        """A stream that does not wait for the default one."""
        return self._made("cuStreamCreate", _NON_BLOCKING)

    def free_stream(self, stream: int) -> None:
        """Ends a stream."""
        self._call("cuStreamDestroy_v2", stream)

    def wait(self, stream: int) -> None:
        """Returns when everything in the stream is done."""
        self._call("cuStreamSynchronize", stream)

    def event(self, timed: bool = True) -> int:
        """A point in time of a stream, or only a point to wait for."""
        return self._made("cuEventCreate", _ASLEEP if timed else _ASLEEP | _UNTIMED)

    def free_event(self, event: int) -> None:
        """Gives an event back."""
        self._call("cuEventDestroy_v2", event)

    def record(self, event: int, stream: int, outside: bool = False) -> None:
        """The event is when everything before it in the stream is done; `outside` of the recording that is made."""
        if outside:
            self._call("cuEventRecordWithFlags", event, stream, _EXTERNAL)
        elif status := self._functions["cuEventRecord"](event, stream):  # of every batch, as few others are
            raise self._failed("cuEventRecord", status)

    def wait_in(self, stream: int, event: int) -> None:
        """What is put into the stream from now on waits for the event."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def wait_for(self, event: int, awake_us: float = 0.0) -> None:
        """Returns when the event has passed."""
        if awake_us:
            ask, end_ns = self._functions["cuEventQuery"], time.perf_counter_ns() + awake_us * 1000
            while (status := ask(event)) == _NOT_READY and time.perf_counter_ns() < end_ns:
                pass
            if status == 0:
                return
        self._call("cuEventSynchronize", event)  # tells an error too

    def between_us(self, start: int, end: int) -> float:
        """Microseconds between two events that have passed."""
        elapsed = c_float()
        self._call("cuEventElapsedTime", byref(elapsed), start, end)
        return elapsed.value * 1000

    def begin_capture(self, stream: int) -> None:
        """What is put into the stream from now on is recorded and not run."""
        self._call("cuStreamBeginCapture_v2", stream, _RELAXED)

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched."""
        graph = self._ended(stream)
        try:
            return self._made("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def _ended(self, stream: int) -> int:
        graph = c_void_p()
        self._call("cuStreamEndCapture", stream, byref(graph))
        return int(graph.value or 0)

    def launch(self, graph: int, stream: int) -> None:
        """Runs what was recorded."""
        if status := self._functions["cuGraphLaunch"](graph, stream):
            raise self._failed("cuGraphLaunch", status)

    def free_graph(self, graph: int) -> None:
        """Gives a recording back."""
        self._call("cuGraphExecDestroy", graph)

    def module(self, image: bytes) -> int:
        """Machine code or PTX, loaded."""
        return self._made("cuModuleLoadData", image)

    def free_module(self, module: int) -> None:
        """Unloads it."""
        self._call("cuModuleUnload", module)

    def function(self, module: int, name: str) -> int:
        """A kernel of a loaded module."""
        return self._made("cuModuleGetFunction", module, name.encode())

    def run(
        self, function: int, grid: tuple[int, int, int], block: tuple[int, int, int], pointers: Sequence[int],
        stream: int,
    ) -> None:  # fmt: skip
        """Puts a kernel whose arguments are all pointers into the stream; the driver copies the arguments."""
        values = [c_void_p(pointer) for pointer in pointers]
        places = (c_void_p * len(values))(*(addressof(value) for value in values))
        self._call("cuLaunchKernel", function, *grid, *block, 0, stream, places, None)


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
