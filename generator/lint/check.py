"""Judges repositories: every rule on every model, and which models the server would refuse."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from generator.lint.files import Folder
from generator.lint.model import Model, Repository
from generator.lint.rule import RULES, Edit, Finding, Rule
from generator.lint.server import Server
from generator.lint.suppress import without_ignored
from generator.problems import Place, Problem, Severity, errors

WITH_A_MODEL = "TK792"  # the rule that can only be asked when all models have been judged


@dataclass
class Checked:
    """What was found. `refused` names the models that the server would refuse, ensembles above them included, and
    those whose errors a comment ignores.

    `edits` are those that mend a problem, by the problem; `judged` are the models that were asked for, in order.
    """

    models: dict[str, Model] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    edits: dict[Problem, tuple[Edit, ...]] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)


def check(folders: Sequence[Folder], server: Server, only: Collection[str] | None = None) -> Checked:
    """Judges the models of `folders`, which one server serves together; `only` some of them by name.

    Nothing is run or written; what cannot be read is a problem, too.
    """
    from generator.lint import rules  # noqa: F401  (registers them)

    repository = Repository(server)
    models = [
        Model(folder.folder(n), repository) for folder in folders for n, is_dir in folder.entries.items() if is_dir
    ]
    for model in models:
        repository.add(model)
    checked = Checked(dict(repository.models))
    broken: set[str] = set()
    told: list[tuple[Model, list[tuple[Problem, tuple[Edit, ...]]]]] = []
    for model in models:
        if only is not None and model.name not in only and not _is_below(model.name, only, repository):
            continue
        found = list(problems_of(model))
        model.python_files.clear()  # syntax trees are large
        if errors(problem for problem, _ in found):
            broken.add(model.name)
        if only is None or model.name in only:
            checked.judged.append(model.name)
            told.append((model, found))
    checked.refused = repository.refused = _with_ensembles(broken, repository)
    for model, found in told:
        if model.name in checked.refused and model.is_complete:
            found += [
                (_problem(model, RULES[WITH_A_MODEL], finding), ()) for finding in RULES[WITH_A_MODEL].check(model)
            ]
        kept = without_ignored(model, found)
        checked.problems += [problem for problem, _ in kept]
        checked.edits.update({problem: edits for problem, edits in kept if edits})
    return checked


def problems_of(model: Model) -> Iterator[tuple[Problem, tuple[Edit, ...]]]:
    """The problems of one model, with the edits that mend them."""
    try:
        reading = model.text
    except OSError as error:
        yield Problem("TK501", Place(model.file), "", f"cannot be read: {error.strerror}"), ()
        return
    for problem in reading.problems:
        yield problem, ()
    told: set[Problem] = set()
    backend = model.completed.backend if model.is_complete else ""
    for each in _asked(model.is_complete, backend, _needed().intersection(reading.tree.value)):
        for finding in each.check(model):
            problem = _problem(model, each, finding)
            if problem not in told:
                told.add(problem)
                yield problem, finding.edits


@cache
def _needed() -> frozenset[str]:
    return frozenset(name for each in RULES.values() for name in each.needs)


@cache
def _asked(is_complete: bool, backend: str, given: frozenset[str]) -> tuple[Rule, ...]:
    """The rules that a configuration of this backend and with these fields is asked."""
    rules = [each for each in RULES.values() if is_complete or each.is_local]
    rules = [each for each in rules if each.backend in ("", backend)]
    return tuple(each for each in rules if not each.needs or not given.isdisjoint(each.needs))


def _problem(model: Model, each: Rule, finding: Finding) -> Problem:
    place = finding.place or model.place(finding.field)
    severity: Severity = finding.severity or each.severity
    return Problem(each.code, place, finding.field, finding.message, finding.hint, severity)


def _is_below(name: str, only: Collection[str], repository: Repository) -> bool:
    """Whether a model is one of those that `only` are made of."""
    left, seen = list(only), set(only)
    while left:
        model = repository.models.get(left.pop())
        for used in members(model) if model is not None else ():
            if used == name:
                return True
            if used not in seen:
                seen.add(used)
                left.append(used)
    return False


def members(model: Model) -> list[str]:
    """The models that an ensemble runs; none for others, and for what cannot be read."""
    try:
        return [step.model_name for step in model.config.ensemble_scheduling.step]
    except OSError:
        return []


def _with_ensembles(broken: set[str], repository: Repository) -> set[str]:
    """`broken` and every ensemble that needs one of them, however far above."""
    above: dict[str, list[str]] = {}
    for name, model in repository.models.items():
        for member in members(model):
            above.setdefault(member, []).append(name)
    refused, left = set(broken), list(broken)
    while left:
        for name in above.get(left.pop(), ()):
            if name not in refused:
                refused.add(name)
                left.append(name)
    return refused
