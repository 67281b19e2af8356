"""The tables of the page of GPU figures are those of the result files."""

from __future__ import annotations

import gpu_draw
import pytest


def test_the_tables_are_those_of_the_files() -> None:
    page = gpu_draw.PAGE.read_text(encoding="utf-8")
    found = gpu_draw.tables(*(gpu_draw.load(name) for name in ("served", "engine", "preprocess")))
    assert gpu_draw.written(page, found) == page, "run `python benchmarks/gpu_draw.py`"


def test_a_median_is_told_with_its_interval() -> None:
    assert gpu_draw.told({"median": 10546.7, "low": 9875.7, "high": 10927.0}) == "10,547 (9,876 to 10,927)"
    assert gpu_draw.told({"median": 406.03, "low": 389.5, "high": 482.0}, 2, 0.001) == "0.41 (0.39 to 0.48)"


def test_a_page_without_a_place_for_a_table() -> None:
    with pytest.raises(ValueError, match="has no place for the table: <!-- rates -->"):
        gpu_draw.written("# A page\n", {"rates": ""})
