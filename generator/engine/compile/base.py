"""What every compiler takes and gives: one small interface, whichever engine and wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ShapeRange:
    """The whole shape of one input, batch included: at least, usually, and at most."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


# An optimisation profile: every input of the graph by name.
Profile = Mapping[str, ShapeRange]


@dataclass(frozen=True)
class Settings:
    """Everything beside the graph that decides what is compiled.

    `precision` is what the engine may compute in; where it lives in the graph (casts, Q/DQ) that is done already.
    `ranges` are tensor → (least, greatest) of a calibration, for engines that take them beside the graph.
    """

    precision: str
    profiles: Sequence[Profile]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: bytes | None = None
    version_compatible: bool = False
    hardware: str = "none"
    refit: bool = False
    plugins: Sequence[str] = ()
    channels_last: bool | None = None


@dataclass(frozen=True)
class Compiled:
    """`data` is the file that is served, called `file`. `facts` go into the manifest: versions, GPU, what was chosen.

    `timing_cache` is what should be kept for the next build.
    """

    file: str
    data: bytes
    facts: Mapping[str, Any]
    timing_cache: bytes | None = None


class Compiler(Protocol):
    """Makes an engine of an ONNX graph. `name` is the engine's word in a spec."""

    name: str

    def missing(self) -> str:
        """Why it cannot compile on this machine, in one sentence; empty if it can."""

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        """The engine. Raises StageError."""
