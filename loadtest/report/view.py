"""What a page and a summary show of one run or one sweep, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.figure import Figure
from loadtest.report.tables import Table
from loadtest.results.run import Made

VerdictWord = Literal["pass", "fail", "undecided", "invalid"]


@dataclass(frozen=True)
class Key:
    """A figure to read at once: its name, the value as shown and as it is, and what stands below it."""

    name: str
    shown: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Titled:
    """A table with its heading; `open` when it is not behind a fold."""

    title: str
    table: Table
    open: bool = True


@dataclass(frozen=True)
class Facts:
    """Pairs under a heading."""

    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class View:
    """`strip` is the verdict as a small drawing (wide, phone), `blocks` are named texts to be copied.

    `data` is the record without what may not be told; with the tables it is all that the page shows.
    """

    name: str
    anchor: str
    kind: Literal["run", "sweep"]
    title: str
    verdict: VerdictWord
    headline: str
    sentence: str
    how_sure: str
    keys: tuple[Key, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    figures: tuple[Figure, ...]
    tables: tuple[Titled, ...]
    facts: tuple[Facts, ...]
    blocks: tuple[tuple[str, str], ...]
    data: dict[str, Any]
    strip: tuple[Markup, Markup] | None = None
    folded: tuple[tuple[str, str], ...] = field(default=())

    def all_tables(self) -> list[Table]:
        """Of the charts, and those that stand alone."""
        return [*(figure.table for figure in self.figures), *(titled.table for titled in self.tables)]


def made_facts(made: Made) -> list[Facts]:
    """What was measured and on which machine."""
    pairs = (
        ("spec", made.spec),
        ("its SHA-256", made.spec_sha256),
        ("target", made.target),
        ("started", made.started),
    )
    found = [Facts("Measured", tuple((name, words.text(value)) for name, value in pairs))]
    if made.server:
        found.append(Facts("Server", tuple(words.flat(made.server).items())))
    if made.machine:
        found.append(Facts("Machine", tuple(words.flat(made.machine).items())))
    return found


def configurations(effective: dict[str, Any], most_letters: int) -> list[tuple[str, str]]:
    """Each model's configuration as the server reports it, as JSON; of long ones the end is left out."""
    import json

    each = most_letters // max(len(effective), 1)

    found = []
    for model, config in effective.items():
        text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
        if len(text) > each:
            text = f"{text[:each]}\n… (the whole of it is in the JSON record)"
        found.append((words.text(model), text))
    return found


def anchor(kind: str, place: int) -> str:
    """Unique within a page, whatever folders are called."""
    return f"{kind}-{place + 1}"


def in_pairs(figures: list[Figure]) -> list[Figure]:
    """Charts of half the width stand in pairs; one that would stand alone is drawn over the whole."""
    halves = [figure for figure in figures if not figure.full]
    if len(halves) % 2:
        return [replace(figure, full=True) if figure is halves[-1] else figure for figure in figures]
    return figures


def sentence_list(texts: Sequence[str]) -> tuple[str, ...]:
    """Sentences as they can be shown, each once, with a large letter in front."""
    return tuple(dict.fromkeys(words.text(text[:1].upper() + text[1:]) for text in texts))
