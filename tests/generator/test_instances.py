"""Groups of instances, in the spec's words and in Triton's: one reading for memory, buffers, pods and placing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generator.config import model_configs
from generator.instances import Group, groups_of, in_tritons_words
from generator.memory import memory_of_all
from generator.problems import ProblemsError
from generator.resolve.direct import on_one_gpu
from generator.resolve.shared_process import Instances, instances_in
from generator.spec.serving import InstanceGroup
from generator.workspace import open_workspace
from generator_projects import SHORT, make_project

OWN = (InstanceGroup(kind="gpu", count=2, gpus=[1]), InstanceGroup(kind="cpu"))
# What Triton takes, as the friendly names say it.
KNOWN = (
    ({}, Group("auto", 1, ())),
    ({"kind": "KIND_GPU", "count": 3, "gpus": [0, 2]}, Group("gpu", 3, (0, 2))),
    ({"kind": "KIND_CPU", "count": 0}, Group("cpu", 1, ())),
    ({"kind": "KIND_CPU", "count": -4}, Group("cpu", 1, ())),
    ({"kind": "KIND_MODEL", "name": "one", "rate_limiter": {"priority": 2}}, Group("model", 1, ())),
    ({"kind": "KIND_GPU", "gpus": [], "profile": ["0"]}, Group("gpu", 1, ())),
)
# What it does not; rendering says so.
ODD: tuple[Any, ...] = (
    7, None, "KIND_GPU", ["KIND_GPU"], {"kind": 1}, {"kind": None}, {"kind": "gpu"}, {"kind": "GPU"}, {"kind": "KIND_TPU"},
    {"kind": ["KIND_GPU"]}, {"count": "4"}, {"count": True}, {"count": 1.5}, {"count": None}, {"gpus": "0"}, {"gpus": ["0"]},
    {"gpus": [True]}, {"gpus": {"0": 1}},
)  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), KNOWN)
def test_what_triton_takes_is_read(said: Any, expected: Group) -> None:
    assert in_tritons_words(said) == expected
    assert list(groups_of(OWN, {"instance_group": [said, {"kind": "KIND_CPU"}]})) == [expected, Group("cpu", 1, ())]


@pytest.mark.parametrize("said", ODD, ids=repr)
def test_what_it_does_not_is_left_out_as_a_whole_everywhere_and_rendering_refuses_it(
    tmp_path: Path, said: Any
) -> None:
    assert in_tritons_words(said) is None
    groups = [said, {"kind": "KIND_GPU", "count": 3, "gpus": [1]}]
    assert list(groups_of(OWN, {"instance_group": groups})) == [Group("gpu", 3, (1,))]
    assert on_one_gpu((), {"instance_group": groups})
    assert not on_one_gpu((), {"instance_group": [said]})
    assert instances_in((), {"instance_group": groups}, has_gpu=True) == Instances({"gpu"}, 0, 3)
    spec = SHORT.replace("net.onnx}", f"net.onnx, config: {{instance_group: {json.dumps(groups)}}}}}")
    work = open_workspace(
        make_project(tmp_path, {"spec": spec.replace("engine: tensorrt, ", "")}), target="production"
    )
    [plan] = work.plans["production"]
    engine = next(model for model in memory_of_all([plan], work.project, {}).models if model.model.endswith("engine"))
    assert engine.instances == 3
    with pytest.raises(ProblemsError):
        model_configs(plan)


@pytest.mark.parametrize("said", [7, None, "KIND_GPU", {"kind": "KIND_GPU"}, []], ids=repr)
def test_where_there_is_no_list_no_groups_are_known_and_the_specs_own_do_not_count(said: Any) -> None:
    assert list(groups_of(OWN, {"instance_group": said})) == []
    assert not on_one_gpu(OWN[:1], {"instance_group": said})


def test_without_tritons_words_the_specs_own_are_meant() -> None:
    assert list(groups_of(OWN, {"max_batch_size": 4})) == [Group("gpu", 2, (1,)), Group("cpu", 1, ())]
    assert on_one_gpu(OWN[:1], {})
    assert instances_in(OWN, {}, has_gpu=False) == Instances({"gpu", "cpu"}, 3, 0)


def test_a_negative_number_is_no_gpu_though_a_configuration_can_hold_it() -> None:
    assert in_tritons_words({"kind": "KIND_GPU", "gpus": [-1]}) is None
