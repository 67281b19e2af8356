"""One model: what its friendly names say in Triton's words."""

from __future__ import annotations

from typing import Any

from generator.config.tensors import input_words, output_words, warmup_file_name
from generator.plan import EngineProgram, FilesProgram, ModelPlan
from generator.spec.serving import Batching, CudaGraphs, Metrics, Queue, Versions, Warmup

# The only histogram that Triton has for a model's latency; its bounds are in milliseconds.
LATENCY_FAMILY = "nv_inference_first_response_histogram_ms"

# What people are used to see beside `backend`; the Python backend has none.
_PLATFORMS = {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx"}


def model_words(model: ModelPlan) -> dict[str, Any]:
    """The ModelConfig of the friendly names as plain data; what they leave at Triton's default is left out."""
    words = _name(model)
    if isinstance(model.program, FilesProgram) and model.program.whole:
        return words
    if model.backend in _PLATFORMS:
        words["platform"] = _PLATFORMS[model.backend]
    if model.backend:
        words["backend"] = model.backend
    words["max_batch_size"] = model.max_batch_size
    # Of a copied model one side may be left to `config`.
    tensors = {"input": [input_words(t) for t in model.inputs], "output": [output_words(t) for t in model.outputs]}
    words |= {side: entries for side, entries in tensors.items() if entries}
    if model.batching is not None and model.batching.dynamic:
        words["dynamic_batching"] = _batching(model.batching)
    if model.instances:
        words["instance_group"] = [
            _given(
                kind=f"KIND_{group.kind.upper()}", count=group.count, gpus=list(group.gpus), profile=_profiles(model)
            )
            for group in model.instances
        ]
    if model.versions is not None:
        words["version_policy"] = _versions(model.versions)
    if model.cuda_graphs is not None:
        words["optimization"] = {"cuda": _cuda(model.cuda_graphs)}
    if model.warmup:
        words["model_warmup"] = [_warmup(w, model) for w in model.warmup]
    if model.parameters:
        words["parameters"] = {name: {"string_value": value} for name, value in model.parameters.items()}
    if model.response_cache:
        words["response_cache"] = {"enable": True}
    if model.metrics is not None:
        words["model_metrics"] = metrics_words(model.metrics)
    return words


def _profiles(model: ModelPlan) -> list[str]:
    """The numbers of a TensorRT engine's several profiles: without them an instance uses the first alone."""
    profiles = model.program.build.profiles if isinstance(model.program, EngineProgram) else None
    if model.backend != "tensorrt" or not profiles or len(profiles) == 1:
        return []
    return [str(number) for number in range(len(profiles))]


def _name(model: ModelPlan) -> dict[str, Any]:
    """The name, unless `config` of a copied model leaves it out (then it is the directory's) or says all."""
    if isinstance(model.program, FilesProgram):
        said = model.config.get("name")
        if said == "" or (said is not None and model.program.whole):
            return {}
    return {"name": model.name}


def metrics_words(metrics: Metrics) -> dict[str, Any]:
    """`model_metrics` with the bounds of the latency histogram."""
    return {
        "metric_control": [
            {
                "metric_identifier": {"family": LATENCY_FAMILY},
                "histogram_options": {"buckets": list(metrics.latency_buckets_ms)},
            }
        ]
    }


def _given(**fields: Any) -> dict[str, Any]:
    """Without the fields that say nothing: 0, False and empty lists are Triton's defaults."""
    return {name: value for name, value in fields.items() if value}


def _batching(batching: Batching) -> dict[str, Any]:
    words = _given(
        preferred_batch_size=list(batching.preferred),
        max_queue_delay_microseconds=batching.max_queue_delay_us,
        preserve_ordering=batching.preserve_ordering,
    )
    if batching.priorities is not None:
        words["priority_levels"] = batching.priorities.levels
        words["default_priority_level"] = batching.priorities.default
    if batching.queue is not None:
        words["default_queue_policy"] = _queue(batching.queue)
    if batching.priorities is not None and batching.priorities.queues:
        words["priority_queue_policy"] = {level: _queue(q) for level, q in batching.priorities.queues.items()}
    return words


def _queue(queue: Queue) -> dict[str, Any]:
    return {"timeout_action": queue.on_timeout.upper()} | _given(
        default_timeout_microseconds=queue.timeout_us,
        allow_timeout_override=queue.allow_override,
        max_queue_size=queue.max_size,
    )


def _versions(versions: Versions) -> dict[str, Any]:
    if versions.latest is not None:
        return {"latest": {"num_versions": versions.latest}}
    if versions.specific is not None:
        return {"specific": {"versions": list(versions.specific)}}
    return {"all": {}}


def _cuda(graphs: CudaGraphs) -> dict[str, Any]:
    # A size alone is enough: the TensorRT backend captures it at the profile's optimal shapes.
    return {"graphs": True} | _given(
        busy_wait_events=graphs.busy_wait_events,
        output_copy_stream=graphs.output_copy_stream,
        graph_spec=[{"batch_size": size} for size in graphs.batch_sizes],
    )


def _warmup(warmup: Warmup, model: ModelPlan) -> dict[str, Any]:
    tensors = {t.name: t for t in model.inputs}
    inputs: dict[str, Any] = {}
    for name, given in warmup.inputs.items():
        tensor = tensors[name]
        entry: dict[str, Any] = {
            "data_type": f"TYPE_{tensor.dtype}",
            "dims": list(tensor.dims if given.dims is None else given.dims),
        }
        if given.file is not None:
            entry["input_data_file"] = warmup_file_name(given.file)
        else:
            entry["zero_data" if given.zero else "random_data"] = True
        inputs[name] = entry
    return {"name": warmup.name, "batch_size": warmup.batch_size, "count": warmup.count, "inputs": inputs}
