"""Models: the one of the short form, and those of the full form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from generator.spec.base import Engine, InWords, ModelName, Precision, ProjectPath, Strict, TensorName
from generator.spec.build import Build
from generator.spec.serving import Batching, Buffers, CudaGraphs, InstanceGroup, Metrics, Versions, Warmup
from generator.spec.steps import Step
from generator.spec.tensors import TensorSpec

StepClass = Annotated[str, InWords(
    r"(?!/)(?!(.*/)?\.\.(/|$))[^:\x00-\x1f]+:[A-Za-z_]\w*",
    "a class is named `path/file.py:Class`, from the project's root, or `module:Class`", 1024,
)]  # fmt: skip
VersionNumber = Annotated[str, InWords(r"[1-9][0-9]{0,17}", "a version is a whole number from 1 on", 18)]
# One file, which is version 1, or a file by version.
OnnxFiles = ProjectPath | Annotated[dict[VersionNumber, ProjectPath], Field(min_length=1)]
MADE_BY = "A Python script that writes the ONNX file; `tritonkit build` runs it where the file is not there."
Share = Annotated[float, Field(strict=False, ge=0, le=1)]
Metric = Literal["top1", "f1", "cosine"]
# Any ModelConfig field in Triton's own words; checked against the protobuf by generator.config.extra.
Config = dict[str, Any]


def onnx_versions(onnx: str | Mapping[str, str]) -> dict[int, str]:
    """The ONNX file of every version, the oldest first; a file without a version is version 1."""
    if isinstance(onnx, str):
        return {1: onnx}
    return dict(sorted((int(version), path) for version, path in onnx.items()))


class Accuracy(Strict):
    """The gate: what the answers are compared with, and how bad they may be."""

    data: ProjectPath = Field(description="An .npz with one array a pipeline input, and `labels`.")
    metric: Metric = Field(
        "top1",
        description="`top1`: the share of labels that come first; `f1`: of detected boxes and their labels; "
        "`cosine`: the least similarity of an item's outputs to those of FP32, which needs no labels.",
    )
    floor: Share = Field(description="The lowest accuracy that is served.")
    max_drop: Share = Field(0.005, description="How far below FP32 a lower precision may fall.")
    min_cosine: Share | None = Field(
        None, description="Of the engine's outputs to those of FP32, the least of any item."
    )
    min_snr_db: Annotated[float, Field(strict=False)] | None = Field(
        None, description="Signal to noise of the engine's outputs against FP32, in decibels."
    )
    min_top1_agreement: Share | None = Field(None, description="How often the largest output is that of FP32.")


class Serving(Strict):
    """What any model may say of how it is served."""

    versions: Versions | None = None
    warmup: list[Warmup] = Field(default_factory=list)
    response_cache: bool = False
    cuda_graphs: CudaGraphs | None = None
    metrics: Metrics | None = None
    parameters: dict[str, str] = Field(default_factory=dict, description="Triton's model parameters.")
    config: Config = Field(
        default_factory=dict, description="Any other field of Triton's ModelConfig, in Triton's own words."
    )


class EngineModel(Serving):
    """The short form's model: an ONNX file and what runs it."""

    onnx: OnnxFiles = Field(description="An ONNX file, or one by version: `{1: old.onnx, 2: new.onnx}`.")
    engine: Engine = "onnxruntime"
    precision: Precision = "fp32"
    accuracy: Accuracy | None = None
    build: Build | None = None
    buffers: Buffers | None = None
    made_by: ProjectPath | None = Field(None, description=MADE_BY)


class Model(Serving):
    """A model of the full form: exactly one of `onnx`, `steps`, `python`, `files`."""

    name: ModelName | None = Field(None, description="Its name in the repository; else PIPELINE_KEY.")
    onnx: OnnxFiles | None = Field(None, description="An ONNX file, or one by version, run by `engine`.")
    engine: Engine | None = None
    precision: Precision | None = None
    accuracy: Accuracy | None = None
    build: Build | None = Field(None, description="How the engine is built.")
    buffers: Buffers | None = None
    made_by: ProjectPath | None = Field(None, description=MADE_BY)
    steps: list[Step] | None = Field(None, description="Built-in steps, one after the other.")
    python: StepClass | None = Field(
        None,
        description="Your own step class: `path/file.py:Class` from the project's root, or `module:Class`.",
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="What the class is constructed with.")
    files: ProjectPath | None = Field(
        None,
        description="A directory copied as it is, without hidden files; say `backend` or `platform` under `config` "
        "(`backend: ''`: the server goes by the names of the files).",
    )
    inputs: dict[TensorName, TensorSpec] = Field(
        default_factory=dict, description="Its tensors. Of `files` without a `flow` left out: the pipeline's."
    )
    outputs: dict[TensorName, TensorSpec] = Field(
        default_factory=dict, description="Its tensors. Of `files` without a `flow` left out: the pipeline's."
    )
    batching: Batching | None = None
    instances: list[InstanceGroup] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [k for k in ("onnx", "steps", "python", "files") if getattr(self, k) is not None]
        if len(given) != 1:
            found = ", ".join(f"`{k}`" for k in given) or "none of them"
            raise ValueError(f"a model has exactly one of `onnx`, `steps`, `python`, `files`; found {found}")
        kind = given[0]
        if kind != "onnx":
            for field in ("engine", "precision", "accuracy", "build", "buffers", "made_by"):
                if getattr(self, field) is not None:
                    raise ValueError(f"`{field}` goes with `onnx`, not with `{kind}`; remove it")
            if not self.inputs and kind != "files":
                raise ValueError(f"a model of `{kind}` needs `inputs`: its tensors, by name")
        if kind == "python" and not self.outputs:
            raise ValueError(f"a model of `{kind}` needs `outputs`: its tensors, by name")
        if self.arguments and kind != "python":
            raise ValueError(f"`arguments` go with `python`, not with `{kind}`; remove them")
        if kind == "steps" and not self.steps:
            raise ValueError("`steps` is empty; a model needs at least one step")
        return self

    @property
    def kind(self) -> Literal["onnx", "steps", "python", "files"]:
        """Which of the four it is."""
        if self.onnx is not None:
            return "onnx"
        if self.steps is not None:
            return "steps"
        return "python" if self.python is not None else "files"


class FlowStep(Strict):
    """One model of the flow. Left of each pair the model's tensor, right the pipeline's."""

    model: Annotated[str, Field(min_length=1)] = Field(description="A key of `models`.")
    version: Annotated[int, Field(ge=1)] | None = Field(None, description="One version of it; left out: the newest.")
    inputs: dict[TensorName, TensorName] | None = Field(None, description="Left out: tensors of the same name.")
    outputs: dict[TensorName, TensorName] | None = Field(None, description="Left out: tensors of the same name.")
