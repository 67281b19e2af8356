from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from generator.load.validate import validate
from generator.load.yaml_tree import parse_bytes
from validated_models import Cat, Colour, Decode, Spec, Strict, long_step, problems_of


def test_a_valid_document() -> None:
    parsed = parse_bytes(
        b"""
name: digits
ratio: 3
path: a/b.onnx
colour: gray
model: {onnx: a.onnx, since: 2024-01-31, finite: 1e-3}
steps: [decode: {to: rgb}, softmax]
smart: [{top_k: 3}, {decode: {to: gray}}]
pet: {kind: cat, lives: 9}
mean: [1, 2.5]
size: auto
pair: [1, 2]
""",
        "f.yaml",
    )
    assert parsed.tree is not None
    spec, problems = validate(parsed.tree, Spec)
    assert problems == []
    assert isinstance(spec, Spec)
    assert (spec.ratio, spec.path, spec.colour, spec.pair) == (3.0, Path("a/b.onnx"), Colour.GRAY, (1, 2))
    assert spec.model is not None
    assert spec.model.since == datetime.date(2024, 1, 31)
    assert spec.pet == Cat(kind="cat", lives=9)


def test_several_problems_of_one_validator() -> None:
    problems = problems_of("batching: {max_batch_size: 2, preferred: [3, 2, 4]}")
    assert [(p.field, p.place.column) for p in problems] == [
        ("batching.preferred[0]", 43),
        ("batching.preferred[2]", 49),
    ]


def test_short_forms_keep_the_path_the_user_would_write() -> None:
    [problem] = problems_of("steps:\n- decode\n")
    assert (problem.code, problem.field, str(problem.place)) == ("TK122", "steps[0].decode.to", "f.yaml:2:3")


def test_what_a_short_form_stands_for_is_unknown() -> None:
    class Short(Strict):
        steps: list[Annotated[Decode, BeforeValidator(long_step)]]

    parsed = parse_bytes(b"steps: [decod, decode]", "f.yaml")
    assert parsed.tree is not None
    _, problems = validate(parsed.tree, Short)
    assert [(p.code, p.field, p.place.column, p.hint) for p in problems] == [
        ("TK122", "steps[0].decode", 9, "add `decode`"),
        ("TK121", "steps[0].decod", 9, "did you mean `decode`?"),
        ("TK122", "steps[1].decode.to", 16, "add `to`"),
    ]


def test_a_tag_that_is_also_a_key() -> None:
    """pydantic's location is pets.cat.cat.lives, of which the second `cat` is the tag, not the field."""
    problems = problems_of("pets: {cat: {kind: cat, cat: 3}}")
    assert [(p.code, p.field, p.place.column) for p in problems] == [
        ("TK122", "pets.cat.lives", 13),
        ("TK121", "pets.cat.cat", 25),
    ]


def test_unions_say_one_thing_for_one_mistake() -> None:
    problems = problems_of(
        "smart:\n- decod: {to: rgb}\n- {}\n- {decode: {to: rgb}, resiz: 1}\n- {resize: [1, 2], top_k: 0}"
    )
    assert [(p.code, p.field, p.place.line) for p in problems] == [
        ("TK121", "smart[0].decod", 2),
        ("TK122", "smart[1]", 3),
        ("TK121", "smart[2].resiz", 4),
        ("TK121", "smart[3].top_k", 5),
    ]
    assert problems[0].hint == "did you mean `decode`?"
    assert problems[1].message == "found an empty mapping; valid: a mapping with one of `decode`, `resize`, `top_k`"


def test_missing_field_names_its_choices_and_description() -> None:
    class Described(Strict):
        wait_us: int = Field(description="How long a request may wait,\n  in microseconds.")
        kind: Literal["cpu", "gpu"]

    parsed = parse_bytes(b"{}", "f.yaml")
    assert parsed.tree is not None
    _, problems = validate(parsed.tree, Described)
    assert [(p.message, p.hint) for p in problems] == [
        (
            "the field `wait_us` is missing; valid: a whole number",
            "add `wait_us`: How long a request may wait, in microseconds.",
        ),
        ("the field `kind` is missing; valid: `cpu`, `gpu`", "add `kind`"),
    ]


def test_nothing_is_concluded_from_values_that_are_not_known() -> None:
    parsed = parse_bytes(b"a: &x b\nname: *x\nbatching: {preferred: [1, *x, y]}\ncount: 017\non: 3", "f.yaml")
    assert parsed.tree is not None
    assert [p.code for p in parsed.problems] == ["TK113", "TK113", "TK113", "TK117"]
    _, problems = validate(parsed.tree, Spec)
    assert {(p.code, p.field) for p in problems} == {
        ("TK123", "batching.preferred[2]"),
        ("TK123", "on"),
        ("TK121", "a"),
    }


def test_recursive_models() -> None:
    text = "a: " + "{a: " * 30 + "{b: 1}" + "}" * 30
    parsed = parse_bytes(text.encode(), "f.yaml")
    assert parsed.tree is not None
    _, problems = validate(parsed.tree, Nested)
    assert [(p.code, p.field) for p in problems] == [("TK123", ".".join(["a"] * 31 + ["b"]))]


class Nested(Strict):
    a: Nested | None = None
    b: str = ""


def test_a_flood_of_errors_is_cut_and_fast() -> None:
    text = "smart: [" + "{x: 1}," * 30_000 + "]"
    parsed = parse_bytes(text.encode(), "f.yaml")
    assert parsed.tree is not None
    start = time.process_time()
    _, problems = validate(parsed.tree, Spec)
    assert time.process_time() - start < 10
    assert {p.code for p in problems[:-1]} == {"TK121"}
    assert problems[-1].code == "TK118"
    assert 500 < len(problems) < 5_000
