"""What works, and costs more than it has to. The figures are those of this project's measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from generator.elements import ELEMENT_BYTES
from generator.lint.ensemble import outputs_of
from generator.lint.model import Model, kept
from generator.lint.rule import NOTE, WARNING, Finding, rule
from generator.lint.rules.broken import is_encoded
from generator.lint.words import item_count, type_name

# As the memory plan counts them (generator/memory/pools.py).
_POOL_FACTOR, _TAKEN_FACTOR, _POOL_BLOCK_BYTES = 4, 2, 512
_IMAGE_BYTES, _IMAGE_AXES = 1 << 16, 3


@rule("TK765", WARNING, "measured: three instances on two cores are no faster than two, with a worse p99", live=False)
def more_instances_than_cores(model: Model) -> Iterator[Finding]:
    """A model has more instances on the CPU than there are cores.

    Each instance of a Python model is a process, and each of an ONNX Runtime model a session with threads of its own.
    More of them than cores do not raise the throughput, and requests wait for each other within the machine.

    Bad:
        instance_group [ { kind: KIND_CPU count: 3 } ]
    Good:
        instance_group [ { kind: KIND_CPU count: 2 } ]
    """
    cores = model.server.cores
    if cores is None or model.is_ensemble:
        return
    groups = [(i, group) for i, group in enumerate(model.completed.instance_group) if group.kind == group.KIND_CPU]
    count = sum(group.count for _, group in groups)
    if count > cores:
        text = f"{count} instances on the CPU, and the server has {cores} {'core' if cores == 1 else 'cores'}"
        yield model.found(f"instance_group[{groups[0][0]}].count", text, f"start with {cores} or fewer, and measure")


@rule("TK766", WARNING, "core cuda_memory_manager.cc; seen: full, some data comes out wrong", live=False)
def small_pool(model: Model) -> Iterator[Finding]:
    """The server's CUDA pool is too small for what lies in it on the GPU.

    Between the steps of an ensemble, outputs of steps on a GPU lie in a pool of 64 MiB a GPU, which cannot grow. When
    it is full they go through host memory, and answers with wrong data were seen then. Four batches for each
    instance should fit: `--cuda-memory-pool-byte-size=GPU:BYTES`. The server also copies into it what a Python model
    takes from a GPU (`FORCE_CPU_ONLY_INPUT_TENSORS: "no"`): two batches for each instance.

    Bad:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 3, 1024, 1024 ] } ]
    Good:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 3, 64, 64 ] } ]
    """
    if model.server.gpus == 0:
        return
    on: dict[int | None, int] = {}  # bytes by GPU; None: of groups that name none, which are on all of them
    for member, size in _of_steps(model) if model.is_ensemble else _of_itself(model):
        for group in member.completed.instance_group:
            for gpu in (set(group.gpus) or {None}) if group.kind == group.KIND_GPU else ():
                on[gpu] = on.get(gpu, 0) + group.count * size
    needed = on.pop(None, 0) + max(on.values(), default=0)
    if needed > model.server.cuda_pool_bytes:
        has = model.server.cuda_pool_bytes
        what, path = ("tensors of the steps", "ensemble_scheduling") if model.is_ensemble else ("its inputs", "input")
        text = f"{what} need {needed:,} bytes of CUDA pool a GPU, and the server has {has:,}"
        hint = f"start it with --cuda-memory-pool-byte-size=0:{needed}, and so for each GPU"
        yield model.found(path, text, hint)


def _of_itself(model: Model) -> Iterator[tuple[Model, int]]:
    """What clients of a Python model may send from a GPU; bytes of the pool for one instance."""
    if model.completed.backend == "python" and _gpu_instances(model):
        yield model, _taken_bytes(model, model.completed.input)


def _of_steps(model: Model) -> Iterator[tuple[Model, int]]:
    """The members of an ensemble that keep tensors on a GPU; bytes of the pool for one instance of each."""
    outer = {tensor.name for tensor in model.config.output}
    steps = [(step, model.other(step.model_name)) for step in model.config.ensemble_scheduling.step]
    known = [(step, found) for step, found in steps if found is not None and not found.is_ensemble]
    there = {tensor.name for tensor in model.config.input}
    there |= {name for step, found in known if _gpu_instances(found) for name in step.output_map.values()}
    for step, member in known:
        if not _gpu_instances(member):
            continue
        outputs, largest = outputs_of(member), max(1, member.completed.max_batch_size)
        # The ensemble's own outputs too: they are allocated like the others, and copied to the client afterwards. Of
        # a Python model those are on the host unless its code puts them elsewhere.
        python = member.completed.backend == "python"
        names = [name for name, tensor in step.output_map.items() if not (python and tensor in outer)]
        given = [output for output in map(outputs.first, names) if output is not None]
        taken = [tensor for tensor in member.completed.input if python and step.input_map.get(tensor.name) in there]
        yield member, _POOL_FACTOR * largest * sum(map(_item_bytes, given)) + _taken_bytes(member, taken)


def _taken_bytes(model: Model, inputs: Iterable[Any]) -> int:
    """Of inputs from a GPU, of which each request's are whole blocks of the pool."""
    largest: int = max(1, model.completed.max_batch_size)
    blocks = sum(-(-_item_bytes(tensor) // _POOL_BLOCK_BYTES) for tensor in inputs)
    return _TAKEN_FACTOR * largest * blocks * _POOL_BLOCK_BYTES


@rule("TK767", WARNING, "core dynamic_batch_scheduler.cc; seen: 64 requests in 64 executions")
def encoded_bytes(model: Model) -> Iterator[Finding]:
    """Bytes of any length as UINT8 are never batched.

    Requests become one batch only if their shapes are equal, and two encoded images hardly ever have the same number
    of bytes. As one element of TYPE_STRING each request has the shape [ 1 ], whatever its length.
    DALI has no text: it takes UINT8 of shape [ -1 ] with `allow_ragged_batch: true`.

    Bad:
        dynamic_batching { }
        input [ { name: "image" data_type: TYPE_UINT8 dims: [ -1 ] } ]
    Good:
        dynamic_batching { }
        input [ { name: "image" data_type: TYPE_STRING dims: [ 1 ] } ]
    """
    config = model.completed
    if config.max_batch_size < 2 or not config.HasField("dynamic_batching"):
        return
    for i, tensor in enumerate(model.config.input):
        if is_encoded(tensor) and not tensor.allow_ragged_batch:
            text = f"`{tensor.name}` is bytes of any length: requests of different lengths never become one batch"
            hint = "send it as `data_type: TYPE_STRING dims: [ 1 ]`"
            if config.backend == "dali":  # which has no text, and takes each request's bytes by themselves
                hint = "add `allow_ragged_batch: true`"
            yield model.found(f"input[{i}].dims", text, hint)


@rule("TK768", NOTE, "core backend_model.cc, SetConfiguredScheduler; seen: 62 requests in 62 executions")
def batches_of_one(model: Model) -> Iterator[Finding]:
    """A model that can batch, without a scheduler that forms batches.

    Without `dynamic_batching` the server runs each request by itself, and only clients that send several items in a
    request get batches. It costs two words to let the server do that.

    Bad:
        name: "alone"
        backend: "python"
        max_batch_size: 8
    Good:
        max_batch_size: 8
        dynamic_batching { }
    """
    config = model.completed
    if config.max_batch_size < 2 or model.is_ensemble or model.is_open:
        return
    if config.WhichOneof("scheduling_choice") is None:
        text = f"max_batch_size is {config.max_batch_size}, and nothing forms batches: requests run one by one"
        yield model.found("max_batch_size", text, "add `dynamic_batching { }`")


@rule("TK769", NOTE, "measured: an ensemble with UINT8 between steps 2.1 times as fast as with FP32")
def wide_images(model: Model) -> Iterator[Finding]:
    """Images go as FP32 from a Python model on the CPU to the next step.

    What a step gives is copied out of its process and into the next one's: as FP32 four times the bytes of UINT8,
    and the conversion costs the CPU more than that. Give UINT8, and let the engine's graph convert and normalise.

    Bad:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] } ]
    Good:
        output [ { name: "y" data_type: TYPE_UINT8 dims: [ 3, 224, 224 ] } ]
    """
    if not model.is_ensemble:
        return
    outer = {tensor.name for tensor in model.config.output}
    for i, step in enumerate(model.config.ensemble_scheduling.step):
        member = model.other(step.model_name)
        if member is None or member.completed.backend != "python" or _gpu_instances(member):
            continue
        for output in outputs_of(member).mapped(step.output_map):
            tensor = step.output_map.get(output.name, "")
            is_large = len(output.dims) >= _IMAGE_AXES and _item_bytes(output) >= _IMAGE_BYTES
            if tensor and tensor not in outer and type_name(output) in ("FP32", "FP64") and is_large:
                text = (
                    f"`{step.model_name}` gives `{tensor}` as {type_name(output)}, {_item_bytes(output):,} bytes each"
                )
                path = f"ensemble_scheduling.step[{i}].output_map[{output.name}]"
                yield model.found(path, text, "give UINT8, and convert in the graph of the step that needs it")


@kept
def _gpu_instances(model: Model) -> int:
    """How many instances of a model are on a GPU, of one whose outputs stay there."""
    config, key = model.completed, "FORCE_CPU_ONLY_INPUT_TENSORS"
    if config.backend == "python" and (key not in config.parameters or config.parameters[key].string_value != "no"):
        return 0
    return sum(group.count for group in config.instance_group if group.kind == group.KIND_GPU)


def _item_bytes(tensor: Any) -> int:
    """The size of one item; 0 where it varies, and of text."""
    size = ELEMENT_BYTES.get(type_name(tensor), 0)
    return 0 if min(tensor.dims, default=0) < 1 else size * item_count(tensor.dims)
