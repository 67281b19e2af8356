"""What Inductor's worker tells of where it is, which shapes it compiles for, and what Triton needs on a GPU."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.inductor.compiler import InductorCompiler, steps_in
from generator.engine.compile.inductor.process import run_worker
from generator.engine.errors import StageError
from tritonkit_runtime.buffered import inductor_module

GRAPH = Path(__file__).parents[4] / "models" / "digits.onnx"
SETTINGS = Settings("fp32", [{"pixels": ShapeRange((1, 1, 8, 8), (8, 1, 8, 8), (32, 1, 8, 8))}])
DEADLINE_S = 20.0


def test_what_it_came_to_is_told_while_it_works_and_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "echo 'import after 0.1 s' > $2/steps; echo 'half of' >> $2/steps.new; echo where it is; sleep 600"
    python, told = tmp_path / "python", list[str]()
    python.write_text(f"#!/bin/sh\n{code}\n")
    python.chmod(0o755)
    monkeypatch.setattr(InductorCompiler, "missing", lambda self: "")
    with pytest.raises(StageError) as raised:
        InductorCompiler(python=str(python), limit_s=1.5).compile(GRAPH.read_bytes(), SETTINGS, told.append)
    assert told[1:] == ["inductor: import after 0.1 s"]
    [finding] = raised.value.findings
    assert finding.message == "Inductor did not finish within 1.5 s; it came to: import after 0.1 s (where it is)"
    assert "TORCHINDUCTOR_COMPILE_THREADS=1" in finding.hint


def test_a_line_that_is_not_whole_is_no_step_yet(tmp_path: Path) -> None:
    assert steps_in(tmp_path / "steps") == []
    (tmp_path / "steps").write_text("import\nmod")
    assert steps_in(tmp_path / "steps") == ["import"]


def test_of_a_process_that_a_signal_ended_the_words_are_where_it_was(tmp_path: Path) -> None:
    code = "import faulthandler, os, sys; faulthandler.enable(); os.kill(os.getpid(), 11)"
    ended = run_worker([sys.executable, "-c", code], tmp_path / "log", DEADLINE_S, os.environ)
    assert ended.status == -signal.SIGSEGV
    assert ended.words.startswith('File "<string>", line 1 in <module>')


def test_batches_between_the_least_and_the_greatest_are_run_as_well() -> None:
    """Of 2 to 15 images torch made other code on a CPU than of 64, and nobody had asked for it before a server did."""
    ranges = {
        "image": {"min": [1, 8], "opt": [20, 8], "max": [20, 8]},
        "text": {"min": [1, 4], "opt": [20, 16], "max": [20, 32]},
        "constant": {"min": [3], "opt": [3], "max": [3]},
    }
    shapes = inductor_module.all_shapes(ranges)
    assert [shape["image"] for shape in shapes] == [[items, 8] for items in (20, 1, 20, 1, 2, 4, 8, 16)]
    assert [shape["text"] for shape in shapes] == [
        [20, 16], [1, 4], [20, 32], [1, 16], [2, 16], [4, 16], [8, 16], [16, 16],
    ]  # fmt: skip
    assert all(shape["constant"] == [3] for shape in shapes)
    fixed = {"x": {"min": [4, 3], "opt": [4, 3], "max": [4, 3]}, "none": {"min": [], "opt": [], "max": []}}
    assert inductor_module.all_shapes(fixed) == [{"x": [4, 3], "none": []}]


def test_on_a_gpu_the_headers_of_python_have_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them Triton's own module could not be compiled, and nothing told so."""
    python = tmp_path / "python"
    # All packages are there; the interpreter's headers are where the folder says.
    python.write_text(
        '#!/bin/sh\ncase "$2" in *find_spec*) exit 0;; esac\n'
        f"exec {sys.executable} -c \"import sysconfig; sysconfig.get_paths = lambda scheme: {{'include': '{tmp_path}'}}\n$2\"\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    on_gpu = InductorCompiler(device="cuda", python=str(python))
    assert "finds no Python.h" in on_gpu.missing()
    assert InductorCompiler(python=str(python)).missing() == ""
    (tmp_path / "named").mkdir()
    (tmp_path / "named/Python.h").touch()
    monkeypatch.setenv("CPATH", f"/nowhere:{tmp_path}/named")
    assert on_gpu.missing() == ""
    monkeypatch.delenv("CPATH")
    (tmp_path / "Python.h").touch()
    assert on_gpu.missing() == ""
