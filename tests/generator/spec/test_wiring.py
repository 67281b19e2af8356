"""Ensembles of made-up flows: good ones are wired whole, and a single mistake is told at the step that has it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.config import model_configs
from generator.problems import Problem, errors
from generator.project import Project
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import make_project
from spec_strategies import PYTHON_TYPES, Data, Draw, as_yaml

TENSORS = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*PYTHON_TYPES, "string"]),
        "dims": st.lists(st.integers(1, 9) | st.just(-1), min_size=1, max_size=3),
    }
)
MANY = settings(max_examples=80)


@st.composite
def flows(draw: Draw) -> Data:
    """A spec of 2 to 6 models in a flow without a circle, written in any order; every mapping stands in it."""
    count = draw(st.integers(2, 6))
    known = {f"in{n}": draw(TENSORS) for n in range(draw(st.integers(1, 3)))}
    inputs, used = dict(known), set()
    models: Data = {}
    flow: list[Data] = []
    for number in range(count):
        # The last ones that came are likelier, so that flows are deep as well as wide.
        sources = draw(st.lists(st.sampled_from([*known, *list(known)[-2:]]), min_size=1, max_size=3, unique=True))
        made = {f"t{number}_{n}": draw(TENSORS) for n in range(draw(st.integers(1, 2)))}
        inside = {name: draw(st.sampled_from([name, f"own_{name}"])) for name in (*sources, *made)}
        models[f"m{number}"] = {
            "python": "module:Step",
            "inputs": {inside[name]: known[name] for name in sources},
            "outputs": {inside[name]: tensor for name, tensor in made.items()},
        }
        flow.append({
            "model": f"m{number}",
            "inputs": {inside[name]: name for name in sources},
            "outputs": {inside[name]: name for name in made},
        })  # fmt: skip
        used |= set(sources)
        known |= made
    outputs = {name: tensor for name, tensor in known.items() if name not in used and name not in inputs}
    more = [name for name in used if name not in inputs]
    outputs |= {name: known[name] for name in (draw(st.lists(st.sampled_from(more), unique=True)) if more else [])}
    return {
        "name": "random",
        "inputs": {name: tensor for name, tensor in inputs.items() if name in used},
        "outputs": outputs,
        "models": models,
        "flow": draw(st.permutations(flow)),
        "batching": {"max_batch_size": draw(st.sampled_from([0, 1, 8]))},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("wiring") / "project")


def opened(project: Project, data: Data) -> Workspace:
    (project.specs / "random.yaml").write_text(as_yaml(data), encoding="utf-8")
    return open_workspace(project)


def mistakes(project: Project, data: Data) -> list[Problem]:
    return list(errors(opened(project, data).problems))


def unshared(data: Data) -> Data:
    """A copy in which no tensor stands in two places."""
    copied: Data = json.loads(json.dumps(data))
    return copied


@MANY
@given(flows())
def test_every_tensor_comes_once_before_it_is_used_and_is_used(project: Project, data: Data) -> None:
    work = opened(project, data)
    [plan] = work.plans["embedded"]
    assert plan.ensemble is not None
    # Models wait for each other all along if each takes something of the one before it.
    in_line = all(
        set(one.outputs.values()) & set(other.inputs.values())
        for one, other in itertools.pairwise(plan.ensemble.steps)
    )
    assert [problem.code for problem in work.problems] == ([] if in_line else ["TK232"])
    assert sorted(step.model for step in plan.ensemble.steps) == sorted(f"random_{key}" for key in data["models"])
    come, used = set(data["inputs"]), set()
    for step in plan.ensemble.steps:
        assert set(step.inputs.values()) <= come, "in the order of the tensors"
        used |= set(step.inputs.values())
        assert not set(step.outputs.values()) & come, "each comes once"
        come |= set(step.outputs.values())
    assert come == used | set(data["outputs"])
    message, _ = model_configs(plan)["random"]
    steps = {step.model_name: step for step in message.ensemble_scheduling.step}
    for step in data["flow"]:
        written = steps[f"random_{step['model']}"]
        assert (dict(written.input_map), dict(written.output_map)) == (step["inputs"], step["outputs"])
        assert written.model_version == -1


@MANY
@given(flows())
def test_the_order_in_which_a_flow_is_written_changes_nothing_but_the_order(project: Project, data: Data) -> None:
    in_order = {**data, "flow": sorted(data["flow"], key=lambda step: str(step["model"]))}
    messages = []
    for written in (data, in_order):
        [plan] = opened(project, written).plans["embedded"]
        configs = {name: message for name, (message, _) in model_configs(plan).items()}
        configs["random"].ensemble_scheduling.step.sort(key=lambda step: step.model_name)
        messages.append(configs)
    assert messages[0] == messages[1]


@MANY
@given(flows())
def test_mappings_of_the_same_name_can_be_left_out(project: Project, data: Data) -> None:
    short = unshared(data)
    for step in short["flow"]:
        for side in ("inputs", "outputs"):
            if all(inside == outside for inside, outside in step[side].items()):
                del step[side]
    assert render_trees(opened(project, short)) == render_trees(opened(project, data))


@dataclass(frozen=True)
class Defect:
    """A flow with one mistake, the code that tells it, and the fields of which one has it."""

    data: Data
    code: str
    fields: set[str]


def above(flow: list[Data], key: str) -> set[str]:
    """The models that `key` waits for, whether directly or not."""
    maker = {tensor: step["model"] for step in flow for tensor in step["outputs"].values()}
    found: set[str] = set()
    left = [key]
    while left:
        waiting = left.pop()
        [step] = [step for step in flow if step["model"] == waiting]
        direct = {maker[tensor] for tensor in step["inputs"].values() if tensor in maker} - found
        found |= direct
        left += direct
    return found


def renamed(draw: Draw, data: Data, index: int, name: str) -> Defect:
    data["flow"][index]["inputs"][name] = "nowhere"
    return Defect(data, "TK203", {f"flow[{index}].inputs.{name}"})


def unmapped(draw: Draw, data: Data, index: int, name: str) -> Defect:
    del data["flow"][index]["inputs"][name]
    return Defect(data, "TK203", {f"flow[{index}].inputs"})


def unknown(draw: Draw, data: Data, index: int, name: str) -> Defect:
    data["flow"][index]["inputs"]["none_such"] = data["flow"][index]["inputs"].pop(name)
    return Defect(data, "TK203", {f"flow[{index}].inputs.none_such"})


def another_type(draw: Draw, data: Data, index: int, name: str) -> Defect:
    tensor = data["models"][data["flow"][index]["model"]]["inputs"][name]
    tensor["type"] = draw(st.sampled_from([t for t in PYTHON_TYPES if t != tensor["type"]]))
    return Defect(data, "TK204", {f"flow[{index}].inputs.{name}"})


def another_rank(draw: Draw, data: Data, index: int, name: str) -> Defect:
    data["models"][data["flow"][index]["model"]]["inputs"][name]["dims"].append(3)
    return Defect(data, "TK204", {f"flow[{index}].inputs.{name}"})


def another_length(draw: Draw, data: Data, index: int, name: str) -> Defect:
    dims = data["models"][data["flow"][index]["model"]]["inputs"][name]["dims"]
    if dims[0] == -1:  # which any length meets
        return another_rank(draw, data, index, name)
    dims[0] += 1
    return Defect(data, "TK204", {f"flow[{index}].inputs.{name}"})


def made_twice(draw: Draw, data: Data, index: int, name: str) -> Defect:
    """Two outputs, or an output and an input of the pipeline, have the same name: told at the later one."""
    flow = data["flow"]
    own = draw(st.sampled_from(sorted(flow[index]["outputs"])))
    others = [
        (at, n, t) for at, step in enumerate(flow) for n, t in step["outputs"].items() if (at, n) != (index, own)
    ]
    at, other, taken = draw(st.sampled_from([*others, *((-1, "", tensor) for tensor in data["inputs"])]))
    flow[index]["outputs"][own] = taken
    fields = {f"flow[{index}].outputs.{own}"} if at < index else {f"flow[{at}].outputs.{other}"}
    if at == index:
        fields = {f"flow[{index}].outputs.{list(flow[index]['outputs'])[-1]}"}
        fields |= {f"flow[{index}].outputs.{n}" for n in (own, other)}
    return Defect(data, "TK209", fields)


def circle(draw: Draw, data: Data, index: int, name: str) -> Defect:
    """An input comes from the step itself, or from one that waits for it."""
    flow = data["flow"]
    key = flow[index]["model"]
    below = [step for step in flow if step["model"] == key or key in above(flow, step["model"])]
    last = draw(st.sampled_from(below))
    inside, tensor = draw(st.sampled_from(sorted(last["outputs"].items())))
    data["models"][key]["inputs"][name] = dict(data["models"][last["model"]]["outputs"][inside])
    flow[index]["inputs"][name] = tensor
    around = {k for k in data["models"] if k in above(flow, k)}
    return Defect(data, "TK218", {f"flow[{at}].inputs" for at, step in enumerate(flow) if step["model"] in around})


MakeDefect = Callable[[Draw, Data, int, str], Defect]
DEFECTS: list[MakeDefect] = [
    renamed,
    unmapped,
    unknown,
    another_type,
    another_rank,
    another_length,
    made_twice,
    circle,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
@settings(max_examples=40)
@given(source=st.data())
def test_a_single_mistake_is_told_where_it_is(project: Project, defect: MakeDefect, source: st.DataObject) -> None:
    data = unshared(source.draw(flows()))
    index = source.draw(st.integers(0, len(data["flow"]) - 1))
    name = source.draw(st.sampled_from(sorted(data["flow"][index]["inputs"])))
    wrong = defect(source.draw, data, index, name)
    found = mistakes(project, wrong.data)
    here = [problem for problem in found if problem.code == wrong.code and problem.field in wrong.fields]
    assert here, (wrong, found)
    lines = (project.specs / "random.yaml").read_text(encoding="utf-8").splitlines()
    first = lines.index("flow:") + 1
    for problem in here:
        assert problem.place.line > first, "it points into the flow"


def step_names(problem: Problem) -> Iterator[str]:
    """The models that a message names."""
    return (word.strip("`,") for word in problem.message.split() if word.startswith("`"))


def test_those_that_only_wait_for_a_circle_are_not_in_it(project: Project) -> None:
    one = {"type": "fp32", "dims": [1]}
    data = {
        "name": "random",
        "inputs": {"x": one},
        "outputs": {"y": one},
        "models": {
            "after": {"python": "m:A", "inputs": {"b": one}, "outputs": {"y": one}},
            "first": {"python": "m:A", "inputs": {"x": one}, "outputs": {"a": one}},
            "here": {"python": "m:A", "inputs": {"a": one, "c": one}, "outputs": {"b": one}},
            "there": {"python": "m:A", "inputs": {"b": one}, "outputs": {"c": one}},
        },
        "flow": [{"model": key} for key in ("after", "first", "here", "there")],
        "batching": {"max_batch_size": 0},
    }
    [problem] = mistakes(project, data)
    assert (problem.code, problem.field) == ("TK218", "flow[2].inputs")
    assert list(step_names(problem)) == ["random_here", "random_there"]


def test_the_same_errors_whatever_the_hash_seed(tmp_path: Path) -> None:
    """Names of a default mapping are in the order of the model, not of a set."""
    one = {"type": "fp32", "dims": [1]}
    names = [f"n{number}" for number in range(8)]
    data = {
        "name": "random",
        "inputs": dict.fromkeys(names, one),
        "outputs": {"y": one},
        "models": {"all": {"python": "m:A", "inputs": dict.fromkeys(names, one), "outputs": {"y": one}}},
        "flow": [{"model": "all"}],
    }
    [plan] = opened(make_project(tmp_path / "project"), data).plans["embedded"]
    assert plan.ensemble is not None
    assert list(plan.ensemble.steps[0].inputs) == names
