"""An engine beside an earlier one, and beside what the spec asks for now: worse, stale, damaged, left over."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_session import At, Ended, refused
from engine_projects import digits_project, files, model, write_spec

GATE = "data/digits-gate.npz"

# Against an earlier one ------------------------------------------------------------------------------------


def test_what_is_worse_than_before_is_refused(fp16: Path, at: At, tmp_path: Path) -> None:
    session = at(fp16)
    before = files(fp16)
    old = json.loads(before["engines/embedded/digits_engine/1/engine.json"])
    same = tmp_path / "same.json"
    same.write_text(json.dumps(old))
    assert session.quietly("build", "--compare", str(same), "--max-slower", "100000").status == 0
    quicker = {
        size: {key: value / 100 for key, value in of.items()} for size, of in old["measured"]["latency_us"].items()
    }
    better = tmp_path / "better.json"
    better.write_text(json.dumps({
        **old, "measured": {**old["measured"], "latency_us": quicker},
        "accuracy": {**old["accuracy"], "metric": {**old["accuracy"]["metric"], "value": 1.01}},
    }))  # fmt: skip
    before = files(fp16)
    ended = session.quietly("build", "--compare", str(better))
    assert ended.status == 1
    assert "accuracy fell from 1.0100 to 0.9972, by more than 0.005" in ended.err
    assert ended.err.count("error[TK986]") == 1 + len(quicker)
    assert "10% is allowed" in ended.err
    assert files(fp16) == before
    ended = session.quietly("build", "--compare", str(better), "--max-slower", "100000", "--max-drop", "0.02")
    assert ended.status == 0, ended.err


def without_what_compares(old: dict[str, Any], what: str) -> dict[str, Any]:
    timing = next(iter(old["measured"]["latency_us"].values()))
    return {
        "size": {**old, "measured": {**old["measured"], "latency_us": {"3": timing}}},
        "model": {**old, "model": "other_engine"},
        "target": {**old, "target": "production"},
    }[what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("size", r"no latency can be compared: the one engine was timed at batch 3, the other at 1,"),
        (
            "model",
            r"names an engine of `other_engine` for target `embedded`, and what is to be built is: embedded: d",
        ),
        ("target", r"names an engine of `digits_engine` for target `production`, and what is to be built is"),
    ],
)
def test_where_nothing_can_be_compared_that_is_said(
    fp16: Path, at: At, tmp_path: Path, what: str, words: str
) -> None:
    before = files(fp16)
    old = json.loads(before["engines/embedded/digits_engine/1/engine.json"])
    file = tmp_path / "old.json"
    file.write_text(json.dumps(without_what_compares(old, what)))
    ended = at(fp16).quietly("build", "--compare", str(file))
    assert ended.status == 1
    assert "TK986" in ended.err
    assert re.search(words, ended.err)
    assert files(fp16) == before


# What is put into an engine.json at a place, and the words that tell of it.
SPOILED: Mapping[str, tuple[str, Any, str]] = {
    "a time in words": ("measured.latency_us.1", "x", "of batch 1 has no median_us, low_us, high_us above zero"),
    "no time": ("measured.latency_us.1.median_us", None, "of batch 1 has no median_us"),
    "a time of nothing": ("measured.latency_us.1.median_us", 0, "of batch 1 has no median_us"),
    "times that are none": ("measured.latency_us", [1], "its `measured.latency_us` is no mapping"),
    "no times": ("measured.latency_us", {}, "it has no `measured.latency_us` to compare with"),
    "accuracy in words": ("accuracy", "x", "its `accuracy` is no mapping"),
    "a metric in words": ("accuracy.metric.value", "x", "its `accuracy.metric.value` is no number"),
    "a newer one": ("format", 2, "it was written by a newer tritonkit: its format is 2, and 1 is known here"),
}


def spoiled(data: bytes, case: str) -> str:
    """An engine.json with one value changed."""
    manifest = json.loads(data)
    *path, last = SPOILED[case][0].split(".")
    inner = manifest
    for name in path:
        inner = inner[name]
    inner[last] = SPOILED[case][1]
    return json.dumps(manifest)


@pytest.mark.parametrize("case", SPOILED)
def test_a_damaged_file_to_compare_with_is_told_before_anything_is_built(
    fp16: Path, at: At, tmp_path: Path, case: str
) -> None:
    before = files(fp16)
    file = tmp_path / "old.json"
    file.write_text(spoiled(before["engines/embedded/digits_engine/1/engine.json"], case))
    ended = at(fp16).quietly("build", "--compare", str(file))
    assert (ended.status, ended.out) == (1, "")
    assert "old.json is no engine.json: it" in ended.err
    assert SPOILED[case][2] in ended.err
    assert "Traceback" not in ended.err
    assert files(fp16) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("", "is no engine.json: it is empty"),
        ("{", "is no engine.json"),
        ("[]", "is no engine.json"),
        ("[" * 100_000, "its brackets are nested too deeply"),
        ("{}", "it has no `measured`"),
    ],
)
def test_what_is_no_manifest_cannot_be_compared_with(
    fp16: Path, at: At, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text)
    ended = at(fp16).quietly("build", "--compare", str(file))
    assert (ended.status, ended.out) == (1, "")
    assert words in ended.err


# What there is ---------------------------------------------------------------------------------------------


def states(ended: Ended) -> dict[str, str]:
    return {one["model"]: one["state"] for one in json.loads(ended.out)}


def test_edits_make_an_engine_stale_and_render_refuses_it(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert states(session.quietly("engines", "--json")) == {"digits_engine": "not built"}
    assert "there is no target `production`" in session.quietly("engines", "--target", "production").err
    assert session.quietly("engines", "--check", "--target", "embedded").status == 1
    assert session.quietly("engines", "--check").status == 1
    ended = session.quietly("render")
    refused(ended, "TK980", "runs in fp16, and it is not built")
    assert "`tritonkit build" in ended.err
    assert session.quietly("build").status == 0
    assert states(session.quietly("engines", "--json")) == {"digits_engine": "current"}
    assert session.quietly("engines", "--check").status == 0
    assert session.quietly("render").status == 0
    rendered = project.root / "model_repository" / "embedded" / "digits_engine" / "1" / "model.onnx"
    engine = project.root / "engines" / "embedded" / "digits_engine" / "1" / "model.onnx"
    assert rendered.read_bytes() == engine.read_bytes()

    for changes, words in (
        (model(precision="fp16", build={"keep": {"first": 1}}), "build.keep.first: not given, now 1"),
        (model(precision="fp16", accuracy={"floor": 0.9}), "accuracy.floor: 0.98, now 0.9"),
        ({**model(precision="fp16"), "batching": {"max_batch_size": 16, "preferred": []}}, "batch.max: 32, now 16"),
    ):
        write_spec(project.root, changes)
        ended = session.quietly("engines")
        assert "stale" in ended.out
        assert words in " ".join(ended.out.split())
        ended = session.quietly("render")
        refused(ended, "TK981", "was built before something changed")
        assert "`tritonkit build" in ended.err
        assert session.quietly("engines", "--check").status == 1

    write_spec(project.root, model(precision="fp16"))
    (project.root / GATE).write_bytes((project.root / GATE).read_bytes() + b"\0")
    assert "the gate set changed" in " ".join(session.quietly("engines").out.split())


def test_damage_is_found(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert session.quietly("build").status == 0
    engine = project.root / "engines" / "embedded" / "digits_engine" / "1" / "model.onnx"
    whole = engine.read_bytes()
    for spoil in (lambda: engine.write_bytes(whole[:-1] + b"\0"), engine.unlink):
        spoil()
        assert states(session.quietly("engines", "--json")) == {"digits_engine": "damaged"}
        assert session.quietly("engines", "--check").status == 1
        ended = session.quietly("render")
        refused(ended, "TK982", "of the engine of `digits_engine`, model.onnx")
        assert "`tritonkit build" in ended.err
    ended = session.quietly("build")
    assert ended.status == 0
    assert engine.read_bytes() == whole
    assert session.quietly("engines", "--check").status == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((case, words) for case, (_, _, words) in SPOILED.items() if case != "no times"),
        ("", "it is empty"),
        ("{", "it is no JSON"),
        ("[]", "it is no JSON object"),
        ("\udcff", "it is no JSON"),
    ],
)
def test_an_engine_json_that_cannot_be_read_is_damage_to_all(
    fp16: Path, at: At, tmp_path: Path, text: str, words: str
) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    for name, data in files(fp16).items():
        for place in (name, name.replace("embedded", "elsewhere")):  # this one is left over
            (project.root / place).parent.mkdir(parents=True, exist_ok=True)
            (project.root / place).write_bytes(data)
    file = project.root / "engines" / "embedded" / "digits_engine" / "1" / "engine.json"
    said = spoiled(file.read_bytes(), text) if text in SPOILED else text
    file.write_bytes(said.encode(errors="surrogateescape"))
    session = at(project.root)
    listed = session.quietly("engines", "--check", "--json")
    assert listed.status == 1
    assert [one["state"] for one in json.loads(listed.out)] == ["damaged", "left over"]
    assert words in json.loads(listed.out)[0]["why"]
    assert "damaged: its engine.json cannot be read: " in " ".join(session.quietly("engines").out.split())
    refused(session.quietly("render"), "TK982", "the engine of `digits_engine` is damaged: its engine.json cannot")
    refused(session.quietly("lint"), "TK982", "the engine of `digits_engine` is damaged: its engine.json cannot")


def test_what_no_spec_asks_for_is_left_over(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert session.quietly("build").status == 0
    write_spec(project.root, {"name": "figures", **model(precision="fp16")})
    assert states(session.quietly("engines", "--json")) == {
        "figures_engine": "not built",
        "digits_engine": "left over",
    }
