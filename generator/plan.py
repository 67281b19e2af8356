"""The Plan: every model, tensor, size and default of one pipeline on one target, decided once.

Made by `generator.resolve` from a Spec; read by `generator.config` (ModelConfig), `generator.render` (files) and
by `deploy` (flags, sizes). Nothing that reads a Plan decides anything again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from generator.elements import ELEMENT_BYTES
from generator.problems import Place
from generator.spec.build import Build
from generator.spec.models import Accuracy
from generator.spec.pipeline import Limits, Objective, TargetMemory
from generator.spec.serving import NEWEST, Batching, CudaGraphs, InstanceGroup, Metrics, Versions, Warmup

if TYPE_CHECKING:
    from generator.project import Project

# Text has no size: what an encoded image and a text are taken to be when sizes are derived.
ENCODED_BYTES = 65_536
TEXT_BYTES = 256


@dataclass(frozen=True)
class Tensor:
    """A tensor of a model. `dtype` in Triton's words without TYPE_, `dims` without the batch axis.

    `encoded` tells files (`bytes` in a spec) from text, which is STRING too.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False
    ragged: bool = False
    format: Literal["none", "nchw", "nhwc"] = "none"
    reshape: tuple[int, ...] | None = None
    labels: str | None = None
    encoded: bool = False

    def item_bytes(self) -> int:
        """Bytes of one item; an axis of any length counts as 1."""
        elements = math.prod(max(d, 1) for d in self.dims)
        return elements * ELEMENT_BYTES.get(self.dtype, ENCODED_BYTES if self.encoded else TEXT_BYTES)

    def describe(self) -> str:
        """`FP32 [1, 8, 8]`."""
        return f"{self.dtype} [{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class StepsProgram:
    """Built-in steps in one Python model: (name, parameters as in tritonkit.json) in order.

    `file` is what one of them reads (a path from the project's root, copied): a tokenizer.
    """

    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    file: str | None = None


@dataclass(frozen=True)
class OnnxVersion:
    """One version of an engine: its number and ONNX file, a path from the project's root.

    `data` is the graph that is served where it is not the file's: with steps of the pipeline in it (layout `folded`).
    `sha256` is of what is served.
    """

    number: int
    onnx: str
    sha256: str
    data: bytes | None = field(default=None, repr=False)

    def contents(self, project: Project) -> bytes:
        """The bytes of the graph that is served. Raises OSError."""
        return project.read(self.onnx) if self.data is None else self.data


# Names and parameters of steps, as in tritonkit.json.
Steps = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Fold:
    """Steps that are part of an engine's graph: `before` by its input, `after` by what was its output.

    `nodes` names what they are in the graph, of all versions.
    """

    before: Mapping[str, Steps]
    after: Mapping[str, Steps]
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineBuffers:
    """Memory for an engine's tensors that is allocated once, as in tritonkit.json.

    `buckets`: the sizes of batch that the engine is made ready for, smallest first. `slots`: batches that have memory
    at a time. `copies`: where copies to and from the GPU go. `lengths`: input -> its dims, where the ONNX file leaves
    one open and what comes before the engine always gives the same. `preprocess`: where the steps that come right
    before the engine run. `open_lengths`: those of an axis that stays open, smallest first; every bucket is made
    ready in each of them. `inputs`: whether they may come in the GPU's memory, `outputs`: whether they stay there.
    `decode`: where JPEG files are decoded, before steps that run on the GPU. `process`: whose the engine is, of each
    instance or, `shared`, of one process that the instances of a model hand their batches to on each GPU.
    """

    buckets: tuple[int, ...]
    slots: int
    copies: Literal["auto", "inside", "beside"]
    lengths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    preprocess: Literal["auto", "cpu", "gpu"] = "cpu"
    open_lengths: tuple[int, ...] = ()
    inputs: Literal["host", "device"] = "host"
    outputs: Literal["host", "device"] = "host"
    decode: Literal["auto", "cpu", "gpu"] = "cpu"
    process: Literal["own", "shared"] = "own"

    @property
    def is_shared(self) -> bool:
        """Whether one process has the engine, for all instances."""
        return self.process == "shared"


@dataclass(frozen=True)
class EngineProgram:
    """ONNX files and what runs them: one a version, the oldest first.

    `engine` and `precision` are what runs on this target, `asked` and `asked_precision` the spec's own words: with
    `auto` it is what was measured to be the fastest, and ONNX Runtime until then. `newest` is the newest version that
    is served: the one that is meant where there is no server to choose one.
    """

    engine: Literal["onnxruntime", "tensorrt", "inductor"]
    precision: str
    versions: tuple[OnnxVersion, ...]
    newest: int = 1
    intra_op_threads: int = 1
    asked: Literal["onnxruntime", "tensorrt", "inductor", "auto"] = "onnxruntime"
    asked_precision: str = "fp32"
    build: Build = field(default_factory=Build)
    accuracy: Accuracy | None = None
    fold: Fold | None = None
    buffers: EngineBuffers | None = None

    @property
    def is_built(self) -> bool:
        """Whether what is served is made by `tritonkit build`, and not the ONNX file as it is."""
        return self.engine != "onnxruntime" or self.precision != "fp32"

    def file_of(self, number: int) -> OnnxVersion:
        """What stands in version directory `number`: the engine's version of it, or the only one that there is."""
        if len(self.versions) == 1:
            return self.versions[0]
        return {version.number: version for version in self.versions}[number]


@dataclass(frozen=True)
class PythonProgram:
    """A user's own class: from a `file` (a path from the project's root, copied) or an importable `module`."""

    class_name: str
    file: str | None
    module: str | None
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class FilesProgram:
    """A directory that is copied as it is: a model of any backend. Of a `whole` one `config` is the ModelConfig."""

    directory: str
    whole: bool = False


@dataclass(frozen=True)
class Stage:
    """One model of a FlowProgram: `inputs` and `outputs` map its tensors to the flow's."""

    model: ModelPlan
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class FlowProgram:
    """Several models in one Python process, each after those whose tensors it takes."""

    stages: tuple[Stage, ...]


Program = StepsProgram | EngineProgram | PythonProgram | FilesProgram | FlowProgram


@dataclass(frozen=True)
class ModelPlan:
    """One model of the repository.

    `backend` is what serves it on this target: `python`, `onnxruntime`, `tensorrt`, or empty for a FilesProgram,
    whose `config` names it. `place_of` gives the position in the spec of a field of this model.
    """

    name: str
    key: str
    backend: str
    program: Program
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    batching: Batching | None
    instances: tuple[InstanceGroup, ...]
    versions: Versions | None = None
    warmup: tuple[Warmup, ...] = ()
    response_cache: bool = False
    cuda_graphs: CudaGraphs | None = None
    metrics: Metrics | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[str | int, ...] = ()
    comments: tuple[str, ...] = ()

    def batch_bytes(self) -> int:
        """Bytes of all inputs and outputs of one full batch."""
        return max(1, self.max_batch_size) * sum(t.item_bytes() for t in (*self.inputs, *self.outputs))

    @property
    def largest_run(self) -> int:
        """The largest batch that its engine runs: that of several instances together, where they share it. 0: no
        batch axis.
        """
        buffers = self.program.buffers if isinstance(self.program, EngineProgram) else None
        if buffers is None or not buffers.is_shared or not self.max_batch_size:
            return self.max_batch_size
        return max(self.max_batch_size, buffers.buckets[-1])

    def parts(self) -> tuple[ModelPlan, ...]:
        """The models whose programs run in it: its stages, else itself."""
        if isinstance(self.program, FlowProgram):
            return tuple(stage.model for stage in self.program.stages)
        return (self,)

    def version_numbers(self) -> tuple[int, ...]:
        """The version directories that are rendered for it, the oldest first: its engine's; else 1 alone."""
        engines = [part.program for part in self.parts() if isinstance(part.program, EngineProgram)]
        longest = max(engines, key=lambda engine: len(engine.versions), default=None)
        return (1,) if longest is None else tuple(version.number for version in longest.versions)

    def newest(self) -> int:
        """The newest version that is served."""
        numbers = self.version_numbers()
        return ((self.versions or NEWEST).served(numbers) or numbers)[-1]

    def instance_count(self) -> int:
        """Instances on one GPU or on the CPU; of a group in `config` without a count it is 1."""
        groups = self.config.get("instance_group")
        if isinstance(groups, list):
            counts = [group.get("count", 1) for group in groups if isinstance(group, Mapping)]
            return sum(max(1, count) for count in counts if isinstance(count, int)) or 1
        return sum(group.count for group in self.instances) or 1


@dataclass(frozen=True)
class EnsembleStep:
    """One hop: `inputs` and `outputs` map the model's tensor to the ensemble's. Without a `version`: the newest."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    version: int | None = None


@dataclass(frozen=True)
class EnsemblePlan:
    """The model that clients call; its steps run in the order of their tensors."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    steps: tuple[EnsembleStep, ...]
    response_cache: bool = False
    metrics: Metrics | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[str | int, ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetPlan:
    """Where it runs: the server's release (`24.10`), whether there are GPUs, which backends the server has.

    `memory` is what the spec says of the memory there.
    """

    name: str
    server: str
    gpu: str | None
    backends: frozenset[str]
    memory: TargetMemory | None = None


class EnginePart(NamedTuple):
    """An engine of a pipeline: `part`, with its `program`, is a stage of `model`, or that model itself."""

    model: ModelPlan
    part: ModelPlan
    program: EngineProgram


@dataclass(frozen=True)
class Plan:
    """One pipeline on one target. `place(*path)` is the position of a field in the spec's file."""

    name: str
    target: TargetPlan
    spec_file: str
    objective: Objective | None
    limits: Limits
    models: tuple[ModelPlan, ...]
    ensemble: EnsemblePlan | None
    accuracy_data: str | None
    accuracy_floor: float | None
    places: Places

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What a client sends."""
        return self.ensemble.inputs if self.ensemble else self.models[0].inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What a client gets."""
        return self.ensemble.outputs if self.ensemble else self.models[0].outputs

    @property
    def max_batch_size(self) -> int:
        """The largest batch that one request may bring; 0: no batch axis."""
        return self.ensemble.max_batch_size if self.ensemble else self.models[0].max_batch_size

    def path_of(self, source: Sequence[str | int], *field: str) -> tuple[str | int, ...]:
        """Where the spec says `field` of the model at `source`: what a target says of all engines stands first."""
        target = ("targets", self.target.name)
        if field[0] in {"engine", "precision"} and self.places(*target, *field) != self.places(*target):
            return (*target, *field)
        return (*source, *field)

    def engines(self) -> Iterator[EnginePart]:
        """Every engine that runs in it, in the order of the models and their stages."""
        for model in self.models:
            for part in model.parts():
                if isinstance(part.program, EngineProgram):
                    yield EnginePart(model, part, part.program)


class Places:
    """Finds positions: something with `.place(*path)`, or nothing but the file's name."""

    def __init__(self, file: str, tree: Any = None) -> None:
        self._file, self._tree = file, tree

    def __call__(self, *path: str | int) -> Place:
        """The position of the value at `path`, or of its nearest ancestor that exists."""
        if self._tree is None:
            return Place(self._file)
        place: Place = self._tree.place(*path)
        return place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and self._file == other._file

    def __hash__(self) -> int:
        return hash(self._file)
