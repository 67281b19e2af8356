"""2,000 files that are nearly images, those that once broke something, and the fuzzer's own eyes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import decoder_fuzz
import pytest

FUZZ = Path(decoder_fuzz.__file__)
REGRESSIONS = sorted((FUZZ.parent / "regressions").glob("*.bin"))


def test_nearly_images_are_decoded_or_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = decoder_fuzz.run(2_000, 0, tmp_path)
    said = capfd.readouterr().out
    assert code == 0, said
    assert "2000 inputs in" in said


@pytest.mark.parametrize("file", REGRESSIONS, ids=lambda file: file.stem)
def test_what_once_broke_something_does_not_again(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, FUZZ, f"--file={file}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_works_too_long_ends() -> None:
    loop = "import decoder_fuzz as fuzz\nfuzz._bound_cpu(0.05)\nwhile True: pass"
    done = subprocess.run(
        [sys.executable, "-c", loop], cwd=FUZZ.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGPROF
    assert decoder_fuzz._failure(done) == "took more than 2.0 s of CPU"


@pytest.mark.parametrize(
    ("code", "errors", "why"),
    [
        (-signal.SIGSEGV, "", "killed by SIGSEGV"),
        (1, "AssertionError: wrong", "AssertionError: wrong"),
        (0, "libpng warning", "something was written to stderr: libpng warning"),
    ],
)
def test_an_input_that_fails_is_kept_and_told(
    code: int,
    errors: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def child(*arguments: str) -> subprocess.CompletedProcess[str]:
        current = next(argument.partition("=")[2] for argument in arguments if argument.startswith("--current"))
        Path(current).write_bytes(b"the input")
        return subprocess.CompletedProcess([], code, "2000\n", errors)

    monkeypatch.setattr(decoder_fuzz, "_child", child)
    assert decoder_fuzz.run(4_000, 7, tmp_path / "findings") == 1
    (kept,) = (tmp_path / "findings").iterdir()
    assert kept.read_bytes() == b"the input"
    said = capsys.readouterr().out
    assert said.startswith("decoder_fuzz: 4000 inputs, seed 7\n")
    assert f"FAILED in the round of seed 7: {why}\n" in said
    assert f"--file {kept}\n" in said


@pytest.mark.parametrize("wrong", ["size", "message", "neighbour"])
def test_the_property_sees_what_is_wrong(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from image_files import corpus

    from tritonkit_runtime.steps.decode import Decode
    from tritonkit_runtime.steps.header import ImageError

    check, file = decoder_fuzz.make_check(), corpus()["png rgb"]
    check(file)
    right = Decode.decode

    def spoiled(self: Decode, data: bytes) -> object:
        if wrong == "message" and data == file:
            raise ImageError("two\nlines")
        image = right(self, data)
        return (
            image[1:]
            if wrong == "size" and data == file
            else image // 2
            if wrong == "neighbour" and data != file
            else image
        )

    monkeypatch.setattr(Decode, "decode", spoiled)
    with pytest.raises(AssertionError):
        check(file)
