"""Models of every kind of field, and the problems of a document that is to be one of them."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

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
