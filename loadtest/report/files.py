"""A report's data and charts as files: CSV, JSON, SVG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from generator.whole_file import write_whole
from loadtest.report.page import Report, chart_style

JSON_FORMAT = 1


def as_json(report: Report) -> dict[str, Any]:
    """Everything that the page shows: each record, and the rows behind each chart and table, unrounded."""
    return {
        "format": JSON_FORMAT,
        "overview": report.overview.as_json() if report.overview else None,
        "together": {_stem(figure.table.name, "all"): figure.table.as_json() for figure in report.together},
        "items": [
            {**view.data, "verdict": view.verdict, "sentence": view.sentence, "warnings": list(view.warnings),
             "tables": {_stem(table.name, view.anchor): table.as_json() for table in view.all_tables()}}
            for view in report.views
        ],
    }  # fmt: skip


def write_csv(report: Report, folder: Path) -> list[Path]:
    """One file a table, named after its run or sweep. Raises OSError."""
    tables = [("all", table) for table in [report.overview] if table]
    tables += [("all", figure.table) for figure in report.together]
    tables += [(view.anchor, table) for view in report.views for table in view.all_tables()]
    names = _names(report)
    texts = {f"{names[owner]}-{_stem(table.name, owner)}.csv": table.as_csv() for owner, table in tables}
    return _write(folder, texts)


def write_svg(report: Report, folder: Path) -> list[Path]:
    """One file a chart, light or dark as its viewer is. Raises OSError."""
    figures = [("all", figure) for figure in report.together]
    figures += [(view.anchor, figure) for view in report.views for figure in view.figures]
    names, style = _names(report), chart_style()
    return _write(folder, {f"{names[o]}-{_stem(f.name, o)}.svg": f.file(style) for o, f in figures})


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def _stem(name: str, owner: str) -> str:
    return name.removeprefix(f"{owner}-")


def _names(report: Report) -> dict[str, str]:
    """Of each anchor a word that can stand in a file's name; two that would be alike get their anchor behind."""
    words = {view.anchor: re.sub(r"[^A-Za-z0-9._-]+", "-", view.name).strip("-.") or "run" for view in report.views}
    every = [word.lower() for word in [*words.values(), "all"]]
    return {"all": "all"} | {
        anchor: word if every.count(word.lower()) == 1 else f"{word}-{anchor}" for anchor, word in words.items()
    }
