"""`tritonkit copies`: the table in a narrow terminal, JSON, the picture, and mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tritonkit.cli.group import tritonkit

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The digits in a folder of their own, which is the current one."""
    (tmp_path / "specs").mkdir()
    shutil.copy(ROOT / "specs" / "digits.yaml", tmp_path / "specs")
    for name in ("models", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> str:
    """What it prints on standard output."""
    ended = CliRunner().invoke(tritonkit, ["copies", "specs/digits.yaml", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


def refused(*arguments: str) -> str:
    """The message of a command that is refused."""
    ended = CliRunner().invoke(tritonkit, ["copies", "specs/digits.yaml", *arguments])
    assert ended.exit_code != 0
    return f"{ended.exception} {ended.stderr}"


@pytest.mark.parametrize("arguments", [[], ["--target", "production", "--requests", "32"], ["--layout", "folded"]])
def test_the_table_has_room_in_80_columns(project: Path, arguments: list[str]) -> None:
    rows = run(*arguments).splitlines()
    table = rows[2 : rows.index("", 2)]
    assert table[0].split() == ["tensor", "model", "from", "to", "by", "bytes"]
    assert len(table) > 12
    assert max(map(len, table)) <= 80


def test_the_sums_of_json_are_those_of_its_hops(project: Path) -> None:
    found = json.loads(run("--batch", "2", "--length", "image=500", "--length", "label=1", "--json"))
    assert found["copied_bytes"] == sum(hop["copied_bytes"] for hop in found["hops"])
    assert found["copies"] == sum(hop["copied_bytes"] > 0 for hop in found["hops"])
    assert (found["items"], found["assumptions"]) == (2, [])
    assert found["hops"][0]["copied_bytes"] == 2 * 504
    assert found["hops"][0]["seen"] is True


def test_the_picture_is_written(project: Path) -> None:
    run("--chart", "copies.svg")
    assert "digits_postprocess" in (project / "copies.svg").read_text()


def test_instances_whose_batches_run_as_one(project: Path) -> None:
    """Two items in each of three: what goes in is told for each, what comes out of the engine process for all."""
    spec = project / "specs" / "digits.yaml"
    text = spec.read_text().replace("layout: ensemble", "layout: fused").replace("count: 1}", "count: 4}")
    spec.write_text(
        text.replace("  engine: onnxruntime\n", "  engine: onnxruntime\n  buffers: {process: shared}\n", 1)
    )
    asked = ["--target", "production", "--batch", "2", "--instances"]
    rows = [line.rstrip() for line in run(*asked, "3").splitlines()]
    first = " ".join(" ".join(rows[:2]).split())
    assert first.endswith("2 items in 1 request, in each of 3 instances, whose batches are run as one")
    assert any(row.endswith(" 1,536 in 3") for row in rows), "pixels: 3 x 2 x 64 x 4"
    assert any(row.endswith(" 240 w") for row in rows), "logits: 3 x 2 x 10 x 4"
    found = json.loads(run(*asked, "3", "--json"))
    assert (found["items"], found["sizes"]["instances"]) == (6, 3)
    hops = {hop["rule"]: hop for hop in found["hops"]}
    assert (hops["shared-to-gpu"]["times"], hops["shared-to-gpu"]["shape"]) == (3, [2, 1, 8, 8])
    assert (hops["merged-out"]["times"], hops["merged-out"]["shape"]) == (1, [6, 10])
    assert "`digits` has 4 instances, and not 5" in refused(*asked, "5")
    assert "2 x 32 items are more than the engine process of `digits` runs as one: its `buckets` end at 32" in (
        refused("--target", "embedded", "--batch", "32", "--instances", "2")
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instances", "2"], "no engine of it is shared on target `embedded`"),
        (["--batch", "33"], "33 x 1 items are more than one execution of `digits` takes: max_batch_size is 32"),
        (["--protocol", "cuda-shm"], "target `embedded` has no GPU for --protocol cuda-shm"),
        (["--length", "imag=5"], "no tensor is called `imag`; there are image, label, logits, pixels, score"),
        (["--chart", "copies.txt"], "ends in none of .svg, .png, .pdf"),
        (["--chart", "nowhere/copies.svg"], "there is no folder nowhere"),
        (["--layout", "fused", "--target", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told(project: Path, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)
