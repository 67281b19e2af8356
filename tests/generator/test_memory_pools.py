"""What the server's CUDA pool has to hold: inputs taken from a GPU, answers left there, and what waits between models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.needs import needs_of
from generator.lint.specs import lint_specs
from generator.memory import GpuPart, Memory, memory_of
from generator.memory.queues import most_waiting
from generator.plan import ModelPlan, Plan
from generator.problems import Severity
from generator.project import Project
from generator.spec.serving import Batching, Priorities, Queue
from generator.workspace import Workspace, open_workspace
from generator_projects import make_project

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
ONE_GPU = "instances: [{kind: gpu, count: 2, gpus: [0]}]"
ALONE = f"""\
name: alone
inputs: {{pixels: {{type: fp32, dims: [1, 8, 8]}}}}
outputs: {{logits: {{type: fp32, dims: [10]}}}}
model: {{onnx: models/net.onnx, buffers: {{inputs: device}}}}
layout: fused
batching: {{max_batch_size: 32}}
{ONE_GPU}
targets: {{production: {{server: "26.07", gpu: h200}}}}
"""
TAKES = {"FORCE_CPU_ONLY_INPUT_TENSORS": "no"}


def opened(root: Path, spec: str) -> Workspace:
    return open_workspace(make_project(root / "project", {"spec": spec}), target="production")


def memory(root: Path, spec: str) -> Memory:
    work = opened(root, spec)
    work.stop_on_errors()
    return memory_of(work.plans["production"][0], work.project, {})


def digits(**changes: object) -> Plan:
    """On a GPU, with steps behind the engine that take its answers there and are otherwise as `changes` say."""
    plan = open_workspace(Project(ROOT), [ROOT / "specs" / "digits.yaml"], "production").plans["production"][0]
    engine = next(model for model in plan.models if model.name == "digits_engine")

    def changed(model: ModelPlan) -> ModelPlan:
        if model.name != "digits_postprocess":
            return model
        return replace(model, **{"instances": engine.instances, "parameters": TAKES, **changes})  # type: ignore[arg-type]

    return replace(plan, models=tuple(map(changed, plan.models)))


def waiting(plan: Plan) -> tuple[list[GpuPart], list[str]]:
    """What is counted of what waits, and what is said of it."""
    found = memory_of(plan, Project(ROOT), {})
    return (
        [part for part in found.pool_parts if part.what.endswith(", waiting")],
        [text for text in found.unknown if text.startswith("what waits in front of `digits_postprocess` on a GPU: ")],
    )


def test_inputs_that_are_taken_from_a_gpu_are_copied_into_the_pool(tmp_path: Path) -> None:
    """Two batches of 32 x 64 FP32 in each of two instances: requests of one item each, 256 bytes in 512 of the pool."""
    found = memory(tmp_path, ALONE)
    assert found.pool_parts == (GpuPart(0, "alone", "inputs from a GPU", 2 * 2, 32 * 512, "derived"),)
    assert found.cuda_pools == {0: 4 * 32 * 512}
    assert found.flags() == []


def test_answers_that_stay_on_a_gpu_leave_it_through_the_pool(tmp_path: Path) -> None:
    found = memory(tmp_path, ALONE.replace("inputs: device", "inputs: device, outputs: device"))
    assert [(part.what, part.count, part.each_bytes) for part in found.pool_parts] == [
        ("inputs from a GPU", 4, 32 * 512), ("answers to a client's GPU", 4, 32 * 512),
    ]  # fmt: skip


def test_answers_alone_may_stay_there(tmp_path: Path) -> None:
    found = memory(tmp_path, ALONE.replace("inputs: device", "outputs: device"))
    assert [(part.what, part.count, part.each_bytes) for part in found.pool_parts] == [
        ("answers to a client's GPU", 4, 32 * 512),
    ]  # fmt: skip


def test_what_is_on_the_host_needs_no_pool(tmp_path: Path) -> None:
    assert memory(tmp_path, ALONE.replace("inputs: device", "inputs: host")).cuda_pools == {0: 0}


def test_a_pool_beyond_the_servers_own_is_a_flag_of_the_server_and_the_linters(tmp_path: Path) -> None:
    """4 x 65,536 items of 512 bytes are 128 MiB: the server is started with as much."""
    spec = ALONE.replace("max_batch_size: 32", "max_batch_size: 65536, queue: {max_size: 4}")
    found = memory(tmp_path, spec)
    assert found.cuda_pool_bytes == 128 * MIB
    assert f"--cuda-memory-pool-byte-size=0:{128 * MIB}" in found.flags()
    assert GpuPart(0, "", "CUDA pool", 1, 128 * MIB, "derived") in found.gpu_parts
    work = opened(tmp_path / "needs", spec)
    needs = needs_of(work.plans["production"])
    assert needs.gpus == (0,)
    assert needs.cuda_memory_pool_bytes == {0: 128 * MIB}
    [problem] = [problem for problem in lint_specs(work) if problem.code == "TK766"]
    assert problem.severity is Severity.WARNING
    assert f"need {128 * MIB:,} bytes of CUDA pool a GPU" in problem.message
    said = spec.replace("gpu: h200}", "gpu: h200, memory: {cuda_pool_mib: 127}}")
    codes = [
        problem.code for problem in lint_specs(opened(tmp_path / "said", said)) if problem.code in ("TK241", "TK766")
    ]
    assert codes == ["TK241"]


def test_a_queue_bounds_what_waits_in_front_of_a_python_model_on_a_gpu() -> None:
    """256 requests of a full batch of 32 x 10 FP32, three batches of the only instance, and one that is formed."""
    [part], said = waiting(digits())
    assert (part.gpu, part.model, part.count, part.each_bytes) == (0, "digits_postprocess", 256 + 3 + 1, 32 * 40)
    assert said == []
    everything = memory_of(digits(), Project(ROOT), {})
    taken = 2 * 32 * 512
    assert everything.cuda_pool_bytes == 4 * 32 * 40 + taken + part.size_bytes


@pytest.mark.parametrize("batching", [
    None, Batching(dynamic=False), Batching(queue=Queue(timeout_us=1000)),
    Batching(queue=Queue(max_size=4), priorities=Priorities(levels=2, default=1, queues={2: Queue()})),
])  # fmt: skip
def test_without_a_bound_the_command_says_so_and_what_gives_one(batching: Batching | None) -> None:
    parts, [said] = waiting(digits(batching=batching))
    assert parts == []
    assert "nothing bounds how many requests wait in its queue" in said
    assert (
        "say `queue: {max_size: N}` in the `batching` of `digits_postprocess`, from which the pool is derived" in said
    )


def test_answers_that_keep_their_order_have_no_bound() -> None:
    plan = digits()
    engine = next(model for model in plan.models if model.name == "digits_engine")
    assert engine.batching is not None
    ordered = replace(
        engine, batching=engine.batching.model_copy(update={"preserve_ordering": True}),
        instances=tuple(group.model_copy(update={"count": 2}) for group in engine.instances),
    )  # fmt: skip
    models = tuple(ordered if model is engine else model for model in plan.models)
    parts, [said] = waiting(replace(plan, models=models))
    assert parts == []
    assert "`digits_engine` keeps the order of its answers" in said
    assert "say `preserve_ordering: false` in the `batching` of `digits_engine`" in said


def test_all_that_waits_on_the_gpu_counts_once_a_python_model_depends_on_the_room() -> None:
    """The engine's answers go to a second model too, which reads them on the host and has a queue without a bound."""
    plan = digits()
    assert plan.ensemble is not None
    host = replace(plan.models[-1], name="other", parameters={}, batching=None)
    step = replace(plan.ensemble.steps[-1], model="other", outputs={})
    both = replace(
        plan, models=(*plan.models, host), ensemble=replace(plan.ensemble, steps=(*plan.ensemble.steps, step)),
    )  # fmt: skip
    found = memory_of(both, Project(ROOT), {})
    assert [part.model for part in found.pool_parts if part.what.endswith(", waiting")] == ["digits_postprocess"]
    [said] = [text for text in found.unknown if text.startswith("what waits in front of")]
    assert "`other`" in said


def test_what_waits_for_a_model_that_reads_on_the_host_is_not_said_and_not_counted() -> None:
    assert waiting(digits(parameters={})) == ([], [])


def test_queues_in_the_specs_words_and_in_tritons() -> None:
    model = digits().models[-1]
    levels = Batching(
        queue=Queue(max_size=4), priorities=Priorities(levels=3, default=1, queues={2: Queue(max_size=9)})
    )
    assert most_waiting(replace(model, batching=levels)) == 4 + 9 + 4
    for said, most in (
        ({"default_queue_policy": {"max_queue_size": 7}}, 7), ({"default_queue_policy": {}}, None), ({}, None),
        ({"default_queue_policy": {"max_queue_size": 7}, "priority_levels": 2}, None),
        ({"default_queue_policy": {"max_queue_size": "7"}}, None),
    ):  # fmt: skip
        assert most_waiting(replace(model, config={"dynamic_batching": said})) == most
