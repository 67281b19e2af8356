"""Plans of another GPU or another TensorRT than those of the server that is about to start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from generator.lint.check import check
from generator.lint.files import MemoryFolder
from generator.lint.server import Gpu, Server
from generator.problems import Severity

H200, H100, A100, T4 = (
    Gpu("NVIDIA H200", "9.0"), Gpu("NVIDIA H100 80GB HBM3", "9.0"),
    Gpu("NVIDIA A100-SXM4-80GB", "8.0"), Gpu("Tesla T4", "7.5"),
)  # fmt: skip
CONFIG = """platform: "tensorrt_plan"
input { name: "x" data_type: TYPE_FP32 dims: 1 }
output { name: "y" data_type: TYPE_FP32 dims: 1 }
instance_group { kind: KIND_GPU }
"""


def found(
    machine: tuple[Gpu, ...] | None, manifest: dict[str, Any], *, tensorrt: tuple[int, ...] = (11, 1, 0, 0),
    release: str = "26.07", gpu: str = "",
) -> list[tuple[str, str]]:  # fmt: skip
    """Code and message of what is wrong with a repository of one plan."""
    plan = bytes.fromhex("667472740000000001000000000000001c00000000000000") + bytes(tensorrt)
    said = {"engine": "tensorrt", "file": {"name": "model.plan"}, **manifest}
    files = {"m/config.pbtxt": CONFIG.encode(), "m/1/model.plan": plan, "m/1/engine.json": json.dumps(said).encode()}
    server = Server(release, frozenset({"tensorrt"}), gpus=1, gpu=gpu, machine=machine)
    problems = check([MemoryFolder(files, "")], server).problems
    return [(problem.code, problem.message) for problem in problems if problem.severity is Severity.ERROR]


def built_on(gpu: Gpu, hardware: str = "none", **compiled: Any) -> dict[str, Any]:
    facts = {"gpu": gpu.name, "compute_capability": gpu.capability, **compiled}
    return {"compiled": facts, "request": {"build": {"hardware": hardware}}}


@pytest.mark.parametrize(
    ("machine", "built", "hardware", "runs"),
    [
        ((H200,), H200, "none", True),
        ((H200,), A100, "none", False),
        ((H200,), H100, "none", False),  # of the same compute capability, and another chip
        ((H200,), Gpu("NVIDIA H200 MIG 1g.18gb", "9.0"), "none", True),
        ((A100, H200), H200, "none", True),
        (None, A100, "none", True),  # nobody has asked: nothing is known
        ((), A100, "none", False),  # it was asked, and has none
        ((), A100, "ampere_plus", False),
        ((), Gpu("", ""), "none", False),
        ((H200,), H100, "same_compute_capability", True),
        ((H200,), A100, "same_compute_capability", False),
        ((H200,), A100, "ampere_plus", True),
        ((A100,), H200, "ampere_plus", True),
        ((T4,), A100, "ampere_plus", False),
        ((H200,), Gpu("", ""), "none", True),  # an engine.json that does not say it
    ],
)
def test_the_gpus_of_the_machine_count(
    machine: tuple[Gpu, ...] | None, built: Gpu, hardware: str, runs: bool
) -> None:
    problems = found(machine, built_on(built, hardware))
    assert [code for code, _ in problems] == ([] if runs else ["TK797"])


def test_both_are_named() -> None:
    [(_, message)] = found((H200, H200), built_on(A100))
    assert message == (
        "the engine was built on an NVIDIA A100-SXM4-80GB (compute capability 8.0), and this machine has NVIDIA H200 "
        "(compute capability 9.0)"
    )


def test_the_machine_is_nearer_than_the_spec() -> None:
    """What the spec says of the target is about another machine, if they differ."""
    assert found((A100,), built_on(A100), gpu="h200") == []
    assert [code for code, _ in found(None, built_on(A100), gpu="h200")] == ["TK797"]


@pytest.mark.parametrize(("engine", "codes"), {"inductor": ["TK797"], "onnxruntime": []}.items())
def test_engines_of_one_gpu(engine: str, codes: list[str]) -> None:
    assert [code for code, _ in found((H200,), {**built_on(A100), "engine": engine})] == codes
    on_the_cpu = {"engine": engine, "compiled": {"cpu": "a processor"}}
    assert found((H200,), on_the_cpu) == []
    if engine == "inductor":
        assert found((), on_the_cpu) == []


def test_a_machine_without_a_gpu_is_said_to_have_none() -> None:
    [(_, message)] = found((), built_on(H200))
    assert message.endswith("and this machine has no GPU")


@pytest.mark.parametrize(
    ("manifest", "codes"),
    [
        ({"version_compatible": True}, []),
        ({"version_compatible": False}, ["TK703"]),
        ({"version_compatible": "yes"}, ["TK703"]),
        ({}, ["TK703"]),
    ],
)
def test_an_older_plan_is_loaded_if_it_was_built_for_that(manifest: dict[str, Any], codes: list[str]) -> None:
    problems = found(None, built_on(H200, **manifest), tensorrt=(10, 9, 0, 34))
    assert [code for code, _ in problems] == codes


def test_a_newer_plan_is_not() -> None:
    problems = found(None, built_on(H200, version_compatible=True), tensorrt=(11, 1, 0, 0), release="25.03")
    assert [code for code, _ in problems] == ["TK703"]


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        ({"compiled": 3}, []),
        ({"request": []}, ["TK797"]),
        ({"request": {"build": 1}}, ["TK797"]),
        ({"compiled": {"gpu": [], "compute_capability": {}}}, []),
    ],
)
def test_a_manifest_that_says_something_else(said: dict[str, Any], codes: list[str]) -> None:
    assert [code for code, _ in found((H200,), {**built_on(A100), **said})] == codes
