"""A target says what there is of memory; what needs more is refused where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.lint.specs import checked_trees, lint_specs
from generator.memory import memory_of_all
from generator.problems import Problem, ProblemsError, Severity
from generator.workspace import Workspace, open_workspace
from generator_projects import SHORT, make_project

MIB = 1 << 20
# 4 batches of 65,536 x 10 FP32 in each of eight instances: 80 MiB.
LARGE = SHORT.replace("max_batch_size: 32, preferred: [8, 32]", "max_batch_size: 65536").replace(
    "count: 2", "count: 8"
)
BIG = SHORT.replace("max_batch_size: 32, preferred: [8, 32]", "max_batch_size: 4096")


def opened(root: Path, said: str, *, spec: str = SHORT, others: int = 0) -> Workspace:
    """A project whose production target says `memory: {said}`, beside pipelines that are like it and say nothing."""
    text = spec.replace("gpu: h200}", f"gpu: h200, memory: {{{said}}}}}") if said else spec
    specs = {f"other{n}": spec.replace("name: small", f"name: other{n}") for n in range(others)}
    return open_workspace(make_project(root / "project", {"small": text, **specs}), target="production")


def told(work: Workspace) -> list[Problem]:
    return [problem for problem in lint_specs(work) if problem.code in {"TK240", "TK241", "TK242", "TK766"}]


def test_what_is_enough_or_not_said_is_no_problem(tmp_path: Path) -> None:
    work = opened(tmp_path / "nothing", "")
    assert told(work) == []
    memory = memory_of_all(work.plans["production"], work.project, {})
    [gpu] = memory.gpus()
    enough = (
        f"shm_mib: {memory.shm_bytes // MIB}, cuda_pool_mib: 1, pinned_pool_mib: 1, "
        f"gpu_mib: {gpu.known_bytes // MIB * 10 // 9 + 1}"
    )
    assert told(opened(tmp_path / "enough", enough)) == []


def test_less_shared_memory_than_full_batches_need(tmp_path: Path) -> None:
    work = opened(tmp_path, "shm_mib: 5")
    [problem] = told(work)
    assert (problem.code, problem.severity, problem.field) == (
        "TK240", Severity.ERROR, "targets.production.memory.shm_mib",
    )  # fmt: skip
    assert problem.message == (
        "on target `production`, the Python models need 6 MiB of shared memory when every instance has a full batch, "
        "`small_preprocess` the most (1 x 5 MiB); there are 5"
    )
    assert "docker run --shm-size=6m" in problem.hint
    with pytest.raises(ProblemsError):
        checked_trees(opened(tmp_path / "again", "shm_mib: 5"))


def test_pipelines_of_one_server_need_theirs_together(tmp_path: Path) -> None:
    assert told(opened(tmp_path / "one", "shm_mib: 6")) == []
    [problem] = told(opened(tmp_path / "two", "shm_mib: 6", others=1))
    assert "the Python models of 2 pipelines together need 12 MiB" in problem.message


def test_pools_that_are_too_small(tmp_path: Path) -> None:
    """4 batches of 4,096 x 10 FP32 in each of two instances; 4 of pixels, and 2 of all tensors in two instances."""
    found = told(opened(tmp_path, "cuda_pool_mib: 1, pinned_pool_mib: 1", spec=BIG))
    cuda, pinned = 4 * 2 * 4096 * 40, 4 * 4096 * 256 + 2 * 2 * 4096 * (256 + 40)
    assert [(p.code, p.field.rpartition(".")[2], p.severity) for p in found] == [
        ("TK241", "cuda_pool_mib", Severity.ERROR), ("TK241", "pinned_pool_mib", Severity.ERROR),
    ]  # fmt: skip
    assert f"the CUDA pool has to hold {cuda:,} bytes, and the server is started with 1 MiB" in found[0].message
    assert f"the pinned pool has to hold {pinned:,} bytes" in found[1].message
    assert "wrong data and status 200" in found[0].message
    assert (
        found[0].hint == f"say `cuda_pool_mib: 2`, and start the server with --cuda-memory-pool-byte-size=GPU:{cuda}"
    )
    assert found[1].hint.endswith(f"--pinned-memory-pool-byte-size={pinned}")


@pytest.mark.parametrize(("gpu_mib", "severity"), [
    (63, Severity.ERROR), (65, Severity.WARNING), (640, Severity.WARNING), (700, Severity.WARNING), (720, None),
])  # fmt: skip
def test_a_gpu_that_is_too_small_or_nearly_full(tmp_path: Path, gpu_mib: int, severity: Severity | None) -> None:
    """583 MiB of the server's context and 64 of its pool, and an engine that nobody has built yet.

    The context's are a bound that was seen on one kind of GPU: without them it is no error.
    """
    found = told(opened(tmp_path, f"gpu_mib: {gpu_mib}"))
    assert [(p.code, p.severity) for p in found] == ([] if severity is None else [("TK242", severity)])
    if severity is not None:
        assert "on GPU 0, 647 MiB are known to be needed, the most for CUDA context of the server" in found[0].message
        assert ("; and weights and activations of" in found[0].message) == (gpu_mib >= 647)
        assert ("; 583 MiB of what is needed are a bound" in found[0].message) == (severity is Severity.WARNING)


def test_a_pool_that_the_target_does_not_say_is_judged_beside_one_that_it_does(tmp_path: Path) -> None:
    """TK766 is said of the server's own 64 MiB, unless TK241 is of `cuda_pool_mib`, for all pipelines there."""
    for number, (said, others, codes) in enumerate((
        ("pinned_pool_mib: 1", 0, {"TK241", "TK766"}), ("cuda_pool_mib: 1", 0, {"TK241"}),
        ("cuda_pool_mib: 1000", 1, set()),
    )):  # fmt: skip
        found = told(opened(tmp_path / str(number), said, spec=LARGE, others=others))
        assert {problem.code for problem in found} == codes


def test_the_servers_own_pool_is_compared_by_gpu_and_with_all_that_is_allocated_there(tmp_path: Path) -> None:
    apart = LARGE.replace(
        "[{kind: gpu, count: 8}]", "[{kind: gpu, count: 4, gpus: [0]}, {kind: gpu, count: 4, gpus: [1]}]"
    )
    assert told(opened(tmp_path / "apart", "", spec=apart)) == []
    more = apart.replace("}]", "}, {kind: gpu, count: 3}]")
    [problem] = told(opened(tmp_path / "more", "", spec=more))
    assert f"the steps need {7 * 4 * 65536 * 40:,} bytes of CUDA pool a GPU" in problem.message
    alone = LARGE[: LARGE.index("postprocess:")] + LARGE[LARGE.index("batching:") :]
    outputs = "{label: {type: string, dims: [3]}, score: {type: fp32, dims: [3]}}"
    alone = alone.replace(outputs, "{logits: {type: fp32, dims: [10]}}")
    [problem] = told(opened(tmp_path / "alone", "", spec=alone))
    assert f"the steps need {8 * 4 * 65536 * 40:,} bytes of CUDA pool a GPU" in problem.message


@pytest.mark.parametrize("group", ['{kind: KIND_GPU, gpus: ["0"]}', '{kind: KIND_GPU, count: "4"}'])
def test_what_cannot_be_counted_is_said_where_it_is_and_nothing_else(tmp_path: Path, group: str) -> None:
    spec = SHORT.replace("net.onnx}", f"net.onnx, config: {{instance_group: [{group}]}}}}")
    for said in ("", "gpu_mib: 1, shm_mib: 1"):
        found = lint_specs(opened(tmp_path / (said[:3] or "none"), said, spec=spec))
        assert [p.code for p in found if p.severity is Severity.ERROR] == ["TK302"]
        with pytest.raises(ProblemsError) as error:
            checked_trees(opened(tmp_path / f"{said[:3]}started", said, spec=spec))
        assert [p.code for p in error.value.problems if p.severity is Severity.ERROR] == ["TK302"]
