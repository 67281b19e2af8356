"""`buffers: {process: shared}`: one process has the engine, for all instances of a model on a GPU, or on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from generator.collector import Collector, names
from generator.instances import ON_A_GPU, groups_of
from generator.plan import ModelPlan
from generator.spec.serving import Buffers, InstanceGroup

_TOGETHER, _FINE = 128, 16
# What a spec may say beside it, by field: what does not go with it, why, and what goes.
_APART = (
    ("preprocess", ("auto",), "gpu", "each instance has to know whether it hands over images or what they become"),
    ("inputs", ("device",), "host", "the engine's process takes rows from memory of the host"),
    ("outputs", ("device",), "host", "the engine's process gives rows back in memory of the host"),
    ("copies", ("inside",), "auto", "rows of several instances are copied to the GPU each by itself"),
)  # fmt: skip


@dataclass(frozen=True)
class Instances:
    """Where instances run: the `kinds` in the spec's words, those on the CPU, and the most on any one GPU."""

    kinds: Set[str]
    on_cpu: int
    on_a_gpu: int


def instances_in(groups: Sequence[InstanceGroup], config: Mapping[str, Any], *, has_gpu: bool) -> Instances:
    """Of a model; Triton's own words for them are in `config`. Without a GPU all of them are on the CPU."""
    kinds: set[str] = set()
    cpu = everywhere = 0
    named: dict[int, int] = {}
    for group in groups_of(groups, config):
        kinds.add(group.kind)
        if not has_gpu or group.kind not in ON_A_GPU:
            cpu += group.count
        elif group.gpus:
            for number in group.gpus:
                named[number] = named.get(number, 0) + group.count
        else:
            everywhere += group.count
    return Instances(kinds, cpu, everywhere + max(named.values(), default=0))


def fitting(model: ModelPlan, said: Buffers, placed: Instances, target: str, collect: Collector) -> Buffers:
    """What the spec says, as far as it goes with one process for all instances. Problems are collected."""
    place = (*model.source, "buffers")
    fits: dict[str, Any] = {}
    for field, refused, instead, why in _APART:
        if (found := getattr(said, field)) in refused:
            collect.error(
                "TK244", (*place, field),
                f"`{field}: {found}` of `{model.key}` does not go with `process: shared`: {why}",
                f"say `{field}: {instead}`, or `process: own`",
            )  # fmt: skip
            fits[field] = instead
    if model.max_batch_size == 0:
        collect.error(
            "TK244", (*place, "process"),
            f"`process: shared` runs batches of several instances together, and `{model.key}` has no batch axis "
            "(max_batch_size 0)",
            "give it one, or say `process: own`",
        )  # fmt: skip
    if "model" in placed.kinds:
        collect.error(
            "TK244", (*place, "process"),
            f"`process: shared` of `{model.key}` has an engine on each GPU or on the CPU, and instances of "
            f"`kind: model` on target `{target}` are on neither",
            "say `kind: gpu` or `kind: cpu`, or `process: own`",
        )  # fmt: skip
    elif max(placed.on_cpu, placed.on_a_gpu) <= 1:
        collect.note(
            "TK245", (*place, "process"),
            f"on target `{target}`, no engine of `{model.key}` has more than one instance: nothing is shared, and a "
            "batch goes through one process more",
            "say more instances there, or `process: own`",
        )  # fmt: skip
    return said.model_copy(update=fits)


def sizes_together(largest: int, instances: int) -> list[int]:
    """Sizes of batch that an engine on a GPU is ready for where nobody says them; `largest` is one instance's.

    They end at what all `instances` on the GPU hand over at a time, 128 at most: beyond that a GPU is hardly faster,
    and each item waits for the others. From 16 on there are four sizes to a doubling: whatever has come is run, and
    nearly half of such a batch would be padding else.
    """
    most = max(largest, min(_TOGETHER, largest * instances))
    sizes, size = [1], 1
    while size < most:
        size += size if size < _FINE else (1 << (size.bit_length() - 1)) // 4
        sizes.append(min(size, most))
    return sorted({*sizes, largest})


def check_lengths(
    model: ModelPlan, said: Buffers, opened: Sequence[int], is_open: Set[str], collect: Collector
) -> None:
    """Says that an axis beside the batch's is of several lengths, or of any; `is_open`: the inputs that have it."""
    have = "have" if len(is_open) > 1 else "has"
    of = f"lengths {list(opened)}" if opened else "any length"
    collect.error(
        "TK244", (*model.source, "buffers", "lengths" if said.lengths else "process"),
        f"`process: shared` runs batches of one length an item, and {names(sorted(is_open))} of `{model.key}` {have} "
        f"{of}",
        "let `tokenize` pad to one length (`buckets: [128]`), export the ONNX file with one, or say `process: own`",
    )  # fmt: skip
