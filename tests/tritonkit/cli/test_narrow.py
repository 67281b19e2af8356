"""Tables of engines in a terminal of 80 columns: no cell is cut or broken, and no line is longer."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from engine_projects import digits_project, int8, write_spec

from generator.project import Project

_EMBEDDED = "target embedded: onnxruntime in int8"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The digits in int8, not yet built."""
    return digits_project(tmp_path_factory.mktemp("narrow") / "project", int8())


def shown(root: Path, columns: int, *arguments: str) -> list[str]:
    """What a command writes to a terminal's standard output, without colours and blanks at the ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    command = [str(Path(sys.executable).with_name("tritonkit")), *arguments]
    with subprocess.Popen(command, cwd=root, env=plain | {"TERM": "xterm"}, stdin=theirs, stdout=theirs,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the other end open
                break
            if not piece:
                break
            written += piece
        assert process.wait(60) == 0
    os.close(ours)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written.decode()).splitlines()]


def test_build_engines_inspect_and_profile(project: Project) -> None:
    build = shown(project.root, 80, "build")
    assert build[0] == "embedded: digits_engine"
    assert build[1].split("  ")[0] == "engine"
    assert re.fullmatch(
        r"onnxruntime int8 +top1 0\.\d{4} +0\.\d{4} +[\d,]+ µs +[\d,]+ µs +[\d.]+ kB +installed", build[2]
    )
    assert len(build) == 3

    inspect = shown(project.root, 80, "inspect", "specs/digits.yaml", "--installed")
    assert " ".join(" ".join(inspect[:2]).split()).endswith(_EMBEDDED)
    head = next(index for index, line in enumerate(inspect) if line.startswith("layer "))
    assert inspect[head].split() == ["layer", "operator", "output", "op", "share", "moved", "op/byte"]
    assert re.split(r"  +", inspect[head + 1])[:5] == ["conv_2", "Conv", "32x32x8x8", "28.4 M", "90%"]
    assert {len(re.split(r"  +", line)) for line in inspect[head : head + 8]} == {7}

    profile = shown(project.root, 80, "profile", "specs/digits.yaml", "--installed", "--runs", "2")
    head = next(index for index, line in enumerate(profile) if line.startswith("layer "))
    assert profile[head].split() == ["layer", "operator", "ms", "share", "op/byte", "of", "roof", "limit"]
    assert {len(re.split(r"  +", line)) for line in profile[head : head + 6]} == {7}
    assert any(re.fullmatch(r"\S+ computes \S.*", line) for line in profile)

    write_spec(project.root, int8(keep={"nodes": ["conv_0"]}))
    engines = shown(project.root, 80, "engines")
    assert [re.split(r"  +", line) for line in engines[:2]] == [
        ["target, model", "engine", "accuracy", "state"], ["embedded"],
    ]  # fmt: skip
    assert re.fullmatch(
        r"  digits_engine 1  onnxruntime int8  top1 0\.\d{4} \(FP32 0\.\d{4}\)  stale", engines[2]
    )  # fmt: skip
    assert engines[3].startswith("embedded: digits_engine 1 is stale: build.keep")
    for line in (*build, *inspect, *profile, *engines[:3]):
        assert len(line) <= 80


def test_a_wide_terminal_shows_more(project: Project) -> None:
    head = next(line for line in shown(project.root, 160, "inspect", "models/digits.onnx") if "op/byte" in line)
    assert head.split() == [
        "layer", "operator", "output", "operations", "share", "read", "written", "weights", "op/byte",
    ]  # fmt: skip
    assert shown(project.root, 160, "engines")[0].split() == [
        "target", "model", "asked", "for", "built", "accuracy", "state",
    ]  # fmt: skip
