"""INT8 by calibration, for the versions that know it (8.6): a cache made of ranges, or batches that are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tritonkit_runtime.device.cuda import Cuda

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def cache_of(version: str, ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """The calibration cache that TensorRT `version` (as in 8.6.1) reads: of each tensor the step of its int8."""
    from generator.engine.calibrate.tensorrt_cache import to_tensorrt

    parts = [int(part) for part in version.split(".")[:3]]
    return to_tensorrt(ranges, str(parts[0] * 1000 + parts[1] * 100 + parts[2]))


def reading(trt: Any, cache: bytes) -> Any:
    """A calibrator that only reads `cache`."""

    class Reading(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Sequence[str]) -> None:  # noqa: ARG002 — TensorRT's signature; None: no more
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:  # noqa: ARG002 — TensorRT's signature
            return None

    return Reading()


def feeding(trt: Any, batches: Sequence[Mapping[str, Array]]) -> Any:
    """A calibrator that feeds `batches`, all of one shape; `.cache` has the cache that TensorRT made of them."""

    class Feeding(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.cache = b""
            self._cuda = Cuda()
            self._stream = self._cuda.stream()
            self._left = list(batches)
            self._buffers = {name: self._cuda.allocate(array.nbytes) for name, array in batches[0].items()}

        def get_batch_size(self) -> int:
            return len(next(iter(batches[0].values())))

        def get_batch(self, names: Sequence[str]) -> list[int] | None:
            if not self._left:
                return None
            batch = self._left.pop(0)
            for name in names:
                self._cuda.to_device(self._buffers[name], batch[name], self._stream)
            self._cuda.wait(self._stream)
            return [self._buffers[name] for name in names]

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: Any) -> None:
            self.cache = bytes(cache)

    return Feeding()
