"""The share of time in which the GPU ran any kernel, as the driver counts it."""

from __future__ import annotations

import ctypes
import os
import statistics
import threading
from types import TracebackType
from typing import Any

# The driver's own count is of the last sixth of a second or so: what it says at first is of the time before.
SETTLED_S = 0.3
PERIOD_S = 0.05


class _Rates(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Busy:
    """Asks again and again while its block runs; `share` is the mean then, None without a GPU or a long enough block.

    A GPU counts as busy while one kernel runs on it, be it ever so small: the share is what is left idle, not what is
    made of it.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self._seen: list[int] = []
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._nvml: Any = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            self._nvml = None

    def __enter__(self) -> Busy:
        handle = ctypes.c_void_p()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        number = int(visible) if visible.isdigit() else 0
        if (
            self._nvml is not None
            and not self._nvml.nvmlInit_v2()
            and not self._nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle))
        ):
            self._thread = threading.Thread(target=self._look, args=(handle,), daemon=True)
            self._thread.start()
        return self

    def _look(self, handle: ctypes.c_void_p) -> None:
        rates = _Rates()
        if self._end.wait(SETTLED_S):
            return
        while not self._end.wait(PERIOD_S):
            if not self._nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)):
                self._seen.append(rates.gpu)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._end.set()
            self._thread.join()
        self.share = statistics.mean(self._seen) / 100 if self._seen else None
