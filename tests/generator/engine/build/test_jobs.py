"""What is to be built, by which engines, at which sizes; and the hash of what decides it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_projects import digits_project, floats_project, int8, merged, model, of_any_length

from generator.engine.build.candidates.choices import Choice, choices
from generator.engine.build.candidates.compiling import Built
from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.candidates.speed import sizes_of
from generator.engine.build.jobs import Job, jobs_of
from generator.engine.build.lower.lowered import Lowered
from generator.engine.compile.base import Compiled, ShapeRange
from generator.engine.errors import StageError
from generator.engine.install import request
from generator.engine.install.request import differences
from generator.project import Project
from generator.workspace import open_workspace


def job_of(project: Project) -> Job:
    [job] = jobs_of(open_workspace(project))
    return job


def digits(root: Path, changes: Mapping[str, Any] | None = None) -> Job:
    return job_of(digits_project(root, changes))


def test_a_job_is_a_version_of_an_engine_on_a_target(tmp_path: Path) -> None:
    job = digits(tmp_path / "project")
    assert (job.title, job.version, job.model.name) == ("embedded: digits_engine 1", 1, "digits_engine")
    assert sizes_of(job) == [1, 8, 16, 32]
    assert job.request["batch"] == {"min": 1, "opt": 32, "max": 32, "preferred": [8, 16, 32]}


def test_each_version_is_a_job(tmp_path: Path) -> None:
    versions = {"onnx": {1: "models/digits.onnx", 2: "models/digits.onnx"}}
    project = digits_project(tmp_path / "project", model(**versions))
    assert [job.version for job in jobs_of(open_workspace(project))] == [1, 2]


CHANGES: Mapping[str, tuple[Mapping[str, Any], list[str]]] = {
    "precision": (model(precision="fp16"), ["precision: fp32, now fp16"]),
    "floor": (model(accuracy={"floor": 0.9}), ["accuracy.floor: 0.98, now 0.9"]),
    "keep": (model(build={"keep": {"last": 2}}), ["build.keep.last: not given, now 2"]),
    "batch": ({"batching": {"max_batch_size": 64}}, ["batch.max: 32, now 64"]),
    "steps": ({"postprocess": [{"top_k": {"k": 3, "labels": "data/digits.labels"}}]},
              ["the steps around the engine changed"]),
}  # fmt: skip


CALIBRATED: Mapping[str, tuple[Mapping[str, Any], bool]] = {
    "fp32": ({}, False),
    "fp16": (model(precision="fp16"), False),
    "int8": (int8(), True),
    "auto": (merged(int8(), model(engine="auto")), True),
    "by ModelOpt": (merged(int8(), model(build={"quantizer": "modelopt"})), False),
}


@pytest.mark.parametrize("what", CALIBRATED)
def test_an_engine_is_built_again_when_ranges_are_found_in_another_way(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, differs = CALIBRATED[what]
    before = digits(tmp_path / "project", changes)
    monkeypatch.setattr(request, "CALIBRATION_FORMAT", 1)
    now = job_of(Project(tmp_path / "project"))
    assert (before.key != now.key) is differs
    assert differences(before.request, now.request) == ["how ranges are found has changed"] * differs


@pytest.mark.parametrize("what", CHANGES)
def test_what_decides_an_engine_is_in_its_key(tmp_path: Path, what: str) -> None:
    changes, told = CHANGES[what]
    before, now = digits(tmp_path / "before"), digits(tmp_path / "now", changes)
    assert before.key != now.key
    assert differences(before.request, now.request) == told


def test_data_and_graph_decide_too_and_nothing_else(tmp_path: Path) -> None:
    before = digits(tmp_path / "before", int8())
    for name, told in {
        "models/digits.onnx": "the ONNX file changed",
        "data/digits-gate.npz": "the gate set changed",
        "data/digits-calibration.npz": "the calibration set changed",
    }.items():
        project = digits_project(tmp_path / Path(name).stem, int8())
        file = project.root / name
        if file.suffix == ".onnx":
            made = onnx.load(file)
            made.doc_string = "the same graph in another file"
            onnx.save(made, file)
        else:
            file.write_bytes(file.read_bytes() + b"\0")
        assert differences(before.request, job_of(project).request) == [told]
    same = digits(tmp_path / "same", {**int8(), "objective": {"p99_ms": 1}})
    assert same.key == before.key


def test_auto_tries_every_engine_of_the_target(tmp_path: Path) -> None:
    titles = [choice.title for choice in choices(digits(tmp_path / "a", model(engine="auto", precision="int8")))]
    assert titles == ["onnxruntime fp32", "onnxruntime int8", "inductor fp32"]
    titles = [choice.title for choice in choices(digits(tmp_path / "b", model(engine="auto", precision="fp32")))]
    assert titles == ["onnxruntime fp32", "inductor fp32"]
    assert [choice.title for choice in choices(digits(tmp_path / "c", int8()))] == ["onnxruntime int8"]


def on_a_gpu(root: Path, changes: Mapping[str, Any]) -> Job:
    """The job of a target with a GPU."""
    targets = {"targets": {"production": {"server": "26.07", "gpu": "h200"}}}
    work = open_workspace(digits_project(root, merged(changes, targets)))
    return next(job for job in jobs_of(work) if job.plan.target.name == "production")


def served(job: Job) -> dict[str, bool]:
    return {choice.title: choice.served for choice in choices(job)}


def test_what_inductor_compiles_is_served_where_the_servers_python_has_torch(tmp_path: Path) -> None:
    """The embedded server runs in the one that builds; others are told of an environment."""
    auto = model(engine="auto")
    assert served(digits(tmp_path / "a", auto)) == {"onnxruntime fp32": True, "inductor fp32": True}
    assert served(on_a_gpu(tmp_path / "b", auto)) == {
        "onnxruntime fp32": True,
        "tensorrt fp32": True,
        "inductor fp32": False,
    }
    told = model(engine="auto", parameters={"EXECUTION_ENV_PATH": "/opt/torch.tar.gz"})
    assert served(on_a_gpu(tmp_path / "c", told))["inductor fp32"]


def test_an_engine_in_buffers_has_tensors_of_one_size(tmp_path: Path) -> None:
    project = floats_project(tmp_path / "p", of_any_length(), DIMS, engine="auto")
    assert {c.title: c.served for c in choices(job_of(project))}["inductor fp32"] is False


def test_inductor_compiles_for_the_gpu_of_its_target(tmp_path: Path) -> None:
    [choice] = choices(digits(tmp_path / "a", model(engine="inductor")))
    assert (choice.served, choice.cuda) == (True, False)
    [choice] = choices(on_a_gpu(tmp_path / "b", model(engine="inductor")))
    assert (choice.served, choice.cuda) == (True, True)


def test_a_factorys_module_is_not_there_when_torch_compiles_cache_is_loaded() -> None:
    choice = Choice("inductor", "fp32")
    for kind, factory, expected in (
        ("torch.compile", "net.py:make", False), ("torch.compile", "", True), ("aotinductor", "net.py:make", True)
    ):  # fmt: skip
        made = Compiled("model.inductor", b"", {"kind": kind, **({"factory": factory} if factory else {})})
        assert Built(choice, Lowered(b""), made).served is expected


DIMS = {"values": [-1, 4], "mean": [4]}


def net(root: Path, **build: Any) -> tuple[Job, onnx.ModelProto]:
    graph = of_any_length()
    return job_of(floats_project(root, graph, DIMS, build=build)), onnx.load_from_string(graph)


def test_the_profile_comes_from_the_batching_and_the_axes(tmp_path: Path) -> None:
    [profile] = profiles_of(*net(tmp_path / "project", axes={"length": [2, 8, 32]}))
    assert profile == {"values": ShapeRange((1, 2, 4), (8, 8, 4), (8, 32, 4))}


def test_given_profiles_are_taken_as_they_are(tmp_path: Path) -> None:
    given = [
        {"min": {"values": [1, 1, 4]}, "opt": {"values": [2, 3, 4]}, "max": {"values": [8, 5, 4]}},
        {"min": {"values": [1, 5, 4]}, "opt": {"values": [1, 6, 4]}, "max": {"values": [2, 9, 4]}},
    ]
    first, second = profiles_of(*net(tmp_path / "project", profiles=given))
    assert first == {"values": ShapeRange((1, 1, 4), (2, 3, 4), (8, 5, 4))}
    assert second == {"values": ShapeRange((1, 5, 4), (1, 6, 4), (2, 9, 4))}


@pytest.mark.parametrize(
    ("shape", "words"),
    [([1, 1, 3], "does not fit the input `values`, which is [any, any, 4]"), ([1, 4], "does not fit the input")],
)
def test_a_profile_that_does_not_fit(tmp_path: Path, shape: list[int], words: str) -> None:
    one = {end: {"values": list(shape)} for end in ("min", "opt", "max")}
    with pytest.raises(StageError) as caught:
        profiles_of(*net(tmp_path / "project", profiles=[one]))
    [finding] = caught.value.findings
    assert (finding.code, finding.about) == ("TK989", "build.profiles")
    assert words in finding.message


def test_a_profile_for_another_input(tmp_path: Path) -> None:
    one = {end: {"others": [1, 1, 4]} for end in ("min", "opt", "max")}
    with pytest.raises(StageError) as caught:
        profiles_of(*net(tmp_path / "project", profiles=[one]))
    assert [finding.message for finding in caught.value.findings] == [
        "profile 0 gives shapes for what is no input: `others`", "profile 0 gives nothing for the input `values`",
    ]  # fmt: skip


def test_random_data_has_the_types_of_the_inputs(tmp_path: Path) -> None:
    from generator.engine.build.gate.judge import random_samples

    job, graph = net(tmp_path / "project", axes={"length": [2, 8, 32]})
    profiles = profiles_of(job, graph)
    first, again = (random_samples(graph.SerializeToString(), profiles) for _ in range(2))
    assert {batch["values"].shape for batch in first.batches} == {(8, 8, 4)}
    assert first.items == 64
    assert all(np.array_equal(a["values"], b["values"]) for a, b in zip(first.batches, again.batches, strict=True))
    assert first.batches[0]["values"].dtype == np.float32


def of_batches(*batches: tuple[int, int]) -> list[dict[str, Any]]:
    ends = [{"min": least, "opt": most, "max": most} for least, most in batches]
    return [{end: {"values": [size, 4, 4]} for end, size in each.items()} for each in ends]


@pytest.mark.parametrize(
    ("batches", "missing"),
    [
        ([(1, 3), (1, 5)], "batches of 6 to 8"),
        ([(2, 8)], "a batch of 1"),
        ([(6, 8), (1, 2)], "batches of 3 to 5"),
        ([(5, 5), (1, 2)], "batches of 3 to 4"),
        ([(9, 16)], "batches of 1 to 8"),
    ],
)
def test_profiles_that_leave_batches_out(tmp_path: Path, batches: list[tuple[int, int]], missing: str) -> None:
    with pytest.raises(StageError) as caught:
        profiles_of(*net(tmp_path / "project", profiles=of_batches(*batches)))
    [finding] = caught.value.findings
    assert (finding.code, finding.about) == ("TK989", "build.profiles")
    assert finding.message == f"no profile takes {missing}, and `max_batch_size` is 8"


@pytest.mark.parametrize("batches", [[(1, 8)], [(5, 16), (1, 4)], [(1, 1), (1, 8)], [(1, 8), (3, 4)]])
def test_profiles_may_share_the_batches(tmp_path: Path, batches: list[tuple[int, int]]) -> None:
    assert len(profiles_of(*net(tmp_path / "project", profiles=of_batches(*batches)))) == len(batches)
