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


TokenCount = Annotated[int, Field(ge=1, le=65_536)]


class Tokenize(Strict):
    """Texts become token numbers and their mask, [tokens] each, for engines with two inputs or three."""

    tokenizer: ProjectPath = Field(description="A tokenizer.json, as the library `tokenizers` writes it.")
    max_tokens: TokenCount = Field(
        256, description="A longer text is cut; special tokens count. `limits.max_bytes` bounds what is read at all."
    )
    buckets: Annotated[list[TokenCount], Field(min_length=1)] | None = Field(
        None,
        description="A request is padded to the least of these lengths that holds its longest text, so that those "
        "of like length share a batch; left out: powers of two from 16, and `max_tokens`.",
    )
    dtype: Literal["int32", "int64"] = Field("int32", description="Of all outputs; TensorRT before 10 has no int64.")
    ids_output: TensorName = "input_ids"
    mask_output: TensorName = "attention_mask"
    types_output: TensorName | None = Field(None, description="Token types, where the engine asks for them.")

    @model_validator(mode="after")
    def _buckets_hold_all(self) -> Self:
        found = self.lengths()
        if found != sorted(set(found)) or found[-1] < self.max_tokens:
            raise ValueError(f"`buckets` {found} must rise and end at {self.max_tokens} (`max_tokens`) or above")
        return self

    def lengths(self) -> list[int]:
        """The buckets, those left out filled in."""
        powers = [length for length in (2**n for n in range(4, 17)) if length < self.max_tokens]
        return self.buckets or [*powers, self.max_tokens]

    def outputs(self) -> list[str]:
        """The names of the tensors, in order."""
        return [name for name in (self.ids_output, self.mask_output, self.types_output) if name is not None]


class Nms(Strict):
    """Of a detector's overlapping boxes the best ones, best first: boxes, labels, scores, and how many there are."""

    boxes: TensorName = Field("boxes", description="The tensor of boxes [anchors, 4], two opposite corners each.")
    scores: TensorName = Field("scores", description="The tensor of scores [anchors, classes].")
    max_detections: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Rows of the outputs; those beyond the count are zeros."
    )
    iou_threshold: Annotated[float, Field(strict=False, ge=0, le=1)] = Field(
        0.5, description="A box goes when it overlaps a better one by more (intersection over union)."
    )
    score_threshold: Number = Field(0.3, description="A score up to this is no detection.")
    per_class: bool = Field(True, description="A box goes for better ones of its class alone; else of any class.")
    labels: ProjectPath | None = Field(None, description="A file with one label a line; without it, class numbers.")
    boxes_output: TensorName = "boxes"
    label_output: TensorName = "label"
    score_output: TensorName = "score"
    count_output: TensorName = "count"

    def outputs(self) -> list[str]:
        """The names of the tensors, in order."""
        return [self.boxes_output, self.label_output, self.score_output, self.count_output]


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
    tokenize: Tokenize | None = None
    nms: Nms | None = None

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
