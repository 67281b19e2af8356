"""One spec rendered in each of its layouts, under names of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_projects import digits_project
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.layouts import LAYOUTS, Layouts, in_layouts
from generator.problems import ProblemsError, UserError
from generator.project import EMBEDDED, Project
from generator.workspace import open_workspace


def layouts(project: Project) -> Layouts:
    return in_layouts(open_workspace(project, [project.specs / "digits.yaml"], EMBEDDED))


def configs(files: dict[str, bytes]) -> dict[str, ModelConfig]:
    found = {p: data for p, data in files.items() if p.endswith("/config.pbtxt")}
    return {p.partition("/")[0]: text_format.Parse(data.decode(), ModelConfig()) for p, data in found.items()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    return layouts(digits_project(tmp_path_factory.mktemp("digits") / "project"))


def test_all_three(digits: Layouts) -> None:
    assert (tuple(digits.found), digits.left_out, digits.own) == (LAYOUTS, {}, "ensemble")
    models = {layout: [model.name for model in one.plan.models] for layout, one in digits.found.items()}
    assert models == {
        "ensemble": ["digits_preprocess_ensemble", "digits_engine_ensemble", "digits_postprocess_ensemble"],
        "fused": ["digits_fused"],
        "folded": ["digits_preprocess_folded", "digits_engine_folded", "digits_postprocess_folded"],
    }


def test_no_two_share_a_path_and_every_name_fits(digits: Layouts) -> None:
    paths = [path for one in digits.found.values() for path in one.files]
    assert len(paths) == len(set(paths))
    for layout, one in digits.found.items():
        found = configs(one.files)
        assert set(found) == {path.partition("/")[0] for path in one.files}
        for name, config in found.items():
            assert config.name == name
            assert name.endswith(f"_{layout}")
            assert {step.model_name for step in config.ensemble_scheduling.step} <= set(found)
        for path, data in one.files.items():
            if path.endswith("tritonkit.json"):
                said: dict[str, Any] = json.loads(data)
                assert said["model"] == path.partition("/")[0]
                assert said["pipeline"] == f"digits_{layout}"
                assert set(said["program"].get("models", ())) <= set(found)


def test_the_folded_graph_is_another(digits: Layouts) -> None:
    graphs = {
        layout: digits.found[layout].files[f"digits_engine_{layout}/1/model.onnx"]
        for layout in ("ensemble", "folded")
    }
    assert graphs["ensemble"] != graphs["folded"]


def test_the_targets_own_layout_is_the_specs(tmp_path: Path) -> None:
    changes = {"targets": {"embedded": {"layout": "folded"}}}
    found = layouts(digits_project(tmp_path / "project", changes))
    assert (found.own, tuple(found.found)) == ("folded", LAYOUTS)


def test_what_renders_the_same_is_left_out(tmp_path: Path) -> None:
    """An engine alone has nothing before it and nothing behind it."""
    changes = {
        "preprocess": None, "postprocess": None, "inputs": {"image": None, "pixels": {"type": "fp32", "dims": [1, 8, 8]}},
        "outputs": {"label": None, "score": None, "logits": {"type": "fp32", "dims": [10]}}, "model": None,
        "models": {"engine": {"onnx": "models/digits.onnx"}},
    }  # fmt: skip
    found = layouts(digits_project(tmp_path / "project", changes))
    assert tuple(found.found) == ("ensemble",)
    assert "one model already" in found.left_out["fused"]
    assert "no arithmetic step" in found.left_out["folded"]


def test_an_engine_that_is_not_built(tmp_path: Path) -> None:
    """The spec's own layout has nothing to serve then."""
    project = digits_project(tmp_path / "project", {"model": {"precision": "fp16"}})
    with pytest.raises(ProblemsError) as error:
        layouts(project)
    assert {problem.code for problem in error.value.problems} == {"TK980"}


def test_everything_wrong_with_the_spec_is_told(tmp_path: Path) -> None:
    project = digits_project(
        tmp_path / "project", {"inputs": {"image": {"type": "fp32"}}, "model": {"onnx": "gone.onnx"}}
    )
    with pytest.raises(ProblemsError):
        layouts(project)


def test_several_specs(tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project")
    other = yaml.safe_load((project.specs / "digits.yaml").read_text())
    (project.specs / "other.yaml").write_text(yaml.safe_dump({**other, "name": "other"}, sort_keys=False))
    with pytest.raises(UserError, match="layouts are of one spec; found 2"):
        in_layouts(open_workspace(project, (), EMBEDDED))
