"""Where a finding about a rendered model stands in its spec, and trees that are checked before they are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.codes import CODES
from generator.lint.files import MemoryFolder
from generator.lint.rule import RULES
from generator.lint.server import EMBEDDED, Server
from generator.lint.specs import TOLD_BEFORE, _in_spec, checked_tree, checked_trees, lint_specs, server_of
from generator.plan import Plan
from generator.problems import Place, Problem, ProblemsError, Severity
from generator.resolve.codes import CODES as RESOLVE
from generator.workspace import Workspace, open_workspace
from generator_projects import SHORT, make_project


def opened(root: Path, text: str = SHORT) -> Workspace:
    return open_workspace(make_project(root / "p", {"small": text}))


def placed(plan: Plan, model: str, field: str) -> tuple[str, int]:
    """The field of the spec and the line of a finding about a field of a rendered model."""
    problem = _in_spec(Problem("TK600", Place(f"{model}/config.pbtxt", 1, 1), field, "it is so"), plan, model)
    about = f"model `{model}`: {field}: " if field else f"model `{model}`: "
    assert problem.message == f"{about}it is so"
    assert problem.place.file.endswith("small.yaml")
    return problem.field, problem.place.line


def test_a_finding_stands_at_the_friendly_name(tmp_path: Path) -> None:
    lines = [line.partition(":")[0] for line in SHORT.splitlines()]
    production = opened(tmp_path).plans["production"][0]
    for model, field, friendly, key in (
        ("small_engine", "max_batch_size", "batching.max_batch_size", "batching"),
        ("small_engine", "dynamic_batching.preferred_batch_size[1]", "batching.preferred", "batching"),
        (
            "small_engine",
            "dynamic_batching.default_queue_policy.max_queue_size",
            "batching.queue.max_size",
            "batching",
        ),
        ("small_engine", "instance_group[0].kind", "instances", "instances"),
        ("small_engine", "platform", "engine", "  production"),
        ("small", "input[0].dims[0]", "inputs", "inputs"),
        ("small", "ensemble_scheduling.step[0].model_name", "flow", "name"),  # nobody wrote a flow
        ("small_engine", "", "model", "model"),
        ("small_engine", "optimization.graph.level", "model", "model"),
    ):
        assert placed(production, model, field) == (friendly, 1 + lines.index(key)), field


def test_a_finding_about_config_stands_in_it(tmp_path: Path) -> None:
    text = SHORT.replace("net.onnx}", "net.onnx, config: {\n  optimization: {\n    graph: {level: 1}}}}")
    plan = opened(tmp_path, text).plans["embedded"][0]
    assert placed(plan, "small_engine", "optimization.graph.level") == ("config.optimization.graph.level", 7)
    assert placed(plan, "small_engine", "optimization.priority") == ("config.optimization", 6)


def test_the_server_is_the_targets(tmp_path: Path) -> None:
    text = SHORT + '  cpu: {server: "25.03", engine: onnxruntime}\n'
    plans = opened(tmp_path, text).plans
    assert server_of(plans["embedded"][0]) == EMBEDDED
    assert server_of(plans["production"][0]) == Server("26.07", gpu="h200")
    assert server_of(plans["cpu"][0]) == Server("25.03", gpus=0)


def test_what_is_told_before_is_told_by_both() -> None:
    assert set(TOLD_BEFORE) <= set(RULES) <= set(CODES)
    assert set(TOLD_BEFORE.values()) <= set(RESOLVE)


NEVER = SHORT.replace("net.onnx}", "net.onnx, config: {version_policy: {specific: {versions: [7]}}}}")


def test_trees_are_checked_before_they_are_used(tmp_path: Path) -> None:
    work = opened(tmp_path / "good")
    notes = list(work.problems)
    trees = checked_trees(work)
    assert [tree.target for tree in trees] == ["embedded", "production"]
    assert work.problems == notes
    refused = opened(tmp_path / "bad", NEVER)
    with pytest.raises(ProblemsError) as raised:
        checked_trees(refused)
    assert [p.code for p in raised.value.problems if p.severity is Severity.ERROR] == ["TK601"]
    assert {"TK215", "TK224"} <= {problem.code for problem in raised.value.problems}, "with all that is worth knowing"


def test_a_spec_that_cannot_be_opened_hides_nothing_of_the_others(tmp_path: Path) -> None:
    project = make_project(
        tmp_path / "p", {"never": NEVER, "bad": SHORT.replace("small", "bad").replace("[8, 8]", "[9, 9]")}
    )
    found = {(p.code, Path(p.place.file).name) for p in lint_specs(open_workspace(project))}
    assert {("TK204", "bad.yaml"), ("TK601", "never.yaml")} <= found


def test_a_tree_alone() -> None:
    """As commands that have no specs check it."""
    good = {
        "m/config.pbtxt": b'backend: "python"\ninput { name: "x" data_type: TYPE_FP32 dims: 1 }\n'
        b'output { name: "y" data_type: TYPE_FP32 dims: 1 }\n',
        "m/1/model.py": b"class TritonPythonModel:\n    def execute(self, requests): ...\n",
    }
    assert list(checked_tree([MemoryFolder(good, "")], EMBEDDED).models) == ["m"]
    with pytest.raises(ProblemsError, match="TK502"):
        checked_tree(
            [MemoryFolder({**good, "m/config.pbtxt": b'name: "n"\n' + good["m/config.pbtxt"]}, "")], EMBEDDED
        )
