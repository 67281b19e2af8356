"""A setting rendered: its Plan, its files, and whether a running server can be brought to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.config import model_configs
from generator.lint.specs import checked_trees
from generator.plan import Plan
from generator.problems import Problem, ProblemsError, errors
from generator.project import OneRun, Project
from generator.resolve import resolve
from generator.workspace import Workspace, open_workspace
from loadtest.run.problem import refused
from loadtest.sweep.changed import Member, changes_of, member_of, with_changes
from loadtest.sweep.setting import LAYOUT, Setting

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from generator.spec import Spec

_CONFIG = "config.pbtxt"
# What a load call with another configuration changes of a model that keeps its files.
_OVERRIDABLE = ("dynamic_batching", "instance_group")


@dataclass(frozen=True)
class Rendered:
    """`configs` are every model's by name. Settings of the same `base` differ in nothing but what a load changes."""

    setting: Setting
    plan: Plan
    member: Member
    files: Mapping[str, bytes]
    configs: Mapping[str, ModelConfig]
    base: str


@dataclass
class Renderer:
    """Renders settings of one spec on one target; each once."""

    project: Project
    spec_file: Path
    target: str
    wanted: str | None
    axes: tuple[str, ...]
    work: Workspace = field(init=False)
    member: Member = field(init=False)
    _done: dict[Setting, Rendered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ProblemsError or UserError for what is wrong with the spec as it is."""
        self.project = OneRun(self.project.root)
        self.work = open_workspace(self.project, [self.spec_file], self.target)
        self.work.stop_on_errors()
        self.member = member_of(self.spec, self.plan, self.wanted, self.axes)

    @property
    def spec(self) -> Spec:
        """As it is written."""
        return self.work.specs[0].value

    @property
    def plan(self) -> Plan:
        """What it asks for as it is written."""
        [plan] = self.work.plans[self.target]
        return plan

    def of(self, setting: Setting) -> Rendered:
        """Raises ProblemsError (TK882 beside the spec's own codes) where the spec does not take the setting."""
        if setting not in self._done:
            try:
                self._done[setting] = self._render(setting)
            except ProblemsError as error:
                raise ProblemsError([_of(problem, setting) for problem in errors(error.problems)]) from error
        return self._done[setting]

    def check(self, settings: Sequence[Setting]) -> None:
        """Raises ProblemsError with what is wrong with any of them, before anything is started."""
        problems: dict[Problem, None] = {}
        for setting in settings:
            try:
                self.of(setting)
            except ProblemsError as error:
                problems |= dict.fromkeys(error.problems)
        if problems:
            raise ProblemsError(problems)

    def _render(self, setting: Setting) -> Rendered:
        spec = with_changes(self.spec, changes_of(self.member, setting, self.target), self.member.batching)
        plan = self.plan
        resolved = resolve(spec, self.target, self.project, plan.places, plan.spec_file)
        [tree] = checked_trees(Workspace(self.project, {self.target: [resolved]}, specs=self.work.specs))
        configs = {name: config for name, (config, _) in model_configs(resolved.plan).items()}
        # In another layout the member may be part of another model: the one with the engine.
        there = any(model.key == self.member.key for model in resolved.plan.models)
        wanted = self.member.key if there or setting.get(LAYOUT) is None else None
        member = member_of(spec, resolved.plan, wanted, self.axes)
        return Rendered(setting, resolved.plan, member, tree.files, configs, _base(tree.files, configs))


def _base(files: Mapping[str, bytes], configs: Mapping[str, ModelConfig]) -> str:
    """A hash of everything that a load call with another configuration does not change."""
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        if not path.endswith(f"/{_CONFIG}"):
            digest.update(f"{path}\0{len(data)}\0".encode() + data)
    for name, config in sorted(configs.items()):
        kept = type(config)()
        kept.CopyFrom(config)
        if config.platform != "ensemble":
            for overridable in _OVERRIDABLE:
                kept.ClearField(overridable)
        digest.update(name.encode() + b"\0" + kept.SerializeToString(deterministic=True))
    return digest.hexdigest()


def differing(one: Mapping[str, ModelConfig], other: Mapping[str, ModelConfig]) -> list[str]:
    """The models whose configurations are not the same."""
    return [name for name, config in other.items() if one.get(name) != config]


def as_json(config: ModelConfig) -> str:
    """A configuration as a load call takes it. It replaces the model's whole: what it leaves out is not kept."""
    from google.protobuf import json_format

    text: Any = json_format.MessageToJson(config, preserving_proto_field_name=True)
    return str(text)


def _of(problem: Problem, setting: Setting) -> Problem:
    """A problem of a changed spec, told as one of the setting."""
    if problem.code == "TK882":
        return problem
    message = f"{setting.words()} cannot be: {problem.message} ({problem.code})"
    return refused("TK882", "--over", message, "sweep over values that the spec takes").problems[0]
