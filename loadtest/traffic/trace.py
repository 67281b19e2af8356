"""Reads a trace: the times of arrivals that were recorded elsewhere, and perhaps what each was for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.problems import Place, Problem, ProblemsError
from loadtest.traffic.problem import refused

if TYPE_CHECKING:
    import numpy as np

    from loadtest.traffic.schedule import UInt8s, UInt32s

    Floats = np.ndarray[Any, np.dtype[np.float64]]

UNITS_S = {"time": 1.0, "time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6, "time_ns": 1e-9}
PIPELINE, PAYLOAD = "pipeline", "payload"
WHAT = (
    "a trace has one time a line, in seconds from the start of the run, or columns under a header: "
    f"{', '.join(UNITS_S)}, and if wanted {PIPELINE} and {PAYLOAD}"
)
_MOST_SHOWN = 10
_MOST_LINE_BYTES = 64  # on average: a file that is far too large is not read to find that out


@dataclass(frozen=True)
class Trace:
    """Arrivals of a file, [n] each: seconds from the start of the run, ascending; indices, if the file has them."""

    times_s: Floats
    pipeline: UInt8s | None
    payload: UInt32s | None
    sha256: str


def read_trace(file: Path, counts: Mapping[str, int], most: int) -> Trace:
    """The arrivals of `file`; `counts` is pipeline -> how many payloads it has, and `most` what a run can hold.

    Raises ProblemsError: TK856 for the file, TK852 for too many lines, TK857 for lines, the first ten of them.
    """
    text, sha256 = _text(file, most)
    lines = text.split("\n")
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    header = _header(file, lines[numbers[0] - 1]) if numbers else None
    numbers = numbers[1:] if header else numbers
    if not numbers:
        raise refused("TK856", str(file), "the trace is empty", WHAT)
    if len(numbers) > most:
        raise refused("TK852", str(file), f"the trace has {len(numbers):,} times; a run can hold {most:,}", "cut it")
    names = header or ["time_s"]
    if PAYLOAD in names and PIPELINE not in names and len(counts) > 1:
        message = f"the trace has a column `{PAYLOAD}` and none `{PIPELINE}`, and the run has several pipelines"
        raise refused("TK856", str(file), message, f"add `{PIPELINE}`, or leave `{PAYLOAD}` out")
    rows = _Rows(file, names, numbers, [lines[number - 1] for number in numbers])
    times_s = rows.times_s()
    pipeline = rows.pipelines(list(counts)) if PIPELINE in names else None
    payload = rows.payloads(pipeline, list(counts.values())) if PAYLOAD in names else None
    rows.complain()
    return Trace(times_s, pipeline, payload, sha256)


def _text(file: Path, most: int) -> tuple[str, str]:
    """The text of the file and the SHA-256 of its bytes."""
    try:
        with file.open("rb") as opened:
            data = opened.read(most * _MOST_LINE_BYTES + 1)
    except OSError as error:
        raise refused("TK856", str(file), f"the trace cannot be read: {error.strerror}") from error
    if len(data) > most * _MOST_LINE_BYTES:
        raise refused("TK852", str(file), f"the trace has more times than a run can hold, {most:,}", "cut it")
    try:
        return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError as error:
        raise refused("TK856", str(file), "the trace is not a text in UTF-8", WHAT) from error


def _header(file: Path, line: str) -> list[str] | None:
    """The names of the columns; None when the first line is a time already."""
    names = [name.strip(' \t\r"').lower() for name in line.split(",")]
    if len(names) == 1 and _number(names[0]) is not None:
        return None
    first = _number(names[0])
    if first is not None and not math.isnan(first):
        raise refused("TK856", str(file), f"the trace has {len(names)} columns and no header", WHAT)
    unknown = [name for name in names if name not in {*UNITS_S, PIPELINE, PAYLOAD}]
    if unknown:
        raise refused("TK856", str(file), f"the trace begins with `{unknown[0]}`, neither a time nor a column", WHAT)
    if len(set(names)) < len(names) or sum(name in UNITS_S for name in names) != 1:
        raise refused(
            "TK856", str(file), f"the trace has the columns {', '.join(names)}", f"one of them is the time: {WHAT}"
        )
    return names


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


class _Rows:
    """The lines of a trace by column, and what is wrong with them."""

    def __init__(self, file: Path, names: Sequence[str], numbers: Sequence[int], lines: Sequence[str]) -> None:
        self._file, self._numbers = file, numbers
        self._problems: list[tuple[int, int, str]] = []  # of a line, the place of a column in it
        self._lines, self._places = lines, {name: place for place, name in enumerate(names)}
        if len(names) == 1:
            self._columns = {names[0]: [line.strip(' \t\r"') for line in lines]}
            return
        cells = [[cell.strip(' \t\r"') for cell in line.split(",")] for line in lines]
        for place, row in enumerate(cells):
            if len(row) != len(names):
                self._problems.append((place, 0, f"{len(row)} columns; the header has {len(names)}"))
        self.complain()
        self._columns = {name: [row[place] for row in cells] for place, name in enumerate(names)}

    def times_s(self) -> Floats:
        """In seconds, [n]; notes what is no number, not finite, negative, or before the line above."""
        import numpy as np

        [name] = [name for name in self._columns if name in UNITS_S]
        cells = self._columns[name]
        try:
            times = np.array(cells, np.float64)
        except ValueError:
            read = [_number(cell) for cell in cells]
            times = np.array([math.nan if number is None else number for number in read])
        for place in np.flatnonzero(~np.isfinite(times)):
            what = "not a number" if _number(cells[place]) is None else "not finite"
            self._note(name, int(place), f"the time `{cells[place]}` is {what}")
        for place in np.flatnonzero(times < 0):
            self._note(name, int(place), f"the time `{cells[place]}` is negative")
        for place in np.flatnonzero(times[1:] < times[:-1]) + 1:
            message = f"the time {cells[place]} is before {cells[place - 1]}, the one above it; times ascend"
            self._note(name, int(place), message)
        return times * UNITS_S[name]

    def pipelines(self, known: Sequence[str]) -> UInt8s:
        """Indices into `known`, [n]."""
        import numpy as np

        index = {name: place for place, name in enumerate(known)}
        cells = self._columns[PIPELINE]
        for place, cell in enumerate(cells):
            if cell not in index:
                has = ", ".join(f"`{name}`" for name in known)
                self._note(PIPELINE, place, f"the pipeline `{cell}` is not in the mix; it has {has}")
        return np.array([index.get(cell, 0) for cell in cells], np.uint8)

    def payloads(self, pipeline: UInt8s | None, counts: Sequence[int]) -> UInt32s:
        """As given, [n]; notes those that the pipeline does not have."""
        import numpy as np

        cells = self._columns[PAYLOAD]
        found = np.zeros(len(cells), np.uint32)
        for place, cell in enumerate(cells):
            count = counts[0 if pipeline is None else int(pipeline[place])]
            if cell.isdecimal() and int(cell) < count:
                found[place] = int(cell)
            else:
                self._note(PAYLOAD, place, f"the payload `{cell}` is none; there are those from 0 to {count - 1}")
        return found

    def _note(self, column: str, place: int, message: str) -> None:
        self._problems.append((place, self._places[column], message))

    def _where(self, place: int, column: int) -> Place:
        """Where the cell at that place of a line begins; lines and columns count from 1."""
        cells = self._lines[place].split(",")
        before = sum(len(cell) + 1 for cell in cells[:column])
        blank = len(cells[column]) - len(cells[column].lstrip(' \t\r"'))
        return Place(str(self._file), self._numbers[place], before + blank + 1)

    def complain(self) -> None:
        """Raises ProblemsError when something is wrong: the first lines, and how many more there are."""
        problems = sorted(self._problems)
        if not problems:
            return
        shown = [Problem("TK857", self._where(place, column), "", message)
                 for place, column, message in problems[:_MOST_SHOWN]]  # fmt: skip
        if more := len(problems) - len(shown):
            shown.append(
                Problem("TK857", Place(str(self._file)), "", f"as many as {more} more lines are wrong", WHAT)
            )
        raise ProblemsError(shown)
