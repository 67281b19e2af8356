"""The whole spec: one pipeline, in the short or the full form."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from generator.load import codes
from generator.load.errors import FieldError, FieldsError
from generator.project import EMBEDDED
from generator.spec.base import Engine, InWords, Key, ModelName, Precision, Strict, TensorName
from generator.spec.models import Config, EngineModel, FlowStep, Model
from generator.spec.serving import Batching, InstanceGroup, Metrics, PositiveInt
from generator.spec.steps import PositiveNumber, Step
from generator.spec.tensors import TensorSpec

# A release of Triton's containers, as in `26.07`.
ServerRelease = Annotated[str, InWords(r"\d\d\.(0[1-9]|1[0-2])", "a release is year and month, as in `26.07`", 5)]


# `ensemble`: a model each for what comes before the engine, the engine, and what comes after it.
# `fused`: one Python model that runs all of them in one process, a batch whole.
# `folded`: the arithmetic of the steps next to the engine moves into its graph; the rest is as in `ensemble`.
Layout = Literal["ensemble", "fused", "folded"]


class Objective(Strict):
    """What the service promises: everything else is a trade against it."""

    p99_ms: PositiveNumber = Field(description="The 99th percentile of latency, in milliseconds.")
    throughput_rps: PositiveNumber | None = Field(None, description="Requests a second to hold it at.")
    max_error_rate: Annotated[float, Field(strict=False, ge=0, lt=1)] = 0.001


class Limits(Strict):
    """What a single image may cost at most; larger ones are refused before they are decoded."""

    max_bytes: Annotated[int, Field(ge=1)] = 20_000_000
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000


class TargetMemory(Strict):
    """What there is of memory where the pipeline runs, in MiB: what needs more is refused before anything starts."""

    gpu_mib: PositiveInt | None = Field(None, description="Of each GPU.")
    shm_mib: PositiveInt | None = Field(None, description="Shared memory (/dev/shm) of the machine or pod.")
    cuda_pool_mib: PositiveInt | None = Field(
        None,
        description="The server's `--cuda-memory-pool-byte-size` of each GPU, which is 64 MiB unless it says so.",
    )
    pinned_pool_mib: PositiveInt | None = Field(
        None, description="The server's `--pinned-memory-pool-byte-size`, which is 256 MiB unless it says so."
    )


class Target(Strict):
    """What differs where the pipeline runs."""

    server: ServerRelease | None = Field(None, description="The Triton release there, as in `26.07`.")
    gpu: Annotated[str, Field(min_length=1)] | None = Field(None, description="The GPU there; none: CPU only.")
    layout: Layout | None = None
    engine: Engine | None = None
    precision: Precision | None = None
    batching: Batching | None = None
    instances: list[InstanceGroup] | None = None
    memory: TargetMemory | None = Field(None, description="What there is; what is left out is not checked.")


def _schema(schema: dict[str, Any]) -> None:
    """What an editor can know beside the types: which pipelines have tensors, and which target may be null."""
    some = {"minProperties": 1}
    schema["if"] = {"anyOf": [{"required": ["model"]}, {"required": ["flow"]}]}
    schema["then"] = {"properties": {"inputs": some, "outputs": some}}
    targets = schema["properties"]["targets"]
    [(pattern, either)] = targets["patternProperties"].items()
    [target] = [branch for branch in either["anyOf"] if branch.get("type") != "null"]
    targets["properties"] = {EMBEDDED: either}
    targets["patternProperties"] = {pattern.replace("^", f"^(?!{EMBEDDED}$)", 1): target}


class Spec(Strict):
    """One pipeline."""

    model_config = ConfigDict(json_schema_extra=_schema)

    name: ModelName = Field(description="What clients ask for.")
    description: str = ""
    objective: Objective | None = None
    inputs: dict[TensorName, TensorSpec] = Field(
        description="What a client sends. Empty, as `outputs`, only where one model of `files` says all in `config`."
    )
    outputs: dict[TensorName, TensorSpec] = Field(description="What it gets back.")

    model: EngineModel | None = Field(None, description="Short form: the one engine.")
    preprocess: list[Step] = Field(default_factory=list, description="Short form: steps before the engine.")
    postprocess: list[Step] = Field(default_factory=list, description="Short form: steps after the engine.")
    layout: Layout = Field(
        "ensemble",
        description="How the models run: one by one, `fused` in one process, or `folded`: one by one, with the "
        "arithmetic steps next to an engine in its graph.",
    )

    models: Annotated[dict[Key, Model], Field(min_length=1)] | None = Field(None, description="Full form.")
    flow: Annotated[list[FlowStep], Field(min_length=1)] | None = Field(
        None,
        description="Full form: which model runs on which tensors. Left out where there is one model, or where all "
        "are of `files` and the first is what clients ask for.",
    )

    batching: Batching = Field(default_factory=Batching)
    instances: list[InstanceGroup] | None = Field(
        None, description="Of the engine; in the short form, without a GPU, of `preprocess` too."
    )
    limits: Limits = Field(default_factory=Limits)
    response_cache: bool = Field(False, description="Cache whole answers of the pipeline.")
    metrics: Metrics | None = None
    config: Config = Field(default_factory=dict, description="Any other ModelConfig field of the pipeline itself.")
    targets: dict[Key, Target | None] = Field(
        default_factory=dict,
        description="Where it runs. `embedded: null`: not on the embedded server; no other may be null.",
    )

    @field_validator("targets")
    @classmethod
    def _some_target(cls, targets: dict[str, Target | None]) -> dict[str, Target | None]:
        message = f"found nothing; valid: a mapping (null is for `{EMBEDDED}` alone)"
        wrong = [
            FieldError(codes.WRONG_TYPE, message, "write a value, or remove the line", [name])
            for name, target in targets.items()
            if target is None and name != EMBEDDED
        ]
        if wrong:
            raise FieldsError(wrong)
        if list(targets) == [EMBEDDED] and targets[EMBEDDED] is None:
            raise FieldError(
                codes.BROKEN_RULE,
                f"`{EMBEDDED}: null` leaves the pipeline without any target",
                f"name another target, or remove `{EMBEDDED}: null`",
            )
        return targets

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.model is None) == (self.models is None):
            raise ValueError(
                "a spec has either `model` (short form) or `models` (full form); "
                + ("found both: remove one" if self.model else "found neither: add `model: {onnx: PATH}`")
            )
        if self.models is not None:
            for field in ("preprocess", "postprocess"):
                if getattr(self, field):
                    raise ValueError(f"`{field}` is of the short form; in the full form write a model with `steps`")
            copied = all(model.files is not None for model in self.models.values())
            if self.flow is None and len(self.models) > 1 and not copied:
                raise ValueError("several `models` need a `flow`: which model runs on which tensors")
        elif self.flow is not None:
            raise ValueError("`flow` is of the full form; with `model` the flow is known: remove it")
        return self

    @model_validator(mode="after")
    def _tensors(self) -> Self:
        wrong = []
        first = next(iter(self.models.values())) if self.models and self.flow is None else None
        for field in () if first is not None and first.files is not None else ("inputs", "outputs"):
            if not getattr(self, field):
                message = f"`{field}` is empty; a pipeline has at least one tensor there"
                wrong.append(FieldError(codes.WRONG_LENGTH, message, path=[field]))
        for key, model in (self.models or {}).items() if self.flow is not None else ():
            for field in ("inputs", "outputs"):
                if model.files is not None and not getattr(model, field):
                    message = f"a model of `files` needs `{field}` in a `flow`: its tensors, by name"
                    wrong.append(FieldError(codes.BROKEN_RULE, message, path=["models", key]))
        if wrong:
            raise FieldsError(wrong)
        return self
