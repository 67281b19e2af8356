"""The text in which TensorRT keeps a calibration: a header, then `tensor: scale` with FP32 in hexadecimal digits."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from generator.engine.errors import Finding, StageError

STEPS = 127  # of a symmetric 8-bit range, to each side
_ALGORITHMS = {"entropy": "EntropyCalibration2", "minmax": "MinMaxCalibration"}


def to_tensorrt(
    ranges: Mapping[str, tuple[float, float]], version: str = "8601", algorithm: str = "entropy"
) -> bytes:
    """The cache that TensorRT's calibrator of that algorithm reads; `version` is 8601 for 8.6.1.

    A scale is the largest absolute value of the range divided by 127; of a tensor that is always 0 it is 1.
    """
    lines = [f"TRT-{version}-{_ALGORITHMS[algorithm]}"]
    for name in sorted(ranges):
        low, high = ranges[name]
        scale = max(abs(low), abs(high)) / STEPS
        lines.append(f"{name}: {struct.pack('>f', scale or 1.0).hex()}")
    return ("\n".join(lines) + "\n").encode()


def from_tensorrt(text: bytes) -> dict[str, tuple[float, float]]:
    """Tensor → the symmetric range of such a cache. Raises StageError (TK948) when it is none."""
    try:
        header, *lines = text.decode().splitlines()
        if not header.startswith("TRT-"):
            raise ValueError(f"it starts with {header[:40]!r}")
        ranges = {}
        for line in filter(None, lines):
            name, colon, digits = line.rpartition(": ")
            if not colon:
                raise ValueError(f"the line {line[:60]!r} has no scale")
            [scale] = struct.unpack(">f", bytes.fromhex(digits))
            if not 0 < scale < float("inf"):
                raise ValueError(f"the scale of `{name}` is {scale}")
            ranges[name] = (-scale * STEPS, scale * STEPS)
        return ranges
    except (ValueError, struct.error) as error:
        raise StageError(
            Finding("TK948", f"this is no calibration cache of TensorRT: {error}", "", "build.calibration")
        ) from error
