"""Specs judged by what they render to: every target's tree in memory, and each finding at its place in the spec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from generator.config.owners import ENSEMBLE_OWNERS, MODEL_OWNERS, find_place, owner
from generator.lint import suppress
from generator.lint.check import Checked, check
from generator.lint.files import Folder, MemoryFolder
from generator.lint.server import EMBEDDED, Gpu, Server
from generator.load.read import read_bytes
from generator.plan import EnsemblePlan, ModelPlan, Plan
from generator.problems import Place, Problem, ProblemsError, Severity, errors
from generator.workspace import Tree, Workspace, model_names, render_trees

# What a rule says of a configuration, and resolving the spec has said of the spec already.
TOLD_BEFORE: Mapping[str, str] = {"TK754": "TK224", "TK756": "TK225", "TK760": "TK232"}
_POOL = "TK766"  # which TK241 says of all pipelines together, where their target has a `cuda_pool_mib`
_INDEX = re.compile(r"\[[^\]]*\]")


def lint_specs(work: Workspace) -> list[Problem]:
    """Every problem of opened specs: theirs, and those of what they render to. Nothing is written."""
    # Those that cannot be opened do not hide what is wrong with the others.
    fine = replace(work, problems=[])
    found: Sequence[Problem] = []
    try:
        trees = render_trees(fine)
    except ProblemsError as error:
        found = error.problems
    else:
        _judge_memory(work)
        found = _of_trees(work, trees)
    # That a model has not been made yet is nothing that is wrong with a spec.
    problems = [p for p in work.problems if (p.code, p.severity) != ("TK234", Severity.NOTE)]
    problems += [problem for problem in found if problem not in problems]
    return _told(work, problems, whole=not errors(problems))


def checked_trees(
    work: Workspace, *, self_contained: bool = False, machine: tuple[Gpu, ...] | None = None
) -> list[Tree]:  # fmt: skip
    """Renders a workspace and judges every tree, before anything is written or started.

    `machine` are the GPUs of the machine on which a server is about to start with it; None: nobody has asked.
    What is worth knowing goes into `work.problems`. Raises ProblemsError with everything when any of it is an error.
    """
    work.stop_on_errors()
    trees = render_trees(work, self_contained=self_contained)
    _judge_memory(work)
    told = _told(work, [*work.problems, *_of_trees(work, trees, machine)])
    work.problems[:] = told
    work.stop_on_errors()
    return trees


def checked_tree(folders: Sequence[Folder], server: Server) -> Checked:
    """Judges repositories before a server gets them. Raises ProblemsError with everything found when any of it is an
    error."""
    checked = check(folders, server)
    if errors(checked.problems):
        raise ProblemsError(checked.problems)
    return checked


def server_of(plan: Plan) -> Server:
    """The server of a plan's target, as far as the spec says it."""
    if plan.target.name == "embedded":
        return EMBEDDED
    server = Server(release=plan.target.server, gpus=None if plan.target.gpu else 0, gpu=plan.target.gpu or "")
    said = plan.target.memory.cuda_pool_mib if plan.target.memory is not None else None
    return server if said is None else replace(server, cuda_pool_bytes=said << 20)


def _judge_memory(work: Workspace) -> None:
    """Adds what the targets have too little of: all pipelines of a target are on one server.

    It comes after rendering, which finds every value and file that cannot be counted, and says where it is.
    """
    for plans in work.plans.values():
        if any(plan.target.memory is not None for plan in plans):
            from generator.memory.check import problems_of_memory

            work.add(problems_of_memory(plans, work.project))


def _of_trees(work: Workspace, trees: Iterable[Tree], machine: tuple[Gpu, ...] | None = None) -> list[Problem]:
    """What the rules say of rendered trees. What is said of some of a spec's targets alone names them."""
    found: dict[Problem, list[str]] = {}
    seen = {(problem.code, problem.place.file) for problem in work.problems}
    of_file: dict[str, list[str]] = {}
    for tree in trees:
        for plan in work.plans[tree.target]:
            of_file.setdefault(plan.places().file, []).append(tree.target)
        for problem in _of_tree(tree, work.plans[tree.target], machine):
            if problem.code == _POOL and _says_its_pool(work.plans[tree.target]):
                continue
            if (TOLD_BEFORE.get(problem.code), problem.place.file) not in seen:
                found.setdefault(problem, []).append(tree.target)
    return [
        problem if len(targets) == len(of_file[problem.place.file]) else _on(problem, targets)
        for problem, targets in found.items()
    ]


def _says_its_pool(plans: Sequence[Plan]) -> bool:
    return any(plan.target.memory is not None and plan.target.memory.cuda_pool_mib is not None for plan in plans)


def _on(problem: Problem, targets: Sequence[str]) -> Problem:
    listed = ", ".join(f"`{target}`" for target in targets)
    return replace(problem, message=f"on target {listed}, {problem.message}")


def _of_tree(tree: Tree, plans: Sequence[Plan], machine: tuple[Gpu, ...] | None) -> list[Problem]:
    """What the rules say of one tree, in the words and places of the specs."""
    of_server: dict[Server, list[Plan]] = {}
    for plan in plans:
        of_server.setdefault(replace(server_of(plan), machine=machine), []).append(plan)
    problems: list[Problem] = []
    for server, served in of_server.items():
        owners = {name: plan for plan in served for name in model_names(plan)}
        checked = check([MemoryFolder(tree.files, "")], server, only=owners)
        for problem in checked.problems:
            name = problem.place.file.partition("/")[0]
            # Most that is only worth knowing was decided here, not by the spec: it is told of the repository.
            if problem.severity is not Severity.NOTE:
                problems.append(_in_spec(problem, owners[name], name))
    return problems


def _in_spec(problem: Problem, plan: Plan, name: str) -> Problem:
    """The problem where the spec says what it is about: the field's friendly name, `config`, else the model."""
    models: list[ModelPlan | EnsemblePlan] = [*plan.models, *([plan.ensemble] if plan.ensemble else [])]
    model = next(model for model in models if model.name == name)
    words = _INDEX.sub("", problem.field).split(".") if problem.field else []
    friendly = owner(ENSEMBLE_OWNERS if isinstance(model, EnsemblePlan) else MODEL_OWNERS, words)
    place: Place | None = None
    field = ".".join(map(str, model.source))
    inside = _in_config(model.config, words)
    if inside:
        place, field = plan.places(*model.source, "config", *inside), ".".join(["config", *inside])
    elif friendly is not None:
        place, field = find_place(plan, model.source, friendly), friendly
    about = f"model `{name}`: {problem.field}" if problem.field else f"model `{name}`"
    return replace(
        problem, place=place or plan.places(*model.source), field=field, message=f"{about}: {problem.message}"
    )


def _in_config(config: Mapping[str, object], words: Sequence[str]) -> list[str]:
    """As much of a field's path as the spec's `config` has."""
    path: list[str] = []
    inside: object = config
    for word in words:
        if not isinstance(inside, Mapping) or word not in inside:
            break
        path.append(word)
        inside = inside[word]
    return path


# Comments ----------------------------------------------------------------------------------------------------------


def _told(work: Workspace, problems: Sequence[Problem], *, whole: bool = False) -> list[Problem]:
    """The problems that no comment of a spec ignores, and those of the comments; unused ones where all was asked.

    An error of a stage cannot be ignored: nothing comes after it.
    """
    told = list(problems)
    for document in work.specs:
        file = document.tree.file
        data, _ = read_bytes(Path(document.path), file)
        text = data.decode("utf-8-sig", "replace")
        if not suppress.has_comments(text):
            continue
        ignores, own = suppress.of_yaml(text, file)
        mine = [problem for problem in told if problem.place.file == file and not _is_of_stage(problem)]
        kept = suppress.kept_of(mine, ignores, lambda problem: problem.place.line)
        told = [problem for problem in told if problem not in mine or problem in kept]
        told += own + (suppress.unused(ignores) if whole else [])
    return told


def _is_of_stage(problem: Problem) -> bool:
    return problem.severity is Severity.ERROR and problem.code < "TK5"
