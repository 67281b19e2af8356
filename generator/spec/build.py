"""How an engine is built: what keeps its precision, what it is calibrated with, TensorRT's own settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from generator.spec.base import ProjectPath, Strict, TensorName

Dims = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
LayerCount = Annotated[int, Field(ge=0)]


class Keep(Strict):
    """What stays in fp32 when the precision is lowered."""

    operators: list[str] = Field(
        default_factory=list, description="ONNX operators, as in `[Softmax, LayerNormalization]`."
    )
    nodes: list[str] = Field(default_factory=list, description="Names of nodes of the graph.")
    first: LayerCount = Field(0, description="So many layers with weights, counted from the inputs.")
    last: LayerCount = Field(0, description="So many layers with weights, counted from the outputs.")


class Calibration(Strict):
    """The data that int8's and fp8's ranges are found with; none of it may be in the gate set."""

    data: ProjectPath = Field(description="An .npz with one array a pipeline input.")
    samples: Annotated[int, Field(ge=1, le=100_000)] = Field(512, description="How many of its items, at most.")
    method: Literal["entropy", "minmax", "percentile"] = "entropy"
    percentile: Annotated[float, Field(strict=False, gt=50, le=100)] = Field(
        99.99, description="Of the absolute values, with `method: percentile`."
    )


class Profile(Strict):
    """An optimisation profile: the whole shape (batch included) of each input, at least, usually, and at most."""

    min: dict[TensorName, Dims]
    opt: dict[TensorName, Dims]
    max: dict[TensorName, Dims]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in sorted({*self.min, *self.opt, *self.max}):
            shapes = [shape.get(name) for shape in (self.min, self.opt, self.max)]
            low, usual, high = shapes
            if low is None or usual is None or high is None:
                raise ValueError(f"a profile gives `min`, `opt` and `max` of every input; `{name}` lacks one of them")
            if not len(low) == len(usual) == len(high):
                raise ValueError(f"the shapes of `{name}` differ in length: {low}, {usual}, {high}")
            if any(not a <= b <= c for a, b, c in zip(low, usual, high, strict=True)):
                raise ValueError(f"of `{name}`, min {low}, opt {usual} and max {high} must not fall")
        return self


class Build(Strict):
    """How the engine is built. What is left out is decided from the batching."""

    keep: Keep = Field(default_factory=Keep)
    calibration: Calibration | None = None
    mixed: bool = Field(
        False,
        description="int8: find the largest set of layers that stays within `accuracy`; the others stay as they are.",
    )
    profiles: Annotated[list[Profile], Field(min_length=1)] | None = Field(
        None, description="TensorRT; left out: one, from the batching, with `axes` for the others."
    )
    axes: dict[str, Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]] = Field(
        default_factory=dict,
        description="The least, usual and greatest length of the graph's other dynamic axes, by the axis's name.",
    )
    workspace_mib: Annotated[int, Field(ge=1)] | None = Field(
        None, description="TensorRT's scratch memory while building."
    )
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = Field(None, description="TensorRT's, 0 to 5.")
    timing_cache: ProjectPath | None = Field(None, description="TensorRT's: read, combined and saved.")
    version_compatible: bool = Field(False, description="A TensorRT plan that later versions load too.")
    hardware: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    refit: bool = Field(False, description="A TensorRT plan whose weights can be replaced.")
    plugins: list[ProjectPath] = Field(default_factory=list, description="Libraries of TensorRT plugins.")
    channels_last: bool | None = Field(None, description="NHWC inside; left out: where it pays.")
