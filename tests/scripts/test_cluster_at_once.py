"""The cluster's tests in two processes: each file in one of them, either fails the run, and one signal ends both."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "cluster_at_once.py"
HEAD = "import pathlib, time\nimport pytest\n\npytestmark = pytest.mark.cluster\n"
PASSES, FAILS = f"{HEAD}def test_it():\n    print('seen')\n", f"{HEAD}def test_it():\n    assert 1 == 2\n"
WAITS = f"""{HEAD}
@pytest.fixture
def held():
    begun = pathlib.Path(__file__).with_suffix(".begun")
    begun.touch()
    yield
    begun.with_suffix(".ended").touch()

def test_it(held):
    time.sleep(200)
"""
WITHIN_S = 120.0
ALONE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # a start of pytest costs a third


def test_every_file_is_in_one_of_the_two() -> None:
    spec = importlib.util.spec_from_file_location("cluster_at_once", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    plane, machine = script.halves()
    assert sorted(plane + machine) == sorted(script.TESTS.rglob("test_*.py"))
    assert set(plane).isdisjoint(machine)
    assert all((script.TESTS / name).exists() for name in script.MACHINE)
    # A second control plane would be started for them, and nobody would notice.
    of_plane = re.compile(r"\b(control_plane|namespace|cluster): (ControlPlane|str|Calls)\b")
    assert [file.name for file in machine if of_plane.search(file.read_text(encoding="utf-8"))] == []
    assert [file.name for file in plane if not of_plane.search(file.read_text(encoding="utf-8"))] == []


def script_on(root: Path, plane: str, machine: str) -> list[str]:
    """The command, for two files of tests."""
    shutil.copytree(SCRIPT.parent, root / "scripts", ignore=lambda _, names: {*names} - {SCRIPT.name})
    (root / "pytest.ini").write_text("[pytest]\nmarkers = cluster\n")
    (root / "tests" / "cluster" / "images").mkdir(parents=True)
    (root / "tests" / "cluster" / "test_of_plane.py").write_text(plane)
    (root / "tests" / "cluster" / "images" / "test_of_machine.py").write_text(machine)
    return [sys.executable, str(root / "scripts" / SCRIPT.name)]


@pytest.mark.parametrize(
    ("plane", "machine", "status"), [(PASSES, PASSES, 0), (FAILS, PASSES, 1), (PASSES, FAILS, 1)],
    ids=["both pass", "the plane's fails", "the machine's fails"],
)  # fmt: skip
def test_either_fails_the_run(tmp_path: Path, plane: str, machine: str, status: int) -> None:
    command = script_on(tmp_path, plane, machine)
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    first, _, second = done.stdout.partition("without a control plane:\n")
    for said, tests in ((first, plane), (second, machine)):
        assert ("1 passed" if tests is PASSES else "1 failed") in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_both_with_their_fixtures(tmp_path: Path, number: signal.Signals) -> None:
    command = script_on(tmp_path, WAITS, WAITS)
    process = subprocess.Popen(command, env=ALONE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    folder, deadline = tmp_path / "tests" / "cluster", time.monotonic() + WITHIN_S
    try:
        while len(list(folder.rglob("*.begun"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert {path.name for path in folder.rglob("*.ended")} == {"test_of_plane.ended", "test_of_machine.ended"}
    assert said.count("KeyboardInterrupt") >= 2, said
