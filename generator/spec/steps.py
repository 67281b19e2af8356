"""The steps of pre- and post-processing. Each has a class of the same name in tritonkit_runtime.steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from generator.spec.base import DataType, ProjectPath, Strict, TensorName


class Decode(Strict):
    """PNG or JPEG bytes become images, height x width x channels, UINT8."""

    to: Literal["gray", "rgb"] = Field("rgb", description="One channel or three.")


Size = Annotated[int, Field(ge=1, le=16384)]


class Resize(Strict):
    """Images of any size become images of one size."""

    size: Annotated[list[Size], Field(min_length=2, max_length=2)] = Field(description="[height, width]")
    method: Literal["linear", "area", "cubic", "nearest"] = "linear"


Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(strict=False, gt=0, allow_inf_nan=False)]


class Normalize(Strict):
    """(x - mean) / std, in FP32; one number, or one a channel (values of an image are 0 to 255)."""

    mean: Number | list[Number] = 0.0
    std: PositiveNumber | list[PositiveNumber] = 1.0


class ChannelsFirst(Strict):
    """Height x width x channels becomes channels x height x width."""


class Cast(Strict):
    """Another element type."""

    to: DataType


class Reshape(Strict):
    """Another shape with as many values, without the batch axis."""

    dims: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class Softmax(Strict):
    """Scores become probabilities along the last axis."""


class TopK(Strict):
    """The k best classes of the last axis, best first, and their scores."""

    k: Annotated[int, Field(ge=1)] = 1
    labels: ProjectPath | None = Field(None, description="A file with one label a line; without it, class numbers.")
    label_output: TensorName = "label"
    score_output: TensorName = "score"


def _bare_name(value: Any) -> Any:
    """`- softmax` is short for `- softmax: {}`."""
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, dict):
        return {key: {} if inner is None else inner for key, inner in value.items()}
    return value


class StepChoice(Strict):
    """One step: exactly one of these."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"minProperties": 1, "maxProperties": 1}
    )

    decode: Decode | None = None
    resize: Resize | None = None
    normalize: Normalize | None = None
    channels_first: ChannelsFirst | None = None
    cast: Cast | None = None
    reshape: Reshape | None = None
    softmax: Softmax | None = None
    top_k: TopK | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            found = ", ".join(f"`{n}`" for n in sorted(self.model_fields_set)) or "none"
            raise ValueError(f"a step is exactly one of {step_names()}; found {found}: write one step a list item")
        return self

    @property
    def name(self) -> str:
        """The step's name, such as `decode`."""
        return next(iter(self.model_fields_set))

    @property
    def parameters(self) -> Strict:
        """The step's own model."""
        chosen: Strict = getattr(self, self.name)
        return chosen


Step = Annotated[StepChoice, BeforeValidator(_bare_name)]


def step_names() -> str:
    """All step names, for messages."""
    return ", ".join(f"`{name}`" for name in StepChoice.model_fields)
