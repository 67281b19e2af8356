"""Accepted, and broken anyway: what the server loads without a word, and then does otherwise than it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model
from generator.lint.rule import NOTE, WARNING, Finding, rule

_SCHEDULER = "core dynamic_batch_scheduler.cc, GetDynamicBatch"
_POLICY = "core scheduler_utils.cc, PolicyQueue"
_SEEN_STALLS = _SEEN_CACHED_ERRORS = "24.10"  # the release that this was seen on
_BATCHING = "dynamic_batching"
# The backends that may set a max_batch_size of their own.
_COMPLETE_BATCHES = ("dali", "onnxruntime", "openvino", "python", "tensorflow", "tensorrt")
_SIZES = f"{_BATCHING}.preferred_batch_size"


def _largest_preferred(model: Model) -> int:
    """The largest preferred size that is written, 0 if none is, or if the server refuses it."""
    sizes = [int(size) for size in model.config.dynamic_batching.preferred_batch_size]
    largest = max(sizes, default=0)
    return 0 if min(sizes, default=0) < 1 or largest > model.completed.max_batch_size else largest


@rule("TK750", WARNING, f"{_SCHEDULER}; seen: batches of 5 and 9 of [ 4 ]")
def preferred_below_largest(model: Model) -> Iterator[Finding]:
    """The largest preferred batch size is below max_batch_size.

    A batch that waits may grow beyond the largest preferred size before it runs: with 4 preferred of 16, batches of
    5 and 9 were seen. Whoever prepared the model for some sizes alone (buckets, CUDA graphs) meets others. The last
    preferred size should be max_batch_size, or max_batch_size the last preferred size.

    Bad:
        max_batch_size: 16
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
    Good:
        max_batch_size: 16
        dynamic_batching { preferred_batch_size: [ 4, 8, 16 ] max_queue_delay_microseconds: 100 }
    """
    largest, most = _largest_preferred(model), model.completed.max_batch_size
    if 0 < largest < most and model.config.dynamic_batching.max_queue_delay_microseconds > 0:
        text = f"the largest preferred size is {largest}, and max_batch_size is {most}: batches of other sizes appear"
        yield model.found(_SIZES, text, f"add {most}, or write `max_batch_size: {largest}`")


@rule("TK751", WARNING, f"{_SCHEDULER}; seen: 30 waiting requests in batches of 4 where 16 fit")
def preferred_without_delay(model: Model) -> Iterator[Finding]:
    """Preferred batch sizes without a queue delay.

    Without `max_queue_delay_microseconds` nothing waits for a preferred size, and what waits anyway is cut to the
    preferred sizes: 14 requests become 8, 4 and 2 of [ 4, 8, 16 ], and never more than 4 of [ 4 ]. Without preferred
    sizes they are one batch.

    Bad:
        max_batch_size: 16
        dynamic_batching { preferred_batch_size: [ 4, 8, 16 ] }
    Good:
        max_batch_size: 16
        dynamic_batching { }
    """
    batching, most = model.config.dynamic_batching, model.completed.max_batch_size
    if batching.max_queue_delay_microseconds or not _largest_preferred(model):
        return
    if set(batching.preferred_batch_size) != {most}:
        text = "preferred sizes without a queue delay cut waiting requests into smaller batches"
        hint = "remove preferred_batch_size, or give a max_queue_delay_microseconds"
        yield model.found(_SIZES, text, hint)


@rule("TK752", WARNING, f"{_POLICY}::Enqueue")
def override_of_nothing(model: Model) -> Iterator[Finding]:
    """allow_timeout_override without a default timeout.

    A request's own timeout counts only if it is shorter than the policy's `default_timeout_microseconds`. With a
    default of 0, which means none, it never counts, and requests wait for ever.

    Bad:
        default_queue_policy { allow_timeout_override: true }
    Good:
        default_queue_policy { allow_timeout_override: true default_timeout_microseconds: 1000000 }
    """
    for path, policy in _policies(model):
        if policy.allow_timeout_override and not policy.default_timeout_microseconds:
            text = "allow_timeout_override has no effect: default_timeout_microseconds is 0"
            yield model.found(f"{path}.allow_timeout_override", text, "give the longest timeout as the default")


@rule("TK753", NOTE, "protobuf: a scalar of 0 is one that is not there")
def zero_is_nothing(model: Model) -> Iterator[Finding]:
    """`max_batch_size: 0` does not hold completion off.

    To the server an explicit 0 is the same as no max_batch_size. With completion on, a backend that finds that the
    model can batch sets one of its own, and with it the dynamic batcher.

    Bad:
        backend: "onnxruntime"
        max_batch_size: 0
    Good:
        backend: "onnxruntime"
        max_batch_size: 1
    """
    if model.config.max_batch_size != 0 or not model.text.tree.all("max_batch_size"):
        return
    completed = model.completed
    if completed.max_batch_size != 0 or (model.is_open and completed.backend in _COMPLETE_BATCHES):
        text = "completion is on, and an explicit 0 is the same as nothing: the backend may set another size"
        yield model.found("max_batch_size", text, "start the server with --disable-auto-complete-config")


@rule("TK754", WARNING, f"{_POLICY} and DynamicBatchScheduler::BatcherThread; seen on 24.10")
def stalling_policy(model: Model) -> Iterator[Finding]:
    """A queue policy, or priorities, make release 24.10 stall at times.

    With a timeout, a queue size or priority levels the batcher forms a batch only when an instance is free, and at
    times sleeps 500 ms although requests wait. It was seen on 24.10: 31 requests that took 0.25 s took 0.67 s.

    Bad:
        dynamic_batching { default_queue_policy { max_queue_size: 100 } }
    Good:
        dynamic_batching { }
    """
    batching = model.config.dynamic_batching
    if model.release != _SEEN_STALLS:
        return
    path = f"{_BATCHING}.priority_levels" if batching.priority_levels else ""
    for where, policy in _policies(model):
        if policy.max_queue_size or policy.default_timeout_microseconds or policy.allow_timeout_override:
            path = path or where
    if path:
        text = f"with a queue policy or priorities release {model.release} at times sleeps 500 ms while requests wait"
        yield model.found(path, text, "do without them there")


@rule("TK755", NOTE, "core backend_model.cc, SetConfiguredScheduler; seen: 62 requests of two shapes in 59 batches")
def equal_shapes(model: Model) -> Iterator[Finding]:
    """Inputs of variable shape are batched only where their shapes are equal.

    A request whose shape differs from that of the batch that is being formed ends it. Where shapes vary from request
    to request hardly any batch is larger than 1. Pad to a few shapes, or allow ragged batches if the model can take
    them.

    Bad:
        max_batch_size: 8
        dynamic_batching { }
        input [ { name: "tokens" data_type: TYPE_INT64 dims: [ -1 ] } ]
    Good:
        max_batch_size: 8
        dynamic_batching { }
        input [ { name: "tokens" data_type: TYPE_INT64 dims: [ 128 ] } ]
    """
    config = model.completed
    if config.max_batch_size < 2 or not config.HasField(_BATCHING):
        return
    names = {each.name for each in config.input if -1 in each.dims and not each.allow_ragged_batch}
    encoded = {each.name for each in config.input if is_encoded(each)}
    for i, tensor in enumerate(model.config.input):
        if tensor.name in names and tensor.name not in encoded:
            text = f"`{tensor.name}` is of variable shape: only requests of equal shape become one batch"
            yield model.found(f"input[{i}].dims", text, "pad on the client, or `allow_ragged_batch: true`")


def is_encoded(tensor: Any) -> bool:
    """Whether an input is bytes of any length, which another rule tells of (TK767)."""
    return bool(tensor.data_type == type(tensor)(data_type="TYPE_UINT8").data_type and list(tensor.dims) == [-1])


@rule("TK756", WARNING, "core dynamic_batch_scheduler.cc, CacheInsert; seen on 24.10")
def cached_errors(model: Model) -> Iterator[Finding]:
    """The response cache of a Python model keeps errors.

    On release 24.10 an error that a Python model answers goes into the cache as an answer without outputs: the same
    request gets an empty answer from then on. The cache of an ensemble above it does not do that.

    Bad:
        backend: "python"
        response_cache { enable: true }
    Good:
        backend: "python"
        response_cache { enable: false }
    """
    is_cached = model.config.response_cache.enable and model.completed.backend == "python"
    if is_cached and model.release == _SEEN_CACHED_ERRORS:
        text = f"release {model.release} also caches the errors of a Python model, as answers without outputs"
        yield model.found("response_cache", text, "enable the cache of an ensemble around it")


@rule("TK757", WARNING, "tensorrt_backend instance_state.cc, InitializeCudaGraph", live=False)
def few_graphs(model: Model) -> Iterator[Finding]:
    """CUDA graphs are captured for two batch sizes only.

    TensorRT's backend captures graphs for batch size 1, the preferred sizes and max_batch_size, each at the
    profile's optimal shape. Without preferred sizes all batches between run without a graph, and nothing says so.

    Bad:
        optimization { cuda { graphs: true } }
        dynamic_batching { }
    Good:
        optimization { cuda { graphs: true } }
        dynamic_batching { preferred_batch_size: [ 2, 4, 8 ] max_queue_delay_microseconds: 100 }
    """
    cuda, config = model.config.optimization.cuda, model.completed
    if not cuda.graphs or cuda.graph_spec or config.backend != "tensorrt" or config.max_batch_size <= 2:
        return
    if config.HasField(_BATCHING) and set(config.dynamic_batching.preferred_batch_size) <= {1, config.max_batch_size}:
        text = f"CUDA graphs are captured for batch sizes 1 and {config.max_batch_size} alone"
        hint = "give preferred_batch_size and max_queue_delay_microseconds, or graph_spec for the sizes that occur"
        yield model.found("optimization.cuda.graphs", text, hint)


@rule("TK758", NOTE, "core cache_manager.cc, HashInputs", live=False)
def uncached_gpu(model: Model) -> Iterator[Finding]:
    """The response cache does not work for inputs on a GPU.

    The cache looks a request up by a hash of its inputs, which it can take only of host memory. Requests that come
    through CUDA shared memory, or from a step on the GPU, are never found.

    Bad:
        response_cache { enable: true }
        instance_group [ { kind: KIND_GPU } ]
    Good:
        response_cache { enable: true }
        instance_group [ { kind: KIND_CPU } ]
    """
    group = next((each for each in model.config.instance_group if each.kind == each.KIND_GPU), None)
    if model.config.response_cache.enable and group is not None:
        yield model.found("response_cache", "requests whose inputs are on a GPU are never cached", "cache before it")


def _policies(model: Model) -> Iterator[tuple[str, Any]]:
    """The queue policies of the dynamic batcher that are written, and their paths."""
    batching = model.config.dynamic_batching
    if batching.HasField("default_queue_policy"):
        yield f"{_BATCHING}.default_queue_policy", batching.default_queue_policy
    for level, policy in batching.priority_queue_policy.items():
        yield f"{_BATCHING}.priority_queue_policy[{level}].value", policy
