"""How an engine is built: what keeps its precision, what it is calibrated with, TensorRT's own settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from generator.spec.base import InWords, ProjectPath, Strict, TensorName

Dims = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
LayerCount = Annotated[int, Field(ge=0)]
Factory = Annotated[str, InWords(
    r"(?!/)(?!(.*/)?\.\.(/|$))[^:\x00-\x1f]+\.py:[A-Za-z_]\w*",
    "a factory is named `path/file.py:function`, from the project's root", 1024,
)]  # fmt: skip


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
    nms: Literal["standard", "efficient"] = Field(
        "standard",
        description="TensorRT, layout `folded`: who does the step `nms` in the graph. `efficient`: the plugin "
        "EfficientNMS_TRT; in ONNX Runtime it stays ONNX's own operator.",
    )
    int8_by: Literal["qdq", "calibration_cache", "dynamic_range", "tensorrt"] = Field(
        "qdq",
        description="TensorRT, int8: `qdq` is in the graph. The others are for TensorRT 8.6: the ranges as a "
        "calibration cache, or tensor by tensor, or found by TensorRT itself. It chooses the layers then.",
    )
    mixed: bool = Field(
        False,
        description="int8: find the largest set of layers that stays within `accuracy`; the others stay as they are.",
    )
    quantizer: Literal["tritonkit", "modelopt"] = Field(
        "tritonkit",
        description="int8 and fp8: whose Q/DQ. `modelopt`: NVIDIA's package, which finds the ranges itself, by "
        "`minmax` or `entropy`.",
    )
    factory: Factory | None = Field(
        None,
        description="Inductor: a function without arguments that gives the torch.nn.Module to compile instead of the "
        "ONNX file; it answers as that does.",
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
    channels_last: bool | None = Field(
        None,
        description="Inductor: NHWC inside, or NCHW; left out: Inductor decides by the convolutions. Other engines "
        "choose their layouts themselves.",
    )

    @model_validator(mode="after")
    def _what_modelopt_can_do(self) -> Self:
        if self.quantizer == "modelopt":
            if self.mixed:
                raise ValueError(
                    "`mixed` is a search by tritonkit's own quantizer, not by `modelopt`; remove one of them"
                )
            if self.calibration is not None and self.calibration.method == "percentile":
                raise ValueError(
                    "`modelopt` finds ranges by `entropy` or `minmax`, and `calibration.method` is `percentile`"
                )
        return self

    @model_validator(mode="after")
    def _quantised_by_layer(self) -> Self:
        by_layer = {
            "mixed": self.mixed, "keep": self.keep != Keep(), "quantizer: modelopt": self.quantizer == "modelopt",
        }  # fmt: skip
        given = [name for name, there in by_layer.items() if there]
        if self.int8_by != "qdq" and given:
            listed = " and ".join(f"`{name}`" for name in given)
            raise ValueError(
                f"with `int8_by: {self.int8_by}` TensorRT itself chooses the layers, and {listed} needs Q/DQ: "
                "say `int8_by: qdq`, or remove the other"
            )
        return self
