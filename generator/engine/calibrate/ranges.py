"""What a calibration found: the range of every float tensor, and what it was found with; to and from text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from generator.engine.errors import Finding, StageError

FORMAT = 1
FEW_SAMPLES = 100
MUCH_CLIPPED = 0.001  # of a tensor's values
MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Ranges(Mapping[str, tuple[float, float]]):
    """Tensor → (least, greatest) that it should be able to hold, and the facts of the calibration.

    `least` <= 0 <= `greatest` need not hold: a tensor that is never negative has a `least` of 0 or more. `facts` are
    `method`, `percentile` or entropy's `bound` and `symmetric` (of that method only), `samples`, `data_sha256`, and
    `clipped`: tensor → the share of its values beyond its range, where that is more than MUCH_CLIPPED.
    `not_finite` are tensors that held NaN or infinity, which no range can describe; `empty` never held a value.
    """

    values_by_name: Mapping[str, tuple[float, float]]
    facts: Mapping[str, Any]
    not_finite: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ordered = {name: self.values_by_name[name] for name in sorted(self.values_by_name)}
        object.__setattr__(self, "values_by_name", MappingProxyType(ordered))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def __getitem__(self, name: str) -> tuple[float, float]:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What does not stop a build, and should be said."""
        return (*self._few(), *self._clipped())

    def _clipped(self) -> tuple[Finding, ...]:
        clipped: Mapping[str, float] = self.facts.get("clipped", {})
        if not clipped:
            return ()
        worst = sorted(clipped, key=lambda name: (-clipped[name], name))[:MOST_NAMED]
        named = ", ".join(f"`{name}` {clipped[name]:.2%}" for name in worst) + (
            ", …" if len(clipped) > len(worst) else ""
        )
        others = "minmax` or `method: percentile" if self.facts.get("method") == "entropy" else "minmax"
        return (
            Finding(
                "TK945",
                f"the ranges of {len(clipped)} tensors cut off more than {MUCH_CLIPPED:.1%} of their values: {named}",
                f"if accuracy is lost, try `method: {others}`",
                "build.calibration",
            ),
        )

    def _few(self) -> tuple[Finding, ...]:
        samples = int(self.facts.get("samples", FEW_SAMPLES))
        if samples >= FEW_SAMPLES:
            return ()
        return (
            Finding(
                "TK945",
                f"the ranges were found with {samples} samples; {FEW_SAMPLES} to 1000 are usual",
                "give `build.calibration` more data",
                "build.calibration",
            ),
        )

    def text(self) -> str:
        """JSON that `from_text` reads back to the very same floats."""
        document = {
            "format": FORMAT,
            "facts": dict(self.facts),
            "not_finite": list(self.not_finite),
            "empty": list(self.empty),
            "ranges": {name: list(ends) for name, ends in self.values_by_name.items()},
        }
        return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def from_text(text: str) -> Ranges:
    """The Ranges that `Ranges.text` wrote. Raises StageError (TK948) when it is something else."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in document["ranges"].items()}
        bad = [name for name, (low, high) in ranges.items() if not -math.inf < low <= high < math.inf]
        if bad:
            raise ValueError(f"`{bad[0]}` has the range {ranges[bad[0]]}")
        facts = {str(name): value for name, value in document["facts"].items()}
        return Ranges(ranges, facts, tuple(document["not_finite"]), tuple(document["empty"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StageError(
            Finding(
                "TK948", f"these are not the ranges of a calibration: {error}", "calibrate again", "build.calibration"
            )
        ) from error
