from __future__ import annotations

import datetime
import enum
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from generator.load.errors import FieldError, FieldsError
from generator.load.validate import validate
from generator.load.yaml_tree import parse_bytes
from generator.problems import Problem


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Colour(enum.StrEnum):
    GRAY = "gray"
    RGB = "rgb"


class DecodeTo(Strict):
    to: Literal["gray", "rgb"]


class Decode(Strict):
    decode: DecodeTo


class Resize(Strict):
    resize: tuple[int, int]


class Softmax(Strict):
    softmax: dict[str, int]


class TopK(Strict):
    top_k: Annotated[int, Field(gt=0)]


def step_name(value: Any) -> Any:
    return next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None


def long_step(value: Any) -> Any:
    """`softmax` for `{softmax: {}}`, as a spec's short form has it."""
    return {value: {}} if isinstance(value, str) else value


class Cat(Strict):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(Strict):
    kind: Literal["dog"]
    bark: bool = False


Step = Annotated[
    Annotated[Decode, Tag("decode")] | Annotated[Softmax, Tag("softmax")],
    Discriminator(step_name),
    BeforeValidator(long_step),
]
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Queue(Strict):
    max_size: int = 0
    timeout_us: int = Field(default=0, description="How long a request may wait,\n  in microseconds.")


class Batching(Strict):
    max_batch_size: int = Field(default=1, ge=1, le=64)
    preferred: list[int] = Field(default_factory=list)
    queue: Queue | None = None

    @model_validator(mode="after")
    def _fits(self) -> Batching:
        wrong = [
            FieldError("TK299", f"{n} is more than max_batch_size", "lower it", ("preferred", i))
            for i, n in enumerate(self.preferred)
            if n > self.max_batch_size
        ]
        if wrong:
            raise FieldsError(wrong)
        return self


class Model(Strict):
    onnx: str
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    big: Annotated[int, Field(multiple_of=8)] = 8
    finite: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    labels: list[str] = Field(default=[], min_length=2, max_length=3)
    short: str = Field(default="", max_length=3)
    named: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")] = Field("a", description="Small letters.")
    since: datetime.date | None = None
    required: Annotated[dict[str, int], Field(min_length=1)] = Field(default={"a": 1})

    @field_validator("onnx")
    @classmethod
    def _ends(cls, value: str) -> str:
        if not value.endswith(".onnx"):
            raise ValueError(f"`{value}` is not an .onnx file")
        return value

    @field_validator("short")
    @classmethod
    def _custom(cls, value: str) -> str:
        if value == "no":
            raise PydanticCustomError("no_no", "the word `{word}` is taken", {"word": value})
        assert value != "as", "asserted"
        assert value != "bad"
        return value


class Spec(Strict):
    name: str = ""
    server: str = ""
    ratio: float = 0.0
    count: int = 0
    on: bool = False
    path: Path = Path()
    colour: Colour = Colour.RGB
    model: Model | None = None
    models: dict[Annotated[str, StringConstraints(pattern="^[a-z]+$")], Model] = {}
    batching: Batching = Batching()
    steps: list[Step] = []
    smart: list[Decode | Resize | TopK] = []
    pet: Pet | None = None
    pets: dict[str, Pet] = {}
    mean: float | list[float] = 0.0
    size: Literal["auto", "none"] | Annotated[int, Field(gt=0)] = 1
    pair: tuple[int, int] = (0, 0)
    choice: Literal[1, 2, True, "one"] = 1
    function: Callable[[], int] | None = None  # has no JSON schema

    @model_validator(mode="after")
    def _rules(self) -> Spec:
        if self.name == "plain":
            raise ValueError("a plain sentence")
        if self.name == "empty":
            raise ValueError
        if self.name == "key":
            raise FieldError("TK298", "bad key", path=("pets", "c"), at_key=True)
        if self.name == "gone":
            raise FieldError("TK298", "not there", path=("batching", "queue", "max_size"))
        return self


def problems_of(text: str) -> list[Problem]:
    parsed = parse_bytes(text.encode(), "f.yaml")
    assert parsed.problems == []
    assert parsed.tree is not None
    value, problems = validate(parsed.tree, Spec)
    assert (value is None) == bool(problems)
    return problems


TABLE: list[tuple[str, str, str, str, str, str]] = [
    # unknown and missing fields
    ("nmae: x", "TK121", "1:1", "nmae", "unknown field `nmae`; fields here: `name`, ", "did you mean `name`?"),
    ("a: 1", "TK121", "1:1", "a", "unknown field `a`; fields here", "remove it"),
    (
        "batching: {queue: {maxSize: 1}}",
        "TK121",
        "1:20",
        "batching.queue.maxSize",
        "unknown field `maxSize`; fields of `batching.queue`: `max_size`, `timeout_us`",
        "did you mean `max_size`?",
    ),
    (
        "batching: {max-batch-size: 1}",
        "TK121",
        "1:12",
        "batching.max-batch-size",
        "",
        "did you mean `max_batch_size`?",
    ),
    ("ab c: 1", "TK121", "1:1", '["ab c"]', "unknown field `ab c`", "remove it"),
    ("x" * 200 + ": 1", "TK121", "1:1", "x" * 200, "unknown field `" + "x" * 59 + "…`; ", "remove it"),
    ("name: x\nmodel: {}", "TK122", "2:8", "model.onnx", "the field `onnx` is missing; valid: text", "add `onnx`"),
    ("models:\n  a:\n    short: b", "TK122", "3:5", "models.a.onnx", "the field `onnx` is missing", "add `onnx`"),
    ("steps:\n- decode: {}", "TK122", "2:11", "steps[0].decode.to", "; valid: `gray`, `rgb`", "add `to`"),
    # types
    (
        "server: 24.10",
        "TK123",
        "1:9",
        "server",
        "found the number `24.10`; valid: text",
        'quote it: `server: "24.10"`; unquoted, 24.10 is the number 24.1',
    ),
    ("server: 24", "TK123", "1:9", "server", "found the number `24`; valid: text", 'quote it: `server: "24"`'),
    ("server: True", "TK123", "1:9", "server", "found `true`; valid: text", 'quote it: `server: "True"`'),
    ("server:", "TK123", "1:8", "server", "found nothing; valid: text", "write a value, or remove the line"),
    ("server: ~", "TK123", "1:9", "server", "found `~`; valid: text", "write a value, or remove the line"),
    ("server: [a]", "TK123", "1:9", "server", "found a list of 1 item; valid: text", ""),
    ("server: {a: 1, b: 2}", "TK123", "1:9", "server", "found a mapping with `a`, `b`; valid: text", ""),
    ("path: 3", "TK123", "1:7", "path", "found the number `3`; valid: text", 'quote it: `path: "3"`'),
    ("count: '8'", "TK123", "1:8", "count", "found the text `8`; valid: a whole number", "write `count: 8`"),
    ("count: 1_000", "TK123", "1:8", "count", "found the text `1_000`; valid: a whole", "write `count: 1000`"),
    ("count: 1e6", "TK123", "1:8", "count", "found the number `1e6`; valid: a whole", "write `count: 1000000`"),
    ("count: 1.5", "TK123", "1:8", "count", "found the number `1.5`; valid: a whole number", ""),
    ("count: true", "TK123", "1:8", "count", "found `true`; valid: a whole number", ""),
    ("count: ''", "TK123", "1:8", "count", "found empty text; valid: a whole number", ""),
    ("ratio: '3.5'", "TK123", "1:8", "ratio", "found the text `3.5`; valid: a number", "write `ratio: 3.5`"),
    ("ratio: 10ms", "TK123", "1:8", "ratio", "found the text `10ms`; valid: a number", ""),
    ("on: yes", "TK123", "1:5", "on", "found the text `yes`; valid: true or false", "write `on: true`"),
    ("on: Off", "TK123", "1:5", "on", "found the text `Off`; valid: true or false", "write `on: false`"),
    ("on: 1", "TK123", "1:5", "on", "found the number `1`; valid: true or false", ""),
    ("batching: {preferred: 8}", "TK123", "1:23", "batching.preferred", "; valid: a list", "write `preferred: [8]`"),
    ("batching: {preferred: [8, b]}", "TK123", "1:27", "batching.preferred[1]", "found the text `b`", ""),
    ("batching: {preferred: [1.0]}", "TK123", "1:24", "batching.preferred[0]", "the number `1.0`", "write `- 1`"),
    ("batching: []", "TK123", "1:11", "batching", "found an empty list; valid: a mapping", ""),
    ("model: x.onnx", "TK123", "1:8", "model", "found the text `x.onnx`; valid: a mapping", ""),
    ("models: {a: {onnx: a.onnx, required: []}}", "TK123", "1:38", "models.a.required", "; valid: a mapping", ""),
    ("mean: a", "TK123", "1:7", "mean", "found the text `a`; valid: a number or a list", ""),
    ("mean: '1'", "TK123", "1:7", "mean", "the text `1`; valid: a number or a list", "write `mean: 1`"),
    ("mean: [1, a]", "TK123", "1:11", "mean[1]", "found the text `a`; valid: a number", ""),
    ("pair: [1, x]", "TK123", "1:11", "pair[1]", "found the text `x`; valid: a whole number", ""),
    ("smart: [x]", "TK123", "1:9", "smart[0]", "found the text `x`; valid: a mapping", ""),
    ("smart: [{resize: [a, 1]}]", "TK123", "1:19", "smart[0].resize[0]", "found the text `a`; valid: a whole", ""),
    ("pet: 5", "TK123", "1:6", "pet", "found the number `5`; valid: a mapping", ""),
    # choices
    ("colour: grey", "TK124", "1:9", "colour", "found the text `grey`; valid: `gray`, `rgb`", "did you mean `gray`?"),
    ("colour: RGB", "TK124", "1:9", "colour", "", "did you mean `rgb`?"),
    ("colour: 3", "TK124", "1:9", "colour", "found the number `3`; valid: `gray`, `rgb`", ""),
    ("model: {onnx: a.onnx, precision: fp61}", "TK124", "1:34", "model.precision", "", "did you mean `fp16`?"),
    ("model: {onnx: a.onnx, precision: int8}", "TK124", "1:34", "model.precision", "`fp32`, `fp16`, `bf16`", ""),
    ("choice: '1'", "TK124", "1:9", "choice", "valid: `1`, `2`, `true`, `one`", "write `choice: 1`"),
    ("choice: [1]", "TK124", "1:9", "choice", "found a list of 1 item; valid: `1`", ""),
    ("size: aut", "TK124", "1:7", "size", "the text `aut`; valid: `auto`, `none` or a whole", "did you mean `auto`?"),
    ("size: 1.5", "TK123", "1:7", "size", "the number `1.5`; valid: `auto`, `none` or a whole", ""),
    ("smart: [{decode: {to: grey}}]", "TK124", "1:23", "smart[0].decode.to", "", "did you mean `gray`?"),
    ("steps: [{decode: {to: grey}}]", "TK124", "1:23", "steps[0].decode.to", "", "did you mean `gray`?"),
    (
        "steps: [{decod: {}}]",
        "TK124",
        "1:10",
        "steps[0].decod",
        "`decod`; valid: `decode`, `s",
        "did you mean `decode`?",
    ),
    ("steps: [a]", "TK124", "1:9", "steps[0]", "found `a`; valid: `decode`, `softmax`", ""),
    ("steps: [5]", "TK124", "1:9", "steps[0]", "the number `5`, which fits none of the forms", ""),
    ("steps: [{}]", "TK124", "1:9", "steps[0]", "valid: a mapping with one of `decode`, `softmax`", ""),
    ("pet: {kind: cow}", "TK124", "1:13", "pet.kind", "found `cow`; valid: `cat`, `dog`", ""),
    ("pets: {cat: {kind: dgo}}", "TK124", "1:20", "pets.cat.kind", "", ""),
    # numbers, lengths, forms
    ("batching: {max_batch_size: 0}", "TK125", "1:28", "batching.max_batch_size", "; valid: from 1 to 64", ""),
    ("batching: {max_batch_size: 65}", "TK125", "1:28", "batching.max_batch_size", "; valid: from 1 to 64", ""),
    ("model: {onnx: a.onnx, floor: 1}", "TK125", "1:30", "model.floor", "greater than 0 and less than 1", ""),
    ("model: {onnx: a.onnx, big: 9}", "TK125", "1:28", "model.big", "the number `9`; valid: a multiple of 8", ""),
    ("model: {onnx: a.onnx, finite: .inf}", "TK125", "1:31", "model.finite", "`.inf`; valid: a finite number", ""),
    ("size: 0", "TK125", "1:7", "size", "found the number `0`; valid: greater than 0", ""),
    ("smart: [{top_k: -1}]", "TK125", "1:17", "smart[0].top_k", "`-1`; valid: greater than 0", ""),
    (
        "model: {onnx: a.onnx, labels: [a]}",
        "TK126",
        "1:31",
        "model.labels",
        "a list of 1 item; valid: at least 2 items",
        "",
    ),
    ("model: {onnx: a.onnx, labels: [a, b, c, d]}", "TK126", "1:31", "model.labels", "valid: at most 3 items", ""),
    (
        "model: {onnx: a.onnx, short: abcd}",
        "TK126",
        "1:30",
        "model.short",
        "text of 4 characters; valid: at most 3",
        "",
    ),
    (
        "model: {onnx: a.onnx, required: {}}",
        "TK126",
        "1:33",
        "model.required",
        "of 0 fields; valid: at least 1 field",
        "",
    ),
    ("pair: [1]", "TK126", "1:7", "pair[1]", "item 2 of the list is missing", "add it"),
    ("pair: [1, 2, 3]", "TK126", "1:7", "pair", "a list of 3 items; valid: at most 2 items", ""),
    ("model: {onnx: a.onnx, named: A b}", "TK127", "1:30", "model.named", "matches `^[a-z]+$`", "Small letters."),
    ("models: {A: {onnx: a.onnx}}", "TK127", "1:10", "models.A", "the key `A`; valid: text that matches", ""),
    # rules
    ("model: {onnx: a.trt}", "TK128", "1:15", "model.onnx", "`a.trt` is not an .onnx file", ""),
    ("model: {onnx: a.onnx, short: 'no'}", "TK128", "1:30", "model.short", "the word `no` is taken", ""),
    ("model: {onnx: a.onnx, short: as}", "TK128", "1:30", "model.short", "asserted", ""),
    ("model: {onnx: a.onnx, short: bad}", "TK128", "1:30", "model.short", "", ""),
    ("count: 1\nname: plain", "TK128", "1:1", "", "a plain sentence", ""),
    ("name: empty", "TK128", "1:1", "", "the value breaks a rule of this field", ""),
    ("pets: {c: {kind: dog}}\nname: key", "TK298", "1:8", "pets.c", "bad key", ""),
    ("batching: {queue: {}}\nname: gone", "TK298", "1:19", "batching.queue.max_size", "not there", ""),
    ("batching: {preferred: [1, 2]}", "TK299", "1:27", "batching.preferred[1]", "2 is more than", "lower it"),
    # the rest of pydantic's
    ("model: {onnx: a.onnx, since: 2024-13-01}", "TK123", "1:30", "model.since", "; valid: a date such as", ""),
    ("function: a", "TK129", "1:11", "function", "found the text `a`; input should be callable", ""),
]


@pytest.mark.parametrize(("text", "code", "at", "field", "message", "hint"), TABLE)
def test_one_problem(*, text: str, code: str, at: str, field: str, message: str, hint: str) -> None:
    problems = problems_of(text)
    assert [(p.code, str(p.place), p.field) for p in problems] == [(code, f"f.yaml:{at}", field)]
    assert message in problems[0].message
    assert problems[0].hint == hint


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
