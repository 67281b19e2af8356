"""What the memory plan says of pipelines on a GPU, beside what every process of their server takes there."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from copy_trace_cases import MOST, PICTURES, SHARED, Served, picture_steps, rendered, spec_of, write_onnx
from copy_trace_reader import Held, name_of

from deploy.embedded.needs import needs_of
from generator.memory import placed
from generator.memory.estimates import TENSORRT_BYTES
from generator.memory.gpu import CONTEXT_BYTES
from generator.memory.plan import region_bytes
from generator.memory.rings import rings_of
from generator.plan import EngineProgram, ModelPlan, Plan
from tritonkit_runtime.parameters import TensorSpec

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20
PLACED = "placed"  # its inputs and outputs may be on the GPU
_SLOTS = {"ring": 3, "two": 2, PICTURES: 2, PLACED: 2, SHARED: 2}
_INSTANCES = {"two": 2, SHARED: 2}
TOGETHER = 2 * MOST  # what the engine process of SHARED runs at a time: full batches of both instances
ROWS_SLOTS, ALIGNMENT_BYTES, PAGE_BYTES = 2, 64, 4096  # of the memory that an instance shares with it
LIBRARIES_PINNED_BYTES = MIB  # what a library may pin for itself
LEAST_WEIGHTS, MOST_WEIGHTS = 0.9, 1.1  # a plan of 52.3 MB has a block of 51.1 MB; 54.5 MB were not free then
QUEUE = 8
_HANDING = """\
name: handing
inputs: {{x: {{type: fp32, dims: [1]}}}}
outputs: {{seen: {{type: fp32, dims: [3]}}}}
models:
  first:
    {serving}
    inputs: {{x: {{type: fp32, dims: [1]}}}}
    outputs: {{y: {{type: fp32, dims: {dims}}}}}
    files: models/first
  second:
    {serving}
    inputs: {{y: {{type: fp32, dims: {dims}}}}}
    outputs: {{seen: {{type: fp32, dims: [3]}}}}
    files: models/second
flow:
  - {{model: first, outputs: {{y: between}}}}
  - {{model: second, inputs: {{y: between}}}}
layout: ensemble
batching: {{max_batch_size: 1}}
targets: {{production: {{server: "26.07", gpu: h200}}}}
"""
_SERVING = (
    f"batching: {{max_batch_size: 1, queue: {{max_size: {QUEUE}}}}}\n    instances: [{{kind: gpu, gpus: [0]}}]\n"
    '    parameters: {FORCE_CPU_ONLY_INPUT_TENSORS: "no"}\n    config: {backend: python}'
)


def make(folder: Path, plan: Path, given: TensorSpec, made: TensorSpec) -> Served:
    """A pipeline for each way in which engines take memory: rings, two instances, a kernel, tensors on the GPU, and
    one engine process for two instances.
    """
    (folder / "models").mkdir(parents=True)
    write_onnx(folder / "models" / "net.onnx", [given], [made])
    specs = {}
    for name, slots in _SLOTS.items():
        buffers = f"buckets: [1, 4, {MOST}], slots: {slots}"
        buffers += ", inputs: device, outputs: device" if name == PLACED else ""
        buffers += ", preprocess: gpu" if name == PICTURES else ""
        if name == SHARED:
            buffers = f"buckets: [1, 4, {MOST}, {TOGETHER}], slots: {slots}, process: shared"
        before = picture_steps(given) if name == PICTURES else ""
        instances = _INSTANCES.get(name, 1)
        specs[name] = spec_of(name, ([given], [made]), "net", buffers, before=before, instances=instances)
    repository, plans = rendered(folder, specs, lambda _: plan)
    needs = replace(needs_of(list(plans.values())), restricted_apis=())
    return Served(repository, needs, plans, dict.fromkeys(plans, ([given], [made])))


def make_handing(folder: Path) -> tuple[Path, Plan]:
    """The two models of benchmarks/gpu_pool.py, which hand a tensor on on the GPU, in an ensemble with queues."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from gpu_pool import DIMS, write_repository

    write_repository(folder / "models")
    spec = _HANDING.format(serving=_SERVING, dims=list(DIMS))
    repository, plans = rendered(folder, {"handing": spec}, lambda name: folder / name)
    return repository, next(iter(plans.values()))


@dataclass(frozen=True)
class Blocks:
    """What one instance takes, by the plan, or the process that has the engine for all: bytes of a block -> how many;
    and what TensorRT takes in all its slots. `registered`: rows that the instances share with that process.
    """

    device: Counter[int]
    pinned: Counter[int]
    weights_bytes: int
    activation_bytes: int
    contexts: int
    registered: Counter[int] = field(default_factory=Counter)


def blocks_of(plan: Plan, model: ModelPlan, told: Mapping[str, Any]) -> Blocks:
    """Of one process with an engine; `told` has the plan's file in `plan_bytes`, and what TensorRT says of it."""
    device, pinned, registered, slots = Counter[int](), Counter[int](), Counter[int](), 0
    for ring in rings_of(plan, model):
        program = ring.engine.program
        assert isinstance(program, EngineProgram)
        assert program.buffers is not None
        most = TOGETHER if ring.is_shared else MOST
        inputs, outputs = (
            [most * t.item_bytes() for t in side] for side in (ring.engine.inputs, ring.engine.outputs)
        )
        on_host = [*([] if ring.staged_bytes else inputs), *([] if program.buffers.outputs == "device" else outputs)]
        # What each is made of is said here once more: the plan has the sums.
        assert (sum(inputs) + sum(outputs), sum(on_host)) == (ring.device_slot_bytes, ring.pinned_slot_bytes)
        staged = [ring.staged_bytes] if ring.staged_bytes else []
        for size in (*inputs, *outputs, *staged):
            device[size] += ring.slots
        for size in (*on_host, *staged):
            pinned[size] += ring.slots
        slots += ring.slots
        if ring.is_shared:
            sizes = [size * MOST // most for size in (*inputs, *outputs)]
            rows = ROWS_SLOTS * sum(_whole(size, ALIGNMENT_BYTES) for size in sizes)
            assert _whole(rows, PAGE_BYTES) == ring.rows_bytes
            registered[ring.rows_bytes] += model.instance_count()
    weights = slots if int(str(told["tensorrt"]).partition(".")[0]) < 10 else 1
    return Blocks(device, pinned, weights * told["plan_bytes"], slots * told["activation_bytes"], slots, registered)


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def told_of(held: Held) -> dict[str, dict[str, int]]:
    """For a file: where -> bytes of a block -> how many."""
    places = sorted({block.where for block in held.blocks.values()})
    return {place: {str(size): n for size, n in sorted(held.sizes(place).items())} for place in places}


def stubs_in(repository: Path) -> Iterator[tuple[int, str]]:
    """The instances that run: process and model. One that never used a GPU wrote no trace."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            words = _command(int(folder.name))
            name = name_of(words)
            if name.startswith("stub of ") and any(word.startswith(f"{repository}/") for word in words):
                yield int(folder.name), name.removeprefix("stub of ")


def _command(number: int) -> list[str]:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has just ended
        return []


def region_of(number: int) -> int:
    """Bytes of /dev/shm that a stub shares with the server: the region that its command line names."""
    sizes = [
        path.stat().st_size
        for word in _command(number)
        if word and "/" not in word and (path := Path("/dev/shm") / word).is_file()
    ]
    return sum(sizes)


def _sizes(told: Mapping[str, int] | None) -> Counter[int]:
    return Counter({int(size): count for size, count in (told or {}).items()})


def _sum(sizes: Mapping[int, int]) -> int:
    return sum(size * count for size, count in sizes.items())


def wrong_of(told: Mapping[str, Any], served: Served) -> Iterator[str]:
    """Where the plan and what was seen are not the same, in words. Estimates are judged by `too_small`."""
    where = placed(list(served.plans.values()))
    for name, plan in served.plans.items():
        [model] = [model for model in plan.models if model.name == name]
        expected, instances = blocks_of(plan, model, told), told["models"].get(name, [])
        if len(instances) != where.instances(plan, model):
            yield f"{name}: {len(instances)} processes, the plan has {where.instances(plan, model)}"
        for seen in instances:
            if seen["shm_bytes"] != (region := max(region_bytes(model, {}), served.needs.shm_default_bytes)):
                yield f"{name}: {seen['shm_bytes']:,} bytes of /dev/shm, the plan has {region:,}"
        having = instances
        if expected.registered:
            having = told.get("engine_processes", {}).get(name, [])
            if len(having) != where.places(plan, model):
                yield f"{name}: {len(having)} engine processes, the plan has {where.places(plan, model)}"
            yield from (f"{name}: an instance holds {seen['held']}" for seen in instances if seen["held"])
        for seen in having:
            if (held := _sizes(seen["held"].get("registered"))) != expected.registered:
                yield f"{name}: blocks {dict(held)} are registered, the plan has {dict(expected.registered)}"
            for place, blocks in (("device", expected.device), ("pinned", expected.pinned)):
                held = _sizes(seen["held"].get(place))
                if (there := {size: held[size] for size in blocks}) != blocks:
                    yield f"{name}: of blocks {dict(blocks)} were allocated ({place}): {there}"
            rest = _sum(_sizes(seen["held"].get("device"))) - _sum(expected.device)
            others = expected.activation_bytes + expected.contexts * TENSORRT_BYTES
            least, most = (factor * expected.weights_bytes + others for factor in (LEAST_WEIGHTS, MOST_WEIGHTS))
            if not least <= rest <= most:
                yield f"{name}: {rest:,} bytes beside the buffers; the plan has {least:,.0f} to {most:,.0f}"
            if (pinned := _sum(_sizes(seen["held"].get("pinned"))) - _sum(expected.pinned)) > LIBRARIES_PINNED_BYTES:
                yield f"{name}: {pinned:,} bytes are pinned beside the buffers"
    yield from _wrong_of_server(told, served)


def _wrong_of_server(told: Mapping[str, Any], served: Served) -> Iterator[str]:
    needs, held = served.needs, told["server"]
    assert not isinstance(needs.cuda_memory_pool_bytes, int)
    for place, size in (("device", needs.cuda_memory_pool_bytes[0]), ("pinned", needs.pinned_pool_bytes)):
        if not _sizes(held.get(place))[size]:
            yield f"the server: no pool of {size:,} bytes ({place}) among {held.get(place)}"


def too_small(told: Mapping[str, Any]) -> Iterator[str]:
    """Estimates that what was seen goes beyond."""
    if (each := told["beside_each_bytes"]) > CONTEXT_BYTES:
        yield f"a context with what is loaded into it: {each:,} bytes, the estimate is {CONTEXT_BYTES:,}"
