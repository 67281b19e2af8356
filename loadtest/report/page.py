"""The report: one HTML file that needs nothing else, neither a network nor JavaScript."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from generator.problems import Place, Problem, ProblemsError
from generator.whole_file import write_whole
from loadtest.report import words
from loadtest.report.charts.by_percentile import side_by_side
from loadtest.report.digest import Curve, Digest, DisorderError
from loadtest.report.digest import digest as make_digest
from loadtest.report.figure import PHONE, Figure
from loadtest.report.opening import Opened, OpenedRun, open_all
from loadtest.report.overview import overview
from loadtest.report.run_view import run_view
from loadtest.report.sweep_view import sweep_view
from loadtest.report.tables import Table
from loadtest.report.view import View
from loadtest.results.run import SAMPLES_FILE

TEMPLATES = Path(__file__).parent / "templates"
MOST = 12  # runs and sweeps on a page, which stays below 2 MB
_FULLY, _BINS, _STEPS, _CONFIG_LETTERS = 2, 240, 40, 60_000  # more than two share the detail of two


@dataclass(frozen=True)
class Report:
    """Everything that a page, a summary, and files of data and charts are made of."""

    views: tuple[View, ...]
    overview: Table | None
    together: tuple[Figure, ...]

    def figures(self) -> list[Figure]:
        """All charts, those of all runs together first."""
        return [*self.together, *(figure for view in self.views for figure in view.figures)]


def report_of(opened: Sequence[Opened]) -> Report:
    """Reads the samples of all runs and draws. Raises ProblemsError."""
    if len(opened) > MOST:
        many = f"{len(opened)} load tests are named, and a report holds {MOST} at most"
        raise ProblemsError([Problem("TK897", Place(str(opened[MOST].folder)), "", many, "make several reports")])
    detail = min(1.0, _FULLY / len(opened))
    letters = int(_CONFIG_LETTERS * detail)
    views: list[View] = []
    curves: dict[str, Curve] = {}
    for place, one in enumerate(opened):
        if isinstance(one, OpenedRun):
            found = _digest(one, detail)
            views.append(run_view(one, found, place, letters))
            if found.curve:
                curves[one.name] = found.curve
        else:
            views.append(sweep_view(one, place, letters))
    together = (side_by_side(curves, _common_bound(opened)),) if len(curves) > 1 else ()
    return Report(tuple(views), overview(opened, views) if len(views) > 1 else None, together)


def page_of(report: Report) -> str:
    """The whole HTML file."""
    script = _read("script.js")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html.j2").render(
        report=report, style=Markup(_read("chart.css") + _read("style.css")), script=Markup(script),  # noqa: S704
        script_hash=hashed, title=_title(report), phone=PHONE,
    )  # fmt: skip


def write_page(folders: Sequence[Path], file: Path) -> Report:
    """Reads what lies in `folders`, and writes its report to `file`. Raises ProblemsError or OSError."""
    report = report_of(open_all(folders))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, page_of(report))
    return report


def chart_style() -> str:
    """The style of charts that are files of their own."""
    return _read("chart.css")


def _digest(one: OpenedRun, detail: float) -> Digest:
    try:
        return make_digest(one.samples, one.run, int(_BINS * detail), int(_STEPS * detail))
    except DisorderError:
        found = "the samples are not in the order in which they were due, as those of a run are"
        place = Place(str(one.folder / SAMPLES_FILE))
        raise ProblemsError([Problem("TK893", place, "", found, "measure again")]) from None


def _common_bound(opened: Sequence[Opened]) -> float | None:
    bounds = {one.run.objective.p99_ms if one.run.objective else None for one in opened if isinstance(one, OpenedRun)}
    return bounds.pop() if len(bounds) == 1 else None


def _title(report: Report) -> str:
    if len(report.views) == 1:
        return report.views[0].title
    return f"{len(report.views)} load tests"


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=True, finalize=_printable,
    )  # fmt: skip
    environment.filters["broken"] = _broken
    environment.filters["lines"] = _lines
    return environment


def _broken(text: str) -> Markup:
    """A line may end behind each `_`: names of settings are long."""
    return Markup("_<wbr>").join(escape(words.text(part)) for part in text.split("_"))


def _lines(text: str) -> Markup:
    """A text whose line breaks stay."""
    return Markup("\n").join(escape(words.text(line)) for line in text.split("\n"))


def _printable(value: Any) -> Any:
    """What no screen can show is escaped wherever it comes from."""
    return words.text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
