"""TensorRT's Python bindings: how they are found, and what every user of a plan asks of one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

# `tensorrt` is the full package; the bindings alone bring the second name.
MODULES = ("tensorrt", "tensorrt_bindings")
# What a plan begins with; of the one layout of headers that is known, the TensorRT that wrote the plan is at byte 24.
PLAN_TAG, _LAYOUT, _VERSION = b"ftrt", bytes(4), slice(24, 27)
_FIRST_COMPATIBLE = (8, 6)  # the first TensorRT that could make plans which later ones load


def load() -> Any:
    """The bindings. Raises ImportError when there are none, or when the loader misses a library of TensorRT."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ImportError("neither the package tensorrt nor tensorrt_bindings is installed")


def made_by(plan: bytes) -> tuple[int, ...]:
    """The TensorRT that wrote a plan, such as (8, 6, 1), as its header says; empty where that cannot be read."""
    if plan[:4] != PLAN_TAG or plan[4:8] != _LAYOUT or len(plan) < _VERSION.stop:
        return ()
    return tuple(plan[_VERSION])


def is_hopeless(made: tuple[int, ...], version: str) -> bool:
    """Whether no build option lets TensorRT `version` load a plan that TensorRT `made` wrote.

    A version-compatible plan runs with the TensorRT that wrote it and later ones. What TensorRT thinks of any other
    plan of an earlier one it says itself; the version in the header it does not read (seen with 8.6.1).
    """
    here = tuple(map(int, version.split(".")[:3]))
    return bool(made) and (made > here or (made < _FIRST_COMPATIBLE and made != here))


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
