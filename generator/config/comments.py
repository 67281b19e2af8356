"""What a config.pbtxt says to its reader: short sentences beside the everyday fields."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from generator.config.descriptors import fields_of
from generator.plan import EnsemblePlan, ModelPlan, Plan, Tensor
from generator.server_flags import needs_of


def header_of(plan: Plan, model: ModelPlan | EnsemblePlan) -> tuple[str, ...]:
    """The comment on top: where the file comes from, and what the Plan has to say."""
    file = PurePath(plan.spec_file)
    shown = file.name if file.is_absolute() else file.as_posix()
    return (
        f"Rendered by tritonkit from {shown} for target `{plan.target.name}` (Triton {plan.target.server}).",
        "Edit the spec, not this file: the next render replaces it.",
        *model.comments,
        *(
            f"The server has to be started with {need.shown}: {need.why}."
            for engine in plan.engines() if engine.model is model for need in needs_of(engine)
        ),
    )  # fmt: skip


def comments_of(plan: Plan, message: Any) -> dict[str, str]:
    """Comments by path, as `generator.config.printer.Printer` wants them."""
    comments: dict[str, str] = {}
    if message.max_batch_size == 0:
        comments["max_batch_size"] = "No batch axis: a request is one item."
    if message.HasField("dynamic_batching"):
        comments["dynamic_batching"] = _batching(message.dynamic_batching, message.max_batch_size)
        if message.dynamic_batching.HasField("default_queue_policy"):
            comments["dynamic_batching.default_queue_policy"] = _queue(message.dynamic_batching.default_queue_policy)
    if message.instance_group:
        comments["instance_group"] = "; ".join(_instances(group) for group in message.instance_group) + "."
    if message.model_warmup:
        comments["model_warmup"] = "Sent before the model is ready."
    if message.response_cache.enable:
        comments["response_cache"] = "Works where the server is started with --cache-config."
    if message.HasField("model_metrics"):
        comments["model_metrics"] = (
            "Bounds in milliseconds; the server needs --metrics-config histogram_latencies=true."
        )
    if message.HasField("ensemble_scheduling"):
        comments |= _steps(plan, message.ensemble_scheduling)
    return comments


def _batching(batching: Any, max_batch_size: int) -> str:
    sizes = _list([str(size) for size in batching.preferred_batch_size], "or")
    delay_us = batching.max_queue_delay_microseconds
    if delay_us and sizes:
        return f"A request waits at most {_ms(delay_us)} for company; a batch of {sizes} starts at once."
    if delay_us:
        return f"A request waits at most {_ms(delay_us)} for company; a full batch starts at once."
    if sizes:
        return f"Requests that are there run together, {sizes} at a time if they can; none waits for more."
    return f"Requests that are there run together, up to {max(1, max_batch_size)}; none waits for more."


def _queue(policy: Any) -> str:
    parts = [
        f"At most {policy.max_queue_size} requests wait" if policy.max_queue_size else "Any number of requests waits"
    ]
    if policy.default_timeout_microseconds:
        then = "served after all others" if policy.timeout_action else "refused"
        parts.append(f"after {_ms(policy.default_timeout_microseconds)} a request is {then}")
    return "; ".join(parts) + "."


def _instances(group: Any) -> str:
    count = max(1, group.count)
    noun = "1 instance" if count == 1 else f"{count} instances"
    kind = fields_of(group.DESCRIPTOR)["kind"].choices.get(group.kind, "")
    if kind == "KIND_GPU":
        if len(group.gpus) == 1:
            return f"{noun} on GPU {group.gpus[0]}"
        if group.gpus:
            return f"{noun} on each of the GPUs {_list([str(gpu) for gpu in group.gpus], 'and')}"
        return f"{noun} on each GPU"
    places = {
        "KIND_CPU": "on the CPU",
        "KIND_MODEL": "placed by the model itself",
        "KIND_AUTO": "on each GPU, or on the CPU where there is none",
    }
    return f"{noun} {places.get(kind, f'of kind {group.kind}')}"


def _steps(plan: Plan, ensemble: Any) -> dict[str, str]:
    """What each hop carries, and how to read the maps."""
    models = {model.name: model for model in plan.models}
    comments = {
        "ensemble_scheduling": "Of each pair, `key` is the model's tensor and `value` the ensemble's.\n"
        "Version -1 is the newest; without it Triton looks for version 0."
    }
    for index, step in enumerate(ensemble.step):
        model = models.get(step.model_name)
        if model is None:
            continue
        sides = (("input_map", step.input_map, model.inputs), ("output_map", step.output_map, model.outputs))
        for side, mapping, tensors in sides:
            by_name: dict[str, Tensor] = {t.name: t for t in tensors}
            for name in mapping:
                if name in by_name:
                    path = f"ensemble_scheduling.step[{index}].{side}[{name}]"
                    comments[path] = by_name[name].describe()
    return comments


def _ms(microseconds: int) -> str:
    """`0.5 ms`."""
    return f"{microseconds / 1000:.3f}".rstrip("0").rstrip(".") + " ms"


def _list(words: list[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
