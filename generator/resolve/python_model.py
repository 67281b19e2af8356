"""What the server accepts of a model and what then fails, hangs or answers wrongly: found before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from generator.collector import Collector, Path, names
from generator.copied import files_of, hidden_in
from generator.plan import FilesProgram, FlowProgram, ModelPlan, PythonProgram, StepsProgram, Tensor
from generator.problems import Severity
from generator.project import Project
from generator.resolve.direct import buffers_of
from generator.write.names import is_valid

MOST_LISTED = 5


def check_python_model(plan: ModelPlan, collect: Collector, *, holds_bf16: bool = False) -> None:
    """Settings of a rendered Python model that cannot work; other backends are left to the server.

    `holds_bf16`: it is an engine that will have buffers, which hold what numpy has no type for.
    """
    if plan.backend != "python":
        return
    _file_name(plan, collect)
    for where, tensors in (("inputs", plan.inputs), ("outputs", plan.outputs)):
        for tensor in tensors:
            if tensor.dtype == "BF16" and not holds_bf16 and not _in_buffers(plan, tensor):
                message = f"`{tensor.name}` is bf16, which numpy does not have: a Python model cannot carry it"
                collect.error("TK226", (*plan.source, where, tensor.name), message, "cast it to fp32 in the graph")
    if isinstance(plan.program, StepsProgram):
        for tensor in plan.inputs:
            if tensor.optional:
                message = f"`{tensor.name}` is optional, and steps have nothing to work on without it"
                collect.error(
                    "TK223", (*plan.source, "inputs", tensor.name, "optional"), message, "remove `optional`"
                )
    policy = plan.config.get("model_transaction_policy")
    if isinstance(policy, dict) and policy.get("decoupled") is True:
        message = "a rendered Python model gives one answer a request; decoupled, no request would ever be answered"
        collect.error("TK223", (*plan.source, "config", "model_transaction_policy"), message, "remove it")
    if plan.response_cache:
        collect.note(
            "TK225",
            (*plan.source, "response_cache"),
            "Triton 2.51 also caches the errors of a Python model, as answers without outputs",
            "put `response_cache: true` at the top of the spec, where it is of the whole pipeline",
            severity=Severity.WARNING,
        )


def _in_buffers(plan: ModelPlan, tensor: Tensor) -> bool:
    """Whether only engines in buffers take or give a tensor, which hold what numpy has no type for."""
    stages = plan.program.stages if isinstance(plan.program, FlowProgram) else ()
    own = [stage for stage in stages if tensor.name in (*stage.inputs.values(), *stage.outputs.values())]
    return bool(own) and all(buffers_of(stage) is not None for stage in own)


def _file_name(plan: ModelPlan, collect: Collector) -> None:
    """A Python model whose file is not there is never ready, and never fails (seen on 2.51)."""
    name = plan.config.get("default_model_filename")
    if name is not None and name != "model.py":
        collect.error(
            "TK223",
            (*plan.source, "config", "default_model_filename"),
            f"`{name}` is not rendered, and the server would wait for it for ever: the file is `model.py`",
            "remove it, or make it a model of `files`",
        )


def check_labels(outputs: Sequence[Tensor], path: Path, project: Project, collect: Collector) -> None:
    """Labels files of a model's or an ensemble's outputs: there, and of a name that a repository can hold."""
    for tensor in outputs:
        if tensor.labels is None:
            continue
        here = (*path, tensor.name, "labels")
        if not project.has_file(tensor.labels):
            collect.error("TK201", here, f"there is no file `{tensor.labels}`", "paths count from the project's root")
        _name(tensor.labels, here, collect)


def check_names(plan: ModelPlan, project: Project, collect: Collector) -> None:
    """Names of the files that are copied into the repository."""
    if isinstance(plan.program, PythonProgram) and plan.program.file is not None:
        _name(plan.program.file, (*plan.source, "python"), collect)
    if isinstance(plan.program, StepsProgram) and plan.program.file is not None:
        _name(plan.program.file, plan.source, collect)
    if isinstance(plan.program, FilesProgram):
        folder, where = project.path(plan.program.directory), (*plan.source, "files")
        for path in files_of(folder):
            _name(path, where, collect, whole=True)
        if hidden := hidden_in(folder):
            listed = names(hidden[:MOST_LISTED]) + (", …" if len(hidden) > MOST_LISTED else "")
            collect.note(
                "TK233", where, f"hidden files of `{plan.program.directory}` are not copied: {listed}",
                "rename what the model needs",
            )  # fmt: skip


def _name(path: str, where: Path, collect: Collector, *, whole: bool = False) -> None:
    name = path if whole else PurePosixPath(path).name
    if not is_valid(name):
        collect.error(
            "TK227",
            where,
            f"a model repository cannot hold a file of the name {name!r}",
            "use letters, digits, `_`, `-` and `.` in it, and no `.` in front",
        )
