"""`tritonkit deploy values`: what is written, compared, and held against values of one's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli_session import Session
from deploy_plans import make_project
from made_runs import make_run, make_sweep

SPEC = "specs/digits.yaml"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Session:
    """A session in a project with this repository's specs."""
    folder = tmp_path / "project"
    make_project(folder)
    monkeypatch.chdir(folder)
    return Session(folder, capsys)


def test_a_session(shop: Session) -> None:
    shop.run("deploy", "values", SPEC, "-o", "derived.yaml")
    shop.run("deploy", "values", SPEC, "-o", "derived.yaml", "--check")
    shop.run("deploy", "values", SPEC, "-o", "derived.yaml")
    shop.note("The spec changes, and the file is not what follows from it any more.")
    file = shop.folder / SPEC
    file.write_text(file.read_text().replace("p99_ms: 20", "p99_ms: 25"))
    shop.run("deploy", "values", SPEC, "-o", "derived.yaml", "--check")
    shop.note("Values of one's own, in a second file.")
    (shop.folder / "mine.yaml").write_text(
        "workload:\n  replicas: 4\n  nodeSelector: {pool: a}\n"
        "gpu:\n  count: 0\n"
        "drain:\n  preStopSeconds: 20\n  terminationGracePeriodSeconds: 25\n"
        'image:\n  release: "26.04"\n'
    )
    shop.run("deploy", "values", SPEC, "-o", "derived.yaml", "--values", "mine.yaml")
    shop.matches("deploy_values")


def test_the_same_as_data(shop: Session) -> None:
    text = shop.quietly("deploy", "values", SPEC)
    data = shop.quietly("deploy", "values", SPEC, "--json")
    assert (text.status, data.status) == (0, 0)
    assert yaml.safe_load(text.out) == json.loads(data.out)
    assert "TK433" in text.err


def test_a_measurement_and_a_price(shop: Session) -> None:
    make_run(shop.folder / "run", bound_ms=20)
    ended = shop.quietly(
        "deploy", "values", SPEC, "--measured", "run", "--gpu-price-per-hour", "4", "--max-pods", "20"
    )  # fmt: skip
    assert ended.status == 0
    assert "A million inferences of digits cost at most" in ended.out
    assert yaml.safe_load(ended.out)["autoscaling"]["maxReplicas"] == 20
    assert "was measured on target `embedded`" in ended.err


def test_nothing_is_written_when_anything_is_wrong(shop: Session) -> None:
    (shop.folder / "mine.yaml").write_text("gpu: {count: 0}\n")
    ended = shop.quietly("deploy", "values", SPEC, "-o", "derived.yaml", "--values", "mine.yaml")
    assert ended.status == 1
    assert ended.out == ""
    assert not (shop.folder / "derived.yaml").exists()


def test_a_file_that_somebody_wrote_is_left_alone(shop: Session) -> None:
    (shop.folder / "mine.yaml").write_text("gpu: {count: 1}\n")
    ended = shop.quietly("deploy", "values", SPEC, "-o", "mine.yaml")
    assert ended.status == 1
    assert "was not written by this command" in ended.err
    assert (shop.folder / "mine.yaml").read_text() == "gpu: {count: 1}\n"


@pytest.mark.parametrize("more", [(), ("--check",), ("--json",)])
def test_a_file_that_is_no_text_is_left_alone(shop: Session, more: tuple[str, ...]) -> None:
    (shop.folder / "a.yaml").write_bytes(b"\xff\xfe")
    ended = shop.quietly("deploy", "values", SPEC, "-o", "a.yaml", *more)
    assert ended.status == 1
    assert re.search(r"^error: a\.yaml (was not written by this|is not what follows)", ended.err, re.MULTILINE)
    assert ended.out == ""
    assert (shop.folder / "a.yaml").read_bytes() == b"\xff\xfe"


def test_data_is_printed_once_the_file_is_right(shop: Session) -> None:
    late = shop.quietly("deploy", "values", SPEC, "-o", "derived.yaml", "--check", "--json")
    assert (late.status, late.out) == (1, "")
    assert "derived.yaml is not there" in late.err
    assert shop.quietly("deploy", "values", SPEC, "-o", "derived.yaml").status == 0
    fine = shop.quietly("deploy", "values", SPEC, "-o", "derived.yaml", "--check", "--json")
    assert fine.status == 0
    assert json.loads(fine.out) == yaml.safe_load((shop.folder / "derived.yaml").read_text())


def test_an_output_that_is_no_file_is_written_into(shop: Session) -> None:
    """As a shell would: `-o /dev/stdout` into a pipe, and into a new file, which is empty then."""
    program = "from tritonkit.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", program, "deploy", "values", SPEC]
    wanted = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout
    piped = subprocess.run([*command, "-o", "/dev/stdout"], capture_output=True, timeout=120, check=True)
    assert piped.stdout == wanted
    with (shop.folder / "new.yaml").open("wb") as out:
        subprocess.run([*command, "-o", "/dev/stdout"], stdout=out, stderr=subprocess.PIPE, timeout=120, check=True)
    assert (shop.folder / "new.yaml").read_bytes() == wanted


def test_a_device_is_nothing_to_compare_with(shop: Session) -> None:
    os.mkfifo(shop.folder / "pipe")
    for name in ("/dev/null", "pipe"):
        ended = shop.quietly("deploy", "values", SPEC, "-o", name, "--check")
        assert ended.status == 1
        assert f"{name} is no file that can be compared" in ended.err
    assert shop.quietly("deploy", "values", SPEC, "-o", "/dev/null").status == 0


def test_values_of_ones_own_are_read_as_a_release_reads_them(shop: Session) -> None:
    (shop.folder / "mine.yaml").write_text("drian: {preStopSeconds: 3}\n")
    (shop.folder / "twice.yaml").write_text("workload: {replicas: 1}\nworkload: {replicas: 2}\n")
    ended = shop.quietly("deploy", "values", SPEC, "--values", "mine.yaml", "--values", "twice.yaml")
    assert (ended.status, ended.out) == (1, "")
    assert "error[TK441]: mine.yaml:1:1: drian" in ended.err
    assert "error[TK111]: twice.yaml:2:1" in ended.err


def test_of_several_files_the_last_one_counts(shop: Session) -> None:
    (shop.folder / "first.yaml").write_text("gpu: {count: 0}\ndrain: {preStopSeconds: 20}\n")
    (shop.folder / "last.yaml").write_text("gpu: {count: 1}\n")
    ended = shop.quietly("deploy", "values", SPEC, "--values", "first.yaml", "--values", "last.yaml")
    assert ended.status == 0, ended.err
    # Neither file alone is wrong; one over the other is.
    (shop.folder / "last.yaml").write_text("gpu: {count: 1}\ndrain: {terminationGracePeriodSeconds: 25}\n")
    (shop.folder / "first.yaml").write_text("drain: {preStopSeconds: 20}\n")
    ended = shop.quietly("deploy", "values", SPEC, "--values", "first.yaml", "--values", "last.yaml")
    assert ended.status == 1
    assert "error[TK422]: last.yaml:2:" in ended.err
    assert "take 29" in ended.err


def test_what_is_written_is_for_the_gpus_that_values_of_ones_own_say(shop: Session) -> None:
    (shop.folder / "mine.yaml").write_text("gpu: {count: 4}\n")
    ended = shop.quietly("deploy", "values", SPEC, "--values", "mine.yaml", "--json")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    # Four instances of the engine in full batches of 32, and one batch that waits.
    assert (found["gpu"]["count"], found["server"]["grpcInferPool"]) == (4, 160)
    assert json.loads(shop.quietly("deploy", "values", SPEC, "--json").out)["server"]["grpcInferPool"] == 64


def test_at_most_is_what_is_known(shop: Session) -> None:
    """A sweep that looked for no highest rate: the lower end of what was answered."""
    made = make_sweep(shop.folder / "sweep", bound_ms=20)
    [chosen] = [point for point in made.points if point.settings == made.choice.settings]
    assert chosen.throughput_rps is not None
    ended = shop.quietly("deploy", "values", SPEC, "--measured", "sweep", "--gpu-price-per-hour", "4")
    most = 4 / 3600 / chosen.throughput_rps.low * 1e6
    assert ended.status == 0, ended.err
    found = re.search(r"cost at most ([\d.]+) at 4 an", " ".join(ended.out.replace("#", "").split()))
    assert found is not None, ended.out
    assert float(found[1]) == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize(("arguments", "words"), [
    ((SPEC, "--check"), "name it with -o"),
    ((SPEC, "-o", "specs"), "name a file: -o specs/derived.yaml"),
    ((SPEC, "-o", "none/y.yaml"), "there is no folder none"),
    ((SPEC, "--max-pods", "9" * 400), "--max-pods"),
    ((SPEC, "--target", ""), "it is empty"),
    ((SPEC, "--gpu-price-per-hour", "nan"), "is no price"),
    ((SPEC, "--gpu-price-per-hour", "-4"), "is no price"),
    ((SPEC, "--max-pods", "0"), "--max-pods"),
    ((SPEC, "--target", "staging"), "there is no target `staging`"),
    ((SPEC, "--target", "embedded"), "before 25.07 a release is refused"),
    ((SPEC, "--measured", "nowhere"), "is not there"),
    ((SPEC, "--values", "nowhere.yaml"), "there is no such file"),
    (("specs/none.yaml",), "there is no such file"),
    ((), "missing argument"),
])  # fmt: skip
def test_mistakes(shop: Session, arguments: tuple[str, ...], words: str) -> None:
    ended = shop.quietly("deploy", "values", *arguments)
    assert ended.status == 1
    assert words in ended.err.lower() or words in ended.err
    assert ended.out == ""
