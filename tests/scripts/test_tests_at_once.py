"""What fails in company is asked again by itself: chance is named, and a fault still fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "tests_at_once.py"
# Fails the first time in each place where it is run, as a test does that its neighbours disturb.
CHANCE = """
import pathlib

def test_chance():
    mark = pathlib.Path(__file__).with_suffix(".seen")
    seen, _ = mark.exists(), mark.touch()
    assert seen
"""
FAULT = "def test_fault(broken):\n    assert True\n\ndef test_right():\n    assert True\n"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with its files in a folder of this test's."""
    # Of the plugins here the one that is needed: a start of pytest costs a third then.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist")
    spec = importlib.util.spec_from_file_location("tests_at_once", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, value in {"ROOT": tmp_path, "CACHE": tmp_path / "cache", "UNSTEADY": tmp_path / "unsteady.txt"}.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize("at_once", [(), ("-n", "2")], ids=["one by one", "at once"])
def test_chance_is_named_and_passes(script: ModuleType, tmp_path: Path, at_once: tuple[str, ...]) -> None:
    (tmp_path / "test_a.py").write_text(CHANCE)
    (tmp_path / "test_b.py").write_text("def test_right():\n    assert True\n")
    assert script.main([*at_once]) == 0
    assert script.UNSTEADY.read_text() == "test_a.py::test_chance\n"
    assert script.main([*at_once]) == 0  # it has been seen by now
    assert not script.UNSTEADY.exists()


def test_a_fault_fails_both_times(script: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A failing fixture is one, too; what is chance beside it is told apart."""
    (tmp_path / "test_a.py").write_text(CHANCE)
    (tmp_path / "test_b.py").write_text(FAULT)
    assert script.main([]) == 1
    assert script.UNSTEADY.read_text() == "test_a.py::test_chance\n"
    assert "failed both times:\n  test_b.py::test_fault\n" in capfd.readouterr().out


def test_many_failures_and_unusable_tests_are_not_chance(script: ModuleType, tmp_path: Path) -> None:
    for place in range(script.MOST + 1):
        (tmp_path / f"test_{place}.py").write_text(CHANCE)
    assert script.main([]) == 1
    assert not script.UNSTEADY.exists()
    for file in tmp_path.glob("test_*.py"):
        file.unlink()
    (tmp_path / "test_unusable.py").write_text("import nothing_of_this_name\n")
    assert script.main([]) not in (0, 1)
    assert script.main(["no_such_file.py"]) not in (0, 1)
