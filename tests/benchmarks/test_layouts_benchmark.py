"""The layouts' benchmark: what it makes of turns. The turns themselves are those of photos.py, and tested there."""

from __future__ import annotations

from pathlib import Path

import layouts
from photos_systems.results import Measured, comparisons, summaries
from photos_systems.work import MODES

RATES = {"bound": 1000.0, "ensemble": 500.0, "fused": 800.0, "folded": 600.0}


def slices() -> list[Measured]:
    """Two rounds of every system in every mode; the second is twice as fast for all."""
    return [
        Measured(name, mode.name, (number, 1), 10, number * rate, {"all": 2000.0 / number}, 10.0, {}, [1000, 2000])
        for number in (1, 2)
        for mode in MODES
        for name, rate in RATES.items()
    ]


def test_layouts_are_compared_within_a_turn() -> None:
    found = layouts.between(slices())
    assert set(found) == {mode.name for mode in MODES}
    for of in found.values():
        assert of["fused"]["ensemble"] == {"median": 1.6, "low": 1.6, "high": 1.6, "count": 2}
        assert of["ensemble"]["folded"]["median"] == 500 / 600
        assert "bound" not in of


def test_the_table_has_a_row_for_each_system_and_mode(tmp_path: Path) -> None:
    parts = slices()
    result = {"summary": summaries(parts), "compared": comparisons(parts), "between": layouts.between(parts)}
    rows = layouts.rows(result)
    assert [row[0] for row in rows] == ["bound: no server", "`ensemble`", "`fused`", "`folded`"] * 2
    assert {len(row) for row in rows} == {len(layouts.HEAD)}
    assert rows[2][3:5] == ["0.80 (0.80 to 0.80)", "1.60 (1.60 to 1.60)"]
    layouts.draw(result["summary"], tmp_path / "layouts.svg")
    assert b"<svg" in (tmp_path / "layouts.svg").read_bytes()
