"""What scripts/on_a_gpu.py does around its parts, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import on_a_gpu

Started = dict[str, tuple[list[str], float, dict[str, str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Parts by name: command, limit and environment; none of them is run."""
    found: Started = {}

    def run(name: str, command: list[str], out: Path, limit_s: float, environment: dict[str, str]) -> int:
        found[name] = (command, limit_s, environment)
        return 0

    monkeypatch.setattr(on_a_gpu, "run", run)
    return found


def asked(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> None:
    monkeypatch.setattr("sys.argv", ["on_a_gpu.py", "--plans", str(folder), "--out", str(folder / "out"), *more])
    on_a_gpu.main()


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service that writes down how it is called."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / on_a_gpu._MPS
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$CUDA_MPS_PIPE_DIRECTORY $*" >>{said}\n[ "$1" = -d ] || cat >>{said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return said


def test_every_part_runs_a_script_that_is_there(
    started: Started, control: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked(monkeypatch, tmp_path)
    every = {file.stem for file in (on_a_gpu.ROOT / "tests/python_backend/gpu").glob("test_*.py")}
    files = every - set(on_a_gpu.LIBRARIES)
    assert list(started)[len(files) :] == ["engine", "preprocess", "pool", "parts", "served", "served_mps"]
    assert files == set(list(started)[: len(files)])
    for name, (command, limit_s, _) in started.items():
        assert (on_a_gpu.ROOT / command[-1 if name.startswith("test_") else 1]).is_file()
        assert limit_s > 60
    told = json.loads((tmp_path / "out/gpu_tests.json").read_bytes())["tests"]
    assert set(told) == files, "files that ended without a word are told"
    started.clear()
    asked(monkeypatch, tmp_path, "--only", "libraries")
    assert set(started) == every - files
    told = json.loads((tmp_path / "out/gpu_tests_libraries.json").read_bytes())["tests"]
    assert set(told) == every - files


def test_the_service_is_ended_when_its_part_is(
    started: Started, control: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked(monkeypatch, tmp_path, "--only", "served,served_mps")
    pipe = started["served_mps"][2]["CUDA_MPS_PIPE_DIRECTORY"]
    assert control.read_text().splitlines() == [f"{pipe} -d", f"{pipe} ", "quit"]
    assert started["served"][2] == {}
    assert not Path(pipe).exists()


def test_without_the_service_its_part_is_left_out(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(on_a_gpu, "_MPS_PLACES", str(tmp_path))
    asked(monkeypatch, tmp_path, "--only", "served_mps", "--", "--rows", "jpeg")
    assert not started
    assert "there is no nvidia-cuda-mps-control here" in capsys.readouterr().out


def test_what_a_test_said(tmp_path: Path) -> None:
    xml = tmp_path / "x.xml"
    xml.write_text(
        '<testsuite><testcase classname="a.b" name="c[1]"/><testcase classname="a.b" name="d">'
        '<failure message="no"/></testcase></testsuite>'
    )
    assert on_a_gpu.said(xml) == {"a.b::c[1]": "passed", "a.b::d": "failure: no"}


def test_the_tests_need_nothing_that_only_other_tests_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is collected where Hypothesis is not installed."""
    (tmp_path / "hypothesis.py").write_text("raise ImportError('not here')\n")
    asked: list[list[str]] = []

    def run(name: str, command: list[str], out: Path, limit_s: float, environment: dict[str, str]) -> int:
        asked.append(command)
        return 0

    monkeypatch.setattr(on_a_gpu, "run", run)
    for libraries in (False, True):
        on_a_gpu.tests(tmp_path / "a.plan", tmp_path, "", libraries=libraries)
    options = [word for word in asked[0][:-1] if not word.startswith("--junitxml")]
    paths = [str(tmp_path), str(on_a_gpu.ROOT), str(on_a_gpu.ROOT / "python_backend")]
    ended = subprocess.run(
        [*options, "-p", "no:hypothesispytest", "--collect-only", *(command[-1] for command in asked)],
        cwd=on_a_gpu.ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert all(Path(command[-1]).name in ended.stdout for command in asked)


def test_packages_that_the_caller_brings_are_found_behind_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An onnxruntime-gpu in a folder of its own, before the interpreter's package of the same name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "brought"))
    told = [sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'], os.environ['PART'])"]
    assert on_a_gpu.run("part", told, tmp_path, 60, {"PART": "yes"}) == 0
    places, part = (tmp_path / "gpu_part.log").read_text().split()
    root = on_a_gpu.ROOT
    assert places.split(os.pathsep) == [str(root), str(root / "python_backend"), str(tmp_path / "brought")]
    assert part == "yes"
