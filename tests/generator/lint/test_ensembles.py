"""What the corpus cannot say of the rules about ensembles: their words, their edits, and how long they take."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest

from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder, MemoryFolder
from generator.lint.server import EMBEDDED
from generator.problems import Severity

MODEL = """backend: "python"
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
"""
CODE = b"""class TritonPythonModel:
    def execute(self, requests):
        return []
"""


def step(model: str, source: str, target: str, *, version: str = "model_version: -1") -> str:
    maps = f'input_map {{ key: "x" value: "{source}" }} output_map {{ key: "y" value: "{target}" }}'
    return f'  step {{ model_name: "{model}" {version} {maps} }}\n'


def ensemble(*steps: str, source: str = "a", target: str = "c") -> bytes:
    tensors = "".join(
        f'{where} [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ 4 ] }} ]\n'
        for where, name in (("input", source), ("output", target))
    )
    return f'platform: "ensemble"\n{tensors}ensemble_scheduling {{\n{"".join(steps)}}}\n'.encode()


def judged(config: bytes, **more: bytes) -> Checked:
    files = {"both/config.pbtxt": config, "both/1/": b""}
    for name in ("adder", "scaler"):
        files |= {f"{name}/config.pbtxt": MODEL.format(dims=4).encode(), f"{name}/1/model.py": CODE}
    for name, text in more.items():
        files |= {f"{name}/config.pbtxt": text, f"{name}/1/": b""}
    return check([MemoryFolder(files, "")], EMBEDDED)


@pytest.mark.parametrize(
    ("config", "code", "words", "hint"),
    [
        (ensemble(step("ader", "a", "c")), "TK690", "`ader` is not in the repository", "did you mean `adder`?"),
        (ensemble(step("adder", "a", "b"), step("scaler", "bb", "c")), "TK687", "no step writes tensor `bb`", "`b`"),
        (ensemble(step("adder", "a", "c"), source="image"), "TK684", "input `image`", "steps read `a`"),
        (ensemble(step("adder", "a", "c"), target="scores"), "TK685", "output `scores`", "writes `c`"),
        (ensemble(step("adder", "a", "c").replace('"x"', '"xx"')), "TK695", "no input `xx`", "did you mean `x`?"),
        (ensemble(step("adder", "a", "c").replace('"y"', '"z"')), "TK696", "no output `z`", "did you mean `y`?"),
        (
            ensemble(step("adder", "a", "b"), step("both", "b", "c").replace('"x"', '"a"').replace('"y"', '"c"')),
            "TK691", "`both` → `both`", "run the models themselves",
        ),
    ],
)  # fmt: skip
def test_one_cause_is_one_error_with_what_was_meant(config: bytes, code: str, words: str, hint: str) -> None:
    [problem] = [p for p in judged(config).problems if p.severity is Severity.ERROR]
    assert problem.code == code
    assert words in problem.message
    assert hint in problem.hint


def test_an_omitted_version_is_mended_as_the_newest() -> None:
    config = ensemble(step("adder", "a", "c", version=""))
    checked = judged(config)
    [problem] = checked.problems
    [edit] = checked.edits[problem]
    text = config.decode()
    mended = text[: edit.start] + edit.text + text[edit.end :]
    assert 'model_name: "adder" model_version: -1' in mended
    assert not judged(mended.encode()).problems


def test_a_type_without_a_name_is_told_by_its_number() -> None:
    config = ensemble(step("adder", "a", "c")).replace(b"TYPE_FP32", b"99", 1)
    told = [p.message for p in judged(config).problems if p.code == "TK698"]
    assert told == ["tensor `a` is TYPE_FP32 for `adder` and TYPE_99 for `both`"]


def test_all_ensembles_above_a_refused_model_are_refused_with_a_note() -> None:
    outer = ensemble('  step { model_name: "both" model_version: -1 '
                     'input_map { key: "a" value: "a" } output_map { key: "c" value: "c" } }\n')  # fmt: skip
    checked = judged(ensemble(step("adder", "a", "c")), outer=outer, adder=b'backend: "python"\nmax_batch_size: -1\n')
    assert {"both", "outer", "adder"} <= checked.refused
    notes = {p.place.file: p.message for p in checked.problems if p.code == "TK792"}
    assert notes["both/config.pbtxt"].endswith("`adder`")
    assert notes["outer/config.pbtxt"].endswith("`both`")
    assert all(p.severity is Severity.NOTE for p in checked.problems if p.code == "TK792")


def test_a_model_whose_file_cannot_be_read_is_told_once_and_noted_above(tmp_path: Path) -> None:
    for name in ("both", "adder"):
        (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / "both" / "config.pbtxt").write_bytes(ensemble(step("adder", "a", "c")))
    os.mkfifo(tmp_path / "adder" / "config.pbtxt")
    checked = check([DiskFolder(tmp_path)], EMBEDDED)
    assert [p.code for p in checked.problems if p.severity is Severity.ERROR] == ["TK501"]
    assert checked.refused == {"both", "adder"}
    assert "TK792" in {p.code for p in checked.problems}


def test_the_order_in_which_a_map_is_kept_does_not_matter() -> None:
    names = "abcdefgh"
    maps = "".join(f'output_map {{ key: "{name}" value: "t" }} ' for name in names)
    config = ensemble(
        f'  step {{ model_name: "adder" model_version: -1 input_map {{ key: "x" value: "a" }} {maps}}}\n'
    )
    columns = [p.place.column for p in judged(config).problems if p.code == "TK683"]
    assert len(columns) == len(names) - 1
    assert columns == sorted(columns)


def test_a_long_chain_and_many_branches_take_no_more_than_their_share() -> None:
    count = 2000
    chain = [step("adder", f"t{i}", f"t{i + 1}") for i in range(count)]
    circle = [step("adder", f"u{i}", f"u{(i + 1) % count}") for i in range(count)]
    branches = [step("adder", "a", f"b{i}") for i in range(count)]
    for steps in (chain, circle, branches):
        start = time.monotonic()
        judged(ensemble(*steps, source="t0", target=f"t{count}"))
        assert time.monotonic() - start < 20


def test_nested_ensembles_end_even_where_every_one_has_two_ways_down() -> None:
    levels = 200
    files: dict[str, bytes] = {}
    for level, below in itertools.pairwise(range(levels, -1, -1)):
        text = ensemble(
            f'  step {{ model_name: "e{below}" model_version: -1 input_map {{ key: "a" value: "a" }} '
            'output_map { key: "c" value: "b" } }\n'
            f'  step {{ model_name: "e{below}" model_version: -1 input_map {{ key: "a" value: "b" }} '
            'output_map { key: "c" value: "c" } }\n'
        )
        files[f"e{level}"] = text
    start = time.monotonic()
    checked = judged(ensemble(step("adder", "a", "c")), e0=ensemble(step("adder", "a", "c")), **files)
    assert time.monotonic() - start < 20
    assert not checked.problems


@pytest.mark.parametrize(("count", "way"), [(3, "`e1` → `e2` → `e0` → `e1`"), (12, "`e7` → `e8` → 4 more → `e1`")])
def test_each_ensemble_of_a_circle_is_told_the_way_around_from_itself(count: int, way: str) -> None:
    files: dict[str, bytes | None] = {}
    for i in range(count):
        files |= {f"e{i}/config.pbtxt": ensemble(step(f"e{(i + 1) % count}", "a", "c")), f"e{i}/1/": b""}
    files |= {"top/config.pbtxt": ensemble(step("e1", "a", "c")), "top/1/": b""}
    checked = check([MemoryFolder(files, "")], EMBEDDED)
    told = {p.place.file.partition("/")[0]: p.message for p in checked.problems if p.code == "TK691"}
    assert len(told) == count + 1
    assert told["e1"].startswith("ensembles are made of each other: `e1`")
    assert told["e1"].endswith(way)
    assert told["top"].startswith("this ensemble stands above a circle of ensembles (`e")


def test_of_very_many_inputs_that_are_missing_the_first_are_told() -> None:
    inputs = "".join(f'input {{ name: "i{i}" data_type: TYPE_FP32 dims: 4 }}\n' for i in range(50))
    checked = judged(ensemble(step("wide", "a", "c")), wide=(MODEL.format(dims=4) + inputs).encode())
    told = [p.message for p in checked.problems if p.code == "TK697"]
    assert told[:2] == [f"input `i{i}` of model `wide` gets no tensor" for i in range(2)]
    assert told[-1] == "30 more inputs of model `wide` get no tensor"
    assert len(told) == 21
