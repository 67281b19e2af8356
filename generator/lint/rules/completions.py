"""Completions that surprise: what the server makes of a configuration that says less than it means."""

from __future__ import annotations

from collections.abc import Iterator

from generator.lint.model import Model
from generator.lint.rule import NOTE, Finding, rule
from generator.lint.versions import version_numbers
from generator.pbtxt.words import some

_NO_COMPLETION = "start the server with --disable-auto-complete-config"


@rule("TK740", NOTE, "onnxruntime_backend and tensorrt_backend, AutoCompleteConfig", live=False)
def batcher_added(model: Model) -> Iterator[Finding]:
    """Completion adds the dynamic batcher.

    With completion on, ONNX Runtime's backend (for a model that does not declare its inputs and outputs) and
    TensorRT's (for any engine that takes batches) switch the dynamic batcher on where no scheduler is named. A
    measurement "without batching" measures batching then.

    Bad:
        backend: "tensorrt"
        max_batch_size: 8
    Good:
        backend: "tensorrt"
        max_batch_size: 8
        dynamic_batching { }
    """
    config = model.config
    if config.WhichOneof("scheduling_choice") is None and model.completed.HasField("dynamic_batching"):
        text = f"{model.completed.backend} adds `dynamic_batching {{ }}`: no scheduler is named"
        yield model.found("max_batch_size", text, f"write it, or {_NO_COMPLETION}")


@rule("TK741", NOTE, "onnxruntime_backend and tensorrt_backend, AutoCompleteConfig", live=False)
def batch_size_added(model: Model) -> Iterator[Finding]:
    """Completion sets max_batch_size.

    With completion on and no max_batch_size, ONNX Runtime's backend sets 4 for a model that can batch and does not
    declare its inputs and outputs, and TensorRT's sets what the engine takes. `dims` are read without the batch axis
    from then on.

    Bad:
        backend: "onnxruntime"
    Good:
        backend: "onnxruntime"
        max_batch_size: 16
    """
    if model.config.max_batch_size or model.text.tree.all("max_batch_size"):
        return
    done = model.completed
    on_gpu = bool(done.instance_group) and done.instance_group[0].kind == done.instance_group[0].KIND_GPU
    if done.backend == "python":
        return  # its own code says so
    if done.max_batch_size:
        text = f"{done.backend} sets max_batch_size to {done.max_batch_size}: the model can batch"
        yield model.found("max_batch_size", text, f"write the size that you mean, or {_NO_COMPLETION}")
    elif model.server.auto_complete and done.backend == "tensorrt" and on_gpu:
        text = "tensorrt sets max_batch_size to what the engine takes"
        yield model.found("max_batch_size", text, f"write the size that you mean, or {_NO_COMPLETION}")


@rule("TK742", NOTE, "core model_config_utils.cc, NormalizeModelConfig")
def one_version(model: Model) -> Iterator[Finding]:
    """Of several versions the newest alone is served.

    Without a `version_policy` the server loads the version with the highest number. Others beside it can neither be
    asked for nor compared with it.

    Bad:
        name: "several"
        backend: "python"
    Good:
        version_policy { all { } }
    """
    if model.config.HasField("version_policy"):
        return
    numbers = version_numbers(model.folder)
    if len(numbers) > 1:
        text = f"of the versions {some(numbers[::-1], quote='')} only {numbers[0]} is served"
        yield model.found("", text, "say `version_policy { all { } }` or which; or remove the others")


@rule("TK743", NOTE, "core model_config_utils.cc, NormalizeInstanceGroup", live=False)
def more_instances(model: Model) -> Iterator[Finding]:
    """An instance group is on every GPU.

    `count` is for each GPU, and a group without `gpus` is on all of them, also one that says no `kind`: on a machine
    with GPUs that means KIND_GPU. Each instance has its own memory, and a Python model its own process.

    Bad:
        instance_group [ { kind: KIND_GPU count: 2 } ]
    Good:
        instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0 ] } ]
    """
    written = list(model.config.instance_group)
    for i, group in enumerate(model.completed.instance_group):
        given = written[i] if i < len(written) else None
        if group.kind == group.KIND_GPU and len(group.gpus) > 1 and not (given and given.gpus):
            total = group.count * len(group.gpus)
            text = f"{group.count} on each of {len(group.gpus)} GPUs: {total} instances"
            yield model.found(f"instance_group[{i}].count", text, "say which with `gpus`")


@rule("TK744", NOTE, "core ensemble_utils.cc and model_repository_manager.cc")
def decoupled_by_members(model: Model) -> Iterator[Finding]:
    """What an ensemble says of itself being decoupled does not count.

    An ensemble is decoupled if one of the models that it is made of is, and the server overwrites what stands in its
    configuration.

    Bad:
        platform: "ensemble"
        model_transaction_policy { decoupled: true }
    Good:
        platform: "ensemble"
    """
    config = model.config
    if not config.HasField("ensemble_scheduling") or not config.HasField("model_transaction_policy"):
        return
    decoupled = model.completed.model_transaction_policy.decoupled
    if config.model_transaction_policy.decoupled != decoupled:
        who = "one of the models that it is made of is" if decoupled else "none of the models that it is made of is"
        edits = model.removed("model_transaction_policy")
        text = f"this has no effect: {who} decoupled"
        yield model.found("model_transaction_policy.decoupled", text, "remove it", edits=edits)
