"""TensorRT's Python bindings: how they are found, and what every user of a plan asks of one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

# `tensorrt` is the full package; the bindings alone bring the second name.
MODULES = ("tensorrt", "tensorrt_bindings")


def load() -> Any:
    """The bindings. Raises ImportError when there are none, or when the loader misses a library of TensorRT."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ImportError("neither the package tensorrt nor tensorrt_bindings is installed")


def nearest_profile(engine: Any, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Of the profiles that take inputs of these shapes, the one whose usual shapes are nearest; None if none does."""
    near: list[tuple[int, int]] = []
    for index in range(int(engine.num_optimization_profiles)):
        distances = [_distance(engine, name, shape, index) for name, shape in shapes.items()]
        if None not in distances:
            near.append((sum(d for d in distances if d is not None), index))
    return min(near)[1] if near else None


def _distance(engine: Any, name: str, shape: tuple[int, ...], profile: int) -> int | None:
    fixed = tuple(engine.get_tensor_shape(name))
    if -1 not in fixed:
        return 0 if tuple(shape) == fixed else None
    low, usual, high = (tuple(dims) for dims in engine.get_tensor_profile_shape(name, profile))
    if len(shape) != len(usual) or any(not a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
        return None
    return sum(abs(int(a) - int(b)) for a, b in zip(shape, usual, strict=True))
