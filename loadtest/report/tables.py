"""The data behind a page: tables that become HTML, CSV and JSON, all with the same unrounded values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from loadtest.report import words

_SHOWN: dict[str, Callable[[Any], str]] = {
    "text": lambda value: words.NONE if value is None else words.text(value),
    "word": lambda value: words.NONE if value is None else words.text(value),
    "count": words.count,
    "ms": words.number,
    "us": words.number,
    "number": words.number,
    "setting": words.tick,
    "share": words.share,
    "percentile": words.percentile,
    "confidence": words.confidence,
    "yes": lambda value: "yes" if value else "no",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """A column: its name in CSV and JSON (with the unit), its heading for people, and the kind of its values.

    Kinds: text, word, count, ms, us, number, setting (as it is), share (of 1), percentile (of 1), confidence
    (of 1), yes.
    """

    name: str
    heading: str
    kind: str = "number"

    @property
    def is_word(self) -> bool:
        """Whether its values are single words, which nobody wants to see broken in two."""
        return self.kind == "word"

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right, and sorted by value."""
        return self.kind not in {"text", "word", "yes"}

    def shown(self, value: Any) -> str:
        """A value as people read it."""
        return words.NONE if value is None else _SHOWN[self.kind](value)


@dataclass(frozen=True)
class Table:
    """Rows of values in the order of the columns; None where there is none. `name` is a file name's stem."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def cells(self) -> Iterator[list[tuple[Column, Any, str]]]:
        """Row by row: (column, value, as shown)."""
        for row in self.rows:
            yield [(column, value, column.shown(value)) for column, value in zip(self.columns, row, strict=True)]

    def as_json(self) -> list[dict[str, Any]]:
        """One object a row."""
        return [dict(zip((column.name for column in self.columns), row, strict=True)) for row in self.rows]

    def as_csv(self) -> str:
        """With a line of names. Texts that a spreadsheet would compute get an apostrophe in front."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows([[_cell(value) for value in row] for row in self.rows])
        return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
