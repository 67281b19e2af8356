"""The two trees that are checked in are what specs/ render to, and are what they have to be for their servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from generator.config import model_configs
from generator.lint.run import lint_config
from generator.plan import EngineProgram
from generator.problems import errors
from generator.project import Project
from generator.workspace import Workspace, open_workspace, render_trees
from generator.write import MANIFEST_FILE, check

CLONE = Project(Path(__file__).parents[3])
TARGETS = ["embedded", "production"]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def work(target: str) -> Workspace:
    found = open_workspace(CLONE, target=target)
    assert errors(found.problems) == ()
    return found


@pytest.fixture
def configs(target: str) -> dict[str, ModelConfig]:
    """Every config.pbtxt that is checked in, parsed, by its directory."""
    files = sorted(CLONE.repository(target).glob("*/config.pbtxt"))
    assert files
    return {file.parent.name: text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig()) for file in files}


def test_it_is_as_rendered(target: str, work: Workspace) -> None:
    [tree] = render_trees(work)
    assert check(tree.files, CLONE.repository(target), owner_of=tree.owners.__getitem__, whole=True) == []


def test_there_is_nothing_else(target: str, work: Workspace) -> None:
    [tree] = render_trees(work)
    root = CLONE.repository(target)
    found = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert found == {*tree.files, MANIFEST_FILE}
    assert {folder.name for folder in (CLONE.root / "model_repository").iterdir()} == set(TARGETS)


def test_every_text_is_its_message(work: Workspace, configs: dict[str, ModelConfig]) -> None:
    messages = {
        name: message
        for plans in work.plans.values()
        for p in plans
        for name, (message, _) in model_configs(p).items()
    }
    assert configs == messages


def test_nothing_is_found_in_it(target: str) -> None:
    for file in CLONE.repository(target).glob("*/config.pbtxt"):
        assert lint_config(file) == []


def test_every_step_of_an_ensemble_takes_the_newest_version_of_a_model_that_is_there(
    work: Workspace, configs: dict[str, ModelConfig]
) -> None:
    ensembles = [config for config in configs.values() if config.platform == "ensemble"]
    planned = {plan.name for plans in work.plans.values() for plan in plans if plan.ensemble is not None}
    assert {ensemble.name for ensemble in ensembles} == planned >= {"canvas", "digits"}
    # The sentence embeddings' model is not checked in, and so is nothing that is rendered of it.
    assert set(configs) >= {path.stem for path in CLONE.specs.glob("*.yaml")} - {"embeddings"}
    for ensemble in ensembles:
        for step in ensemble.ensemble_scheduling.step:
            assert step.model_version == -1
            assert step.model_name in configs


def test_where_the_models_run(target: str, work: Workspace, configs: dict[str, ModelConfig]) -> None:
    engines = [
        m.name
        for plans in work.plans.values()
        for plan in plans
        for m in plan.models
        if isinstance(m.program, EngineProgram)
    ]
    assert len(engines) >= 3
    for name, config in configs.items():
        kinds = {group.kind for group in config.instance_group}
        if config.platform == "ensemble":
            assert (kinds, config.backend) == (set(), "")
        elif target == "production" and name in engines:
            assert (kinds, config.platform) == ({ModelInstanceGroup.KIND_GPU}, "tensorrt_plan")
        else:
            assert (kinds, config.backend) == ({ModelInstanceGroup.KIND_CPU}, "python")
        assert config.max_batch_size > 0


def test_preferred_sizes_are_within_the_batch(configs: dict[str, ModelConfig]) -> None:
    sizes = {name: list(config.dynamic_batching.preferred_batch_size) for name, config in configs.items()}
    assert any(sizes.values())
    for name, config in configs.items():
        assert all(size <= config.max_batch_size for size in sizes[name])
