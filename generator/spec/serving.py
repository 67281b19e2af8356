"""How a model is served: batching, queue, instances, versions, warm-up, graphs, metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from generator.spec.base import ProjectPath, Strict, TensorName
from generator.spec.steps import PositiveNumber

PositiveInt = Annotated[int, Field(ge=1)]
Microseconds = Annotated[int, Field(ge=0)]


class Queue(Strict):
    """What happens to requests that have to wait."""

    max_size: Annotated[int, Field(ge=0)] = Field(0, description="Requests that may wait; 0 is no limit.")
    timeout_us: Microseconds = Field(0, description="How long a request may wait; 0 is for ever.")
    on_timeout: Literal["reject", "delay"] = "reject"
    allow_override: bool = Field(False, description="A request may name a shorter timeout of its own.")


class Priorities(Strict):
    """Priority levels; 1 is served first."""

    levels: PositiveInt
    default: PositiveInt = Field(description="The level of requests that name none.")
    queues: dict[PositiveInt, Queue] = Field(default_factory=dict, description="A queue policy by level.")

    @model_validator(mode="before")
    @classmethod
    def _levels_are_numbers(cls, value: object) -> object:
        # YAML keys are text here; a level is a number.
        if isinstance(value, dict) and isinstance(value.get("queues"), dict):
            queues = {int(k) if isinstance(k, str) and k.isdigit() else k: v for k, v in value["queues"].items()}
            return {**value, "queues": queues}
        return value

    @model_validator(mode="after")
    def _within_levels(self) -> Self:
        for level in (self.default, *self.queues):
            if level > self.levels:
                raise ValueError(f"level {level} is beyond `levels: {self.levels}`; levels count from 1")
        return self


class Batching(Strict):
    """Dynamic batching. In a target, only the fields given there replace those of the spec."""

    max_batch_size: Annotated[int, Field(ge=0, le=65536)] = Field(
        8, description="Largest batch that the model runs; 0 means the tensors have no batch axis."
    )
    dynamic: bool = Field(True, description="Requests of different clients share a batch.")
    preferred: list[PositiveInt] = Field(default_factory=list, description="Batch sizes to stop waiting at.")
    max_queue_delay_us: Microseconds = Field(0, description="How long a request may wait for company.")
    preserve_ordering: bool = False
    queue: Queue | None = None
    priorities: Priorities | None = None

    @model_validator(mode="after")
    def _ordering(self) -> Self:
        check_ordering(self)
        return self

    @model_validator(mode="after")
    def _preferred_fit(self) -> Self:
        if "max_batch_size" in self.model_fields_set:
            check_preferred(self)
        return self


def check_ordering(batching: Batching) -> None:
    """Raises ValueError when the order of answers cannot be kept (Triton refuses it)."""
    if not batching.preserve_ordering:
        return
    priorities = batching.priorities
    if priorities is not None and priorities.levels > 1:
        raise ValueError("`preserve_ordering` goes with one priority level at most: Triton refuses more")
    queues = [batching.queue, *(priorities.queues.values() if priorities else ())]
    if any(queue and queue.on_timeout == "delay" and queue.timeout_us for queue in queues):
        raise ValueError("`preserve_ordering` excludes `on_timeout: delay`: a delayed request is out of order")


def check_preferred(batching: Batching) -> None:
    """Raises ValueError when a preferred size is larger than the largest batch (Triton refuses it)."""
    for size in batching.preferred:
        if size > batching.max_batch_size:
            raise ValueError(
                f"preferred size {size} is larger than max_batch_size {batching.max_batch_size}; "
                "remove it, or raise max_batch_size"
            )


class InstanceGroup(Strict):
    """Copies of a model that run side by side."""

    kind: Literal["cpu", "gpu", "auto", "model"] = Field(description="Where the instances run.")
    count: PositiveInt = Field(1, description="Instances; for `gpu` on each GPU, as in Triton.")
    gpus: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list, description="GPU numbers; none is all.")

    @model_validator(mode="after")
    def _gpus_of_gpu_groups(self) -> Self:
        if self.gpus and self.kind not in {"gpu", "auto"}:
            raise ValueError(f"`gpus` goes with `kind: gpu`, not with `kind: {self.kind}`")
        return self


class Versions(Strict):
    """Which version directories are served: exactly one of these."""

    latest: PositiveInt | None = Field(None, description="The newest n.")
    specific: list[PositiveInt] | None = Field(None, description="These version numbers.")
    all: Literal[True] | None = Field(None, description="All there are.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [n for n in ("latest", "specific", "all") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("`versions` is exactly one of `latest: N`, `specific: [N, …]`, `all: true`")
        return self

    def served(self, there: Iterable[int]) -> list[int]:
        """Which of the versions that there are a server serves, the oldest first."""
        numbers = sorted(there)
        if self.specific is not None:
            return [number for number in numbers if number in self.specific]
        return numbers if self.latest is None else numbers[-self.latest :]


NEWEST = Versions(latest=1)
"""What Triton does where a model says nothing."""


class WarmupInput(Strict):
    """What a warm-up request sends for one input: exactly one of these; the shape where dims have a -1."""

    zero: Literal[True] | None = None
    random: Literal[True] | None = None
    file: ProjectPath | None = Field(None, description="Raw bytes of the tensor, as Triton reads them.")
    dims: list[PositiveInt] | None = Field(None, description="The shape to send; needed where the input has -1.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(v is not None for v in (self.zero, self.random, self.file)) != 1:
            raise ValueError("a warm-up input is exactly one of `zero: true`, `random: true`, `file: PATH`")
        return self


class Warmup(Strict):
    """A request that the server sends to the model before it is ready."""

    name: Annotated[str, Field(min_length=1)]
    batch_size: PositiveInt = 1
    count: PositiveInt = 1
    inputs: dict[TensorName, WarmupInput]


class CudaGraphs(Strict):
    """CUDA graphs of the TensorRT backend, captured at start."""

    batch_sizes: list[PositiveInt] = Field(default_factory=list, description="Sizes to capture; none is automatic.")
    busy_wait_events: bool = False
    output_copy_stream: bool = False


class Buffers(Strict):
    """The memory of an engine inside a Python model (layout `fused`), allocated once: on a GPU, or with `shared`."""

    buckets: list[PositiveInt] = Field(
        default_factory=list,
        description="Sizes of batch that the engine is made ready for; a batch is padded to the next one. With "
        "`process: shared` they may end beyond the largest batch. None: 1, 2, 4, … up to the largest batch, and the "
        "preferred sizes; with `process: shared` on a GPU up to what all of its instances hand over, 128 at most.",
    )
    lengths: list[PositiveInt] = Field(
        default_factory=list,
        description="Lengths of the axis that the ONNX file leaves open beside the batch's, as of texts; a batch is "
        "padded with zeros to the next one, and its outputs are cut back. None: those of the `tokenize` that feeds "
        "the engine.",
    )
    slots: Annotated[int, Field(ge=2, le=64)] = Field(2, description="Batches that have memory at a time.")
    copies: Literal["auto", "inside", "beside"] = Field(
        "auto",
        description="Copies to and from the GPU: `inside` the engine's CUDA graph, `beside` it on streams of their "
        "own, or `auto`: by the size of the batch.",
    )
    preprocess: Literal["auto", "cpu", "gpu"] = Field(
        "cpu",
        description="Where `resize` and what follows it run, if they come right before the engine: on the `cpu`; on "
        "the `gpu`, in one kernel that the server compiles at start, or the model does not load; `auto`: on the GPU "
        "where that works, else on the CPU, and the log says so.",
    )
    decode: Literal["auto", "cpu", "gpu"] = Field(
        "cpu",
        description="Where JPEG files are decoded, if what follows runs on the GPU (`preprocess`): on the `cpu`; on "
        "the `gpu`, by its JPEG engines or else its cores, or the model does not load; `auto`: on the GPU where that "
        "works, else on the CPU, and the log says so. Pixels may differ by one level of 255 then, by three without "
        "such engines. Other files, and JPEGs that the GPU does not take, are decoded on the CPU.",
    )
    fold: bool = Field(
        False,
        description="Whether the arithmetic of the steps next to the engine becomes part of its graph, as in layout "
        "`folded`: it runs on the GPU then, and small answers are all that is copied from there.",
    )
    inputs: Literal["host", "device"] = Field(
        "host",
        description="Where the engine's inputs may be when a request comes: on the `host`, where the server brings "
        "them, or also on the GPU (`device`), for clients that have written them there (CUDA shared memory). Where "
        "the engine comes first and alone takes what clients can send from a GPU, and all instances are on one GPU "
        "that is stated (`gpus: [0]`): a tensor on another GPU is refused.",
    )
    outputs: Literal["host", "device"] = Field(
        "host",
        description="Where the engine's outputs are when it has answered: on the `host`, or still on the GPU "
        "(`device`), for clients that have them written there (CUDA shared memory). Where the engine is all that the "
        "pipeline runs.",
    )
    process: Literal["own", "shared"] = Field(
        "own",
        description="Whose process runs the engine: each instance's `own`, or one more that is `shared` by all "
        "instances on a GPU (and one by those on the CPU). They hand it their batches, which it runs together, and "
        "do the work of the host: taking requests, the steps, and answers. Steps that run on the GPU run in that "
        "process, too. Not with `preprocess: auto`, `inputs: device`, `outputs: device`, `copies: inside` or several "
        "`lengths`.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name, what, sizes in (("buckets", "size", self.buckets), ("lengths", "length", self.lengths)):
            if len(set(sizes)) < len(sizes):
                raise ValueError(f"`{name}` holds a {what} twice; give each once")
        return self


class Metrics(Strict):
    """Latency histogram of a model. A pipeline that has none gets one around its objective, from Triton 26.01 on."""

    latency_buckets_ms: Annotated[list[PositiveNumber], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if sorted(set(self.latency_buckets_ms)) != list(self.latency_buckets_ms):
            raise ValueError("bucket bounds must rise from one to the next")
        return self
