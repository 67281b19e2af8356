"""What is to be built: one job for every version of every engine of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding
from generator.engine.install.request import accuracy_of, key_of_request, request_of
from generator.engine.install.store import Installed, installed
from generator.plan import EngineProgram, ModelPlan, Plan
from generator.problems import Problem, Severity
from generator.project import Project
from generator.spec.models import Accuracy
from generator.workspace import Workspace

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Job:
    """One engine to build: `model` of `plan`, in one version. `key` is the hash of its `request`."""

    plan: Plan
    model: ModelPlan
    version: int
    request: Mapping[str, Any]
    key: str

    @property
    def program(self) -> EngineProgram:
        """What the spec says of it."""
        assert isinstance(self.model.program, EngineProgram)  # noqa: S101  (jobs_of has looked)
        return self.model.program

    @property
    def accuracy(self) -> Accuracy | None:
        """What its answers are held to: its own, else that of the pipeline's model that has one."""
        return accuracy_of(self.plan, self.model)

    @property
    def title(self) -> str:
        """`embedded: digits_engine 1`."""
        return f"{self.plan.target.name}: {self.model.name} {self.version}"

    def installed(self, project: Project) -> Installed | None:
        """What is there for it now."""
        return installed(project, self.plan.target.name, self.model.name, self.version)

    def is_current(self, project: Project) -> bool:
        """Whether what is there is what is asked for, and whole."""
        there = self.installed(project)
        return there is not None and there.key == self.key and not there.damage()

    def read(self, project: Project) -> tuple[onnx.ModelProto, bytes]:
        """The graph that the engine is made of, folded steps included, and its bytes. Raises StageError."""
        from generator.engine.inspect import read_graph

        file = self.program.file_of(self.version)
        model = read_graph(project.path(file.onnx))
        if file.data is not None:
            import onnx

            model = onnx.load_model_from_string(file.data)
        return model, file.contents(project)

    def problems(self, findings: Iterable[Finding], severity: Severity = Severity.ERROR) -> list[Problem]:
        """A stage's findings at the fields of the spec that they are about."""
        return [self._problem(finding, severity) for finding in findings]

    def _problem(self, finding: Finding, severity: Severity) -> Problem:
        path = self.plan.path_of(self.model.source, *finding.about.split("."))
        message = f"{self.title}: {finding.message}"
        field = ".".join(map(str, path))
        return Problem(finding.code, self.plan.places(*path), field, message, finding.hint, severity)


def jobs_of(work: Workspace) -> list[Job]:
    """Every engine of the workspace, by spec and target, in the order of the flow."""
    return [
        job_of(plan, part, version, work.project)
        for plans in work.plans.values()
        for plan in plans
        for model, part, _ in plan.engines()
        for version in model.version_numbers()
    ]


def job_of(plan: Plan, model: ModelPlan, version: int, project: Project) -> Job:
    """The job for one version of one engine."""
    assert isinstance(model.program, EngineProgram)  # noqa: S101  (for the type checker: callers have looked)
    request = request_of(plan, model, version, project)
    return Job(plan, model, version, request, key_of_request(request, model.program.asked))
