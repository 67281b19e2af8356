"""The example sweeps: their pages are what today's code makes of what was measured."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/examples.py, over a copy of the examples and their page."""
    spec = importlib.util.spec_from_file_location("docs_examples", DOCS / "examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(DOCS / "examples", tmp_path / "examples")
    shutil.copy(module.PAGE, tmp_path / "page.md")
    monkeypatch.setattr(module, "DOCS", tmp_path)
    monkeypatch.setattr(module, "EXAMPLES", tmp_path / "examples")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["examples.py", "--check"])
    return module


def test_the_pages_are_what_was_measured(examples: ModuleType) -> None:
    assert examples.main() == 0


def test_another_figure_makes_every_page_stale_and_is_written(
    examples: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "examples" / "digits" / "sweep.json"
    sweep = json.loads(file.read_text())
    turn = next(turn for turn in sweep["points"][0]["replicates"] if turn["p99_ms"])
    turn["p99_ms"] = 1234.5
    sweep["points"][0]["p99_ms"]["value"] = sweep["points"][0]["p99_ms"]["high"]
    file.write_text(json.dumps(sweep))
    assert examples.main() == 1
    told = capsys.readouterr().err
    assert [name for name in ("digits/report.html", "digits/summary.md", "page.md") if name not in told] == []
    assert "photos" not in told
    monkeypatch.setattr(sys, "argv", ["examples.py"])
    assert examples.main() == 0
    assert "| 1234.5 |" in (tmp_path / "page.md").read_text()
    monkeypatch.setattr(sys, "argv", ["examples.py", "--check"])
    assert examples.main() == 0


def test_a_page_without_a_place_for_a_table_is_refused(examples: ModuleType) -> None:
    with pytest.raises(ValueError, match="no place for photos: it goes between <!-- photos"):
        examples.put("<!-- digits: written by docs/examples.py -->\n<!-- end of digits -->", "photos", "")
