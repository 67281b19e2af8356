"""A pod with several GPUs: instances of a group that names none run on each, and everything counts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_plans import change, make_project, plans_of

from deploy.embedded.needs import needs_of
from deploy.operations import sizes
from deploy.operations.autoscaling import ruled_depth
from deploy.operations.drain import drain_of, longest_of
from deploy.operations.gpus import on_gpus
from deploy.operations.startup import PYTHON_S, REQUESTS_S, SERVER_S, startup_of
from deploy.release.overrides import read_overrides
from deploy.release.wanted import Wanted, wanted
from deploy.values import Options, Values, values_of
from generator.plan import ModelPlan, Plan
from generator.problems import ProblemsError
from generator.project import Project
from generator.spec.pipeline import Objective
from generator.spec.serving import InstanceGroup, Warmup

ON_ALL, ON_FOUR = [], [0, 1, 2, 3]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def with_first(plan: Plan, *groups: InstanceGroup, **changes: Any) -> Plan:
    """The plan with other instances of its first model, which is a Python model that decodes."""
    return replace(plan, models=(replace(plan.models[0], instances=groups, **changes), *plan.models[1:]))


def groups_of(model: ModelPlan) -> list[tuple[str, int, list[int]]]:
    return [(group.kind, group.count, group.gpus) for group in model.instances]


def test_a_group_without_numbers_is_on_every_gpu_of_the_pod(project: Project) -> None:
    [digits] = plans_of(project, "digits")
    groups = (InstanceGroup(kind="gpu", count=2), InstanceGroup(kind="gpu", gpus=[1]), InstanceGroup(kind="cpu"))
    [spread] = on_gpus([with_first(digits, *groups)], 4)
    assert groups_of(spread.models[0]) == [("gpu", 2, ON_FOUR), ("gpu", 1, [1]), ("cpu", 1, [])]
    assert groups_of(digits.models[1]) == [("gpu", 1, [])], "the plan that is rendered is as it was"
    odd = ("no group", {"kind": "KIND_TPU"}, {"count": "2"}, {"kind": "KIND_GPU", "gpus": "0"})
    said = [{"count": 2}, {"kind": "KIND_GPU", "gpus": [1]}, {"kind": "KIND_CPU"}, *odd]
    [spread] = on_gpus([with_first(digits, config={"instance_group": said})], 2)
    assert spread.models[0].config["instance_group"] == [{"count": 2, "gpus": [0, 1]}, *said[1:]]


def test_without_a_gpu_nothing_changes(project: Project) -> None:
    plans = plans_of(project, "digits", target="embedded")
    assert on_gpus(plans, 4) == tuple(plans)


@pytest.mark.parametrize("gpus", [ON_ALL, ON_FOUR], ids=["that the pod has", "that the group names"])
def test_startup_and_drain_count_every_instance(project: Project, gpus: list[int]) -> None:
    [digits] = plans_of(project, "digits")
    warm = Warmup(name="w", count=5, inputs={})
    made = with_first(digits, InstanceGroup(kind="gpu", count=2, gpus=gpus), warmup=(warm,))
    plans = on_gpus([made], 4)
    startup = startup_of(plans, project)
    # Eight processes and one after the engine, taken one after the other; each of the eight is warmed up.
    assert startup.expected_s == pytest.approx(SERVER_S + 9 * PYTHON_S + 8 * 5 * REQUESTS_S, abs=0.1)
    # The longest request is a begun second; eight instances of one model take 1.2 s each to unload; and 1.
    assert longest_of(plans) < 1000
    assert drain_of(plans).exit_timeout_s == 1 + 10 + 1
    assert needs_of(plans).exit_timeout_s == drain_of(plans).exit_timeout_s
    assert needs_of(plans).python_instances == 9


def test_numbers_that_one_group_names_are_gpus_of_the_others(project: Project) -> None:
    """The server sees all four, and starts the group without numbers on them."""
    [digits] = plans_of(project, "digits")
    engine = replace(digits.models[1], instances=(InstanceGroup(kind="gpu", gpus=[3]),))
    first = replace(digits.models[0], instances=(InstanceGroup(kind="gpu", count=2),))
    plans = [replace(digits, models=(first, engine, digits.models[2]))]
    assert needs_of(plans).most_instances_of_a_model == 8
    assert drain_of(plans).exit_timeout_s == 1 + 10 + 1
    assert startup_of(plans, project).expected_s == pytest.approx(SERVER_S + 9 * PYTHON_S, abs=0.1)


def test_requests_in_flight_and_that_wait_are_those_of_all_instances(project: Project) -> None:
    [digits] = plans_of(project, "digits")
    [plan] = on_gpus([replace(digits, objective=Objective(p99_ms=20))], 4)
    assert needs_of([plan]).grpc_infer_pool == 32 * (4 + 1)
    assert ruled_depth(plan, pods=2).requests == 32 * 4


def made(project: Project, gpus: int | None, *groups: InstanceGroup) -> Values:
    [digits] = plans_of(project, "digits")
    plans = [with_first(digits, *groups) if groups else digits]
    return values_of(plans, project, options=Options(gpus=gpus))


def test_values_of_a_pod_with_four_gpus(project: Project) -> None:
    eight = InstanceGroup(kind="gpu", count=8)
    one, four = made(project, None, eight), made(project, 4, eight)
    assert (one.data["gpu"]["count"], four.data["gpu"]["count"]) == (1, 4)
    assert "as your values say; a group that names no GPU has its instances on each (h200)" in " ".join(
        four.text().replace("#", " ").split()
    )
    # 32 instances instead of 8, of 5 MiB in shared memory, 64 MiB and a decoded image each.
    assert four.data["sharedMemoryBytes"] == (32 * 5 + 1) << 20
    grown = four.facts.pod.known_bytes - one.facts.pod.known_bytes
    assert grown >= 24 * (sizes.PYTHON_BYTES + 50_000_000 * sizes.DECODING_BYTES["gray"])
    assert int(four.data["resources"]["requests"]["cpu"]) == 1 + 32 + 1
    assert four.facts.startup.expected_s == pytest.approx(one.facts.startup.expected_s + 24 * PYTHON_S)
    assert four.data["drain"]["exitTimeoutSeconds"] == 1 + 39 + 1
    assert four.data["server"]["grpcMaxConnectionAgeGraceMs"] == 41_000


def test_a_pod_has_no_fewer_gpus_than_its_groups_name(project: Project) -> None:
    assert made(project, 0).data == made(project, 1).data == made(project, None).data
    embedded = values_of(
        plans_of(project, "digits", target="embedded"), project, options=Options(gpus=4, allow_vulnerable=True)
    )
    assert embedded.data["gpu"]["count"] == 0


def asked(project: Project, *sets: str) -> Wanted:
    """Of digits without a plan that would have to be built first."""
    change(project, "digits", ("engine: tensorrt, precision: fp16, ", ""))
    overrides = read_overrides((), ["image.repository=registry.example/digits", *sets])
    return wanted(project, [project.specs / "digits.yaml"], "production", overrides=overrides)


@pytest.mark.parametrize("said", ["gpu.count=4", "gpu={count: 4}"])
def test_a_release_is_counted_with_the_gpus_that_its_values_say(project: Project, said: str) -> None:
    release = asked(project, said)
    assert release.values["gpu"]["count"] == 4
    assert release.values["server"]["grpcInferPool"] == 32 * (4 + 1)


def test_fewer_than_are_needed_are_refused_as_ever(project: Project) -> None:
    change(project, "digits", ("instances: [{kind: gpu, count: 1}]", "instances: [{kind: gpu, gpus: [0, 1]}]"))
    with pytest.raises(ProblemsError, match="TK425"):
        asked(project, "gpu.count=1")


@pytest.mark.parametrize("said", ["true", "four", "65", "1.5", "0", "null", "-1"])
def test_what_is_no_number_of_gpus_is_left_to_the_chart(said: str) -> None:
    assert read_overrides((), [f"gpu.count={said}"]).gpus is None
    assert read_overrides((), ["gpu.product=NVIDIA-H200"]).gpus is None
