"""trtexec's command for a build's settings, as each version spells it, and a build through a program of that name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.codes import CODES
from generator.engine.compile.trtexec import Trtexec, arguments, command_text, trtexec_here
from generator.engine.errors import StageError

IDS = ShapeRange((1, 1), (8, 32), (32, 128))
LONG = ShapeRange((1, 129), (2, 256), (8, 512))
PROFILE = {"ids": IDS, "mask": IDS}
SHAPES = ["--minShapes=ids:1x1,mask:1x1", "--optShapes=ids:8x32,mask:8x32", "--maxShapes=ids:32x128,mask:32x128"]
FILES = ["--onnx=./model.onnx", "--saveEngine=./model.plan", "--skipInference"]
LAST = ["--timingCacheFile=./timing.cache", "--profilingVerbosity=detailed"]


def settings(precision: str = "fp32", **more: Any) -> Settings:
    return Settings(precision, **{"profiles": [PROFILE], **more})


@pytest.mark.parametrize(
    ("precision", "ranges", "major", "said"),
    [
        ("fp32", {}, 8, ["--noTF32"]),
        ("tf32", {}, 8, []),
        ("fp16", {}, 8, ["--fp16"]),
        ("int8", {}, 8, ["--int8", "--fp16"]),
        ("int8", {"x": (0.0, 1.0)}, 8, ["--int8", "--fp16", "--calib=./calibration.cache"]),
        ("fp32", {}, 10, ["--stronglyTyped", "--noTF32"]),
        ("tf32", {}, 10, ["--stronglyTyped"]),
        ("fp16", {}, 10, ["--stronglyTyped"]),
        ("bf16", {}, 11, ["--stronglyTyped"]),
        ("int8", {"x": (0.0, 1.0)}, 11, ["--stronglyTyped"]),
    ],
)
def test_precision_as_each_version_spells_it(precision: str, ranges: Any, major: int, said: list[str]) -> None:
    assert arguments(settings(precision, ranges=ranges), major) == [*FILES, *said, *SHAPES, *LAST]


def test_everything_that_can_be_asked_for() -> None:
    asked = settings(
        "fp16", workspace_mib=2048, optimization_level=5, version_compatible=True, hardware="ampere_plus", refit=True,
        plugins=["/opt/a.so", "/opt/b.so"],
    )  # fmt: skip
    expected = [
        "--memPoolSize=workspace:2048", "--builderOptimizationLevel=5", "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+", "--refit", "--staticPlugins=/opt/a.so", "--staticPlugins=/opt/b.so",
    ]  # fmt: skip
    assert arguments(asked, 10) == [*FILES, "--stronglyTyped", *SHAPES, *expected, *LAST]


def test_several_profiles_are_numbered() -> None:
    given = arguments(settings("tf32", profiles=[{"ids": IDS}, {"ids": LONG}]), 10)
    assert given[4:12] == [
        "--profile=0", "--minShapes=ids:1x1", "--optShapes=ids:8x32", "--maxShapes=ids:32x128",
        "--profile=1", "--minShapes=ids:1x129", "--optShapes=ids:2x256", "--maxShapes=ids:8x512",
    ]  # fmt: skip


def test_same_compute_capability_in_trtexecs_word() -> None:
    assert "--hardwareCompatibilityLevel=sameComputeCapability" in arguments(
        settings(hardware="same_compute_capability"), 11
    )


def test_what_8_6_cannot_do_is_said_at_once() -> None:
    asked = settings("bf16", profiles=[{"ids": IDS}, {"ids": LONG}], hardware="same_compute_capability")
    with pytest.raises(StageError) as raised:
        arguments(asked, 8)
    assert [finding.code for finding in raised.value.findings] == ["TK959"] * 3
    assert {finding.code for finding in raised.value.findings} <= CODES.keys()


def test_the_text_is_quoted_for_a_shell() -> None:
    text = command_text(settings("fp16", plugins=["/a b/it's.so"]), 10, "/my models", "/opt/trtexec")
    assert shlex.split(text) == [
        "/opt/trtexec",
        *arguments(settings("fp16", plugins=["/a b/it's.so"]), 10, "/my models"),
    ]
    assert "'--onnx=/my models/model.onnx'" in text


PROGRAM = """#!/bin/sh
if [ "$1" = --help ]; then echo '&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec --help'; exit 0; fi
for word in "$@"; do case $word in
  --onnx=*) graph=${{word#*=}};; --saveEngine=*) plan=${{word#*=}};; --timingCacheFile=*) cache=${{word#*=}};;
  --calib=*) cat "${{word#*=}}" >&2;;
esac; done
{rest}
"""


def program(folder: Path, rest: str, version: str = "8601") -> str:
    """A program that takes trtexec's words and does `rest`."""
    file = folder / "trtexec"
    file.write_text(PROGRAM.format(version=version, rest=rest))
    file.chmod(0o755)
    return str(file)


def test_a_build_through_the_program(tmp_path: Path) -> None:
    name = program(tmp_path, 'cat "$graph" > "$plan"; echo again >> "$cache"')
    compiler = Trtexec(name)
    assert compiler.missing() == ""
    made = compiler.compile(b"a graph", settings("fp16", timing_cache=b"before "), lambda _text: None)
    assert made.data == b"a graph"
    assert made.timing_cache == b"before again\n"
    assert made.facts["trtexec"] == 8601
    assert made.facts["command"].startswith("trtexec --onnx=./model.onnx")


def test_ranges_become_the_calibration_cache_of_that_version(tmp_path: Path) -> None:
    name = program(tmp_path, 'cat "$(dirname "$plan")/calibration.cache" > "$plan"')
    made = Trtexec(name).compile(b"", settings("int8", ranges={"x": (-1.27, 0.0)}), lambda _text: None)
    assert made.data == b"TRT-8601-EntropyCalibration2\nx: 3c23d70a\n"


def test_its_errors_are_passed_on(tmp_path: Path) -> None:
    said = "[01/01/2026-00:00:00] [E] [TRT] no tactic for layer conv"
    with pytest.raises(StageError, match="TK955 trtexec built no plan: \\[TRT\\] no tactic for layer conv"):
        Trtexec(program(tmp_path, f"echo '{said}' >&2; exit 1")).compile(b"", settings(), lambda _text: None)
    resource = "[01/01/2026-00:00:00] [E] [TRT] Unable to load library: libnvinfer_builder_resource_sm90.so.10.15.1"
    with pytest.raises(StageError, match=r"TK956 .*no libnvinfer_builder_resource_sm90\.so\.10\.15\.1"):
        Trtexec(program(tmp_path, f"echo '{resource}'; exit 1", "101501")).compile(
            b"", settings(), lambda _text: None
        )


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    compiler = Trtexec(program(tmp_path, "sleep 3600"), limit_s=2)
    with pytest.raises(StageError, match=r"TK957 .*longer than 2 s"):
        compiler.compile(b"", settings(), lambda _text: None)


def test_where_there_is_none_one_sentence_says_so(tmp_path: Path) -> None:
    compiler = Trtexec(str(tmp_path / "gone"))
    assert compiler.missing() == f"there is no `{tmp_path / 'gone'}` on PATH"
    with pytest.raises(StageError, match="TK950"):
        compiler.compile(b"", settings(), lambda _text: None)


@pytest.mark.parametrize(
    ("number", "version"),
    [
        ("8601", (8, 6, 1)),
        ("8510", (8, 5, 10)),
        ("100000", (10, 0, 0)),
        ("101501", (10, 15, 1)),
        ("110400", (11, 4, 0)),
    ],
)
def test_its_version(tmp_path: Path, number: str, version: tuple[int, ...]) -> None:
    assert Trtexec(program(tmp_path, "exit 1", number)).version() == version


def test_one_that_does_not_say_its_version(tmp_path: Path) -> None:
    file = tmp_path / "trtexec"
    file.write_text("#!/bin/sh\necho usage\n")
    file.chmod(0o755)
    assert Trtexec(str(file)).version() == ()
    assert "does not say its version" in Trtexec(str(file)).missing()


def test_the_one_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trtexec_here() == ""
    name = program(tmp_path, "exit 1")
    assert trtexec_here() == name
    (tmp_path / "other").mkdir()
    other = program(tmp_path / "other", "exit 1")
    monkeypatch.setenv("TRTEXEC", other)
    assert trtexec_here() == other
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "gone"))
    assert trtexec_here() == "", "who names one means that one"
