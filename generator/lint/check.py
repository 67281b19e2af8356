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
UNREADABLE = "TK102"


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
    checked.problems += [_unreadable(path, why) for folder in folders for path, why in folder.unread()]
    broken: set[str] = set()
    asked = None if only is None else _below(only, repository)
    told: list[tuple[Model, list[tuple[Problem, tuple[Edit, ...]]]]] = []
    for model in models:
        if asked is not None and model.name not in asked:
            continue
        found = problems_of(model)
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


def problems_of(model: Model) -> list[tuple[Problem, tuple[Edit, ...]]]:
    """The problems of one model, with the edits that mend them; and what of it could not be read.

    Where a directory could not be read, what is missing and what is there is not known: no rule is believed.
    """
    try:
        syntax = model.text.problems
    except OSError as error:
        return [(Problem("TK501", Place(model.file), "", f"cannot be read: {error.strerror}"), ())]
    found = list(_problems_of_rules(model))
    unread = list(model.folder.unread())
    if any(path.endswith("/") for path, _ in unread):
        found = []
    told = {problem.place.file for problem, _ in found}
    found += [(_unreadable(path, why), ()) for path, why in unread if path not in told]
    return [*((problem, ()) for problem in syntax), *found]


def _unreadable(path: str, reason: str) -> Problem:
    hint = "the server has to be able to read it, and so has who asks here"
    return Problem(UNREADABLE, Place(path.rstrip("/") or path or "."), "", f"cannot be read: {reason}", hint)


def _problems_of_rules(model: Model) -> Iterator[tuple[Problem, tuple[Edit, ...]]]:
    told: set[Problem] = set()
    backend = model.completed.backend  # of a file with mistakes, as far as it can be told
    for each in _asked(model.is_complete, backend, _needed().intersection(model.text.tree.value)):
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


def _below(only: Collection[str], repository: Repository) -> set[str]:
    """The models that `only` are made of, and they themselves."""
    left, seen = list(only), set(only)
    while left:
        model = repository.models.get(left.pop())
        for used in member_names(model) if model is not None else ():
            if used not in seen:
                seen.add(used)
                left.append(used)
    return seen


def member_names(model: Model) -> list[str]:
    """The models that an ensemble runs; none for others, and for what cannot be read."""
    try:
        return [step.model_name for step in model.config.ensemble_scheduling.step]
    except OSError:
        return []


def _with_ensembles(broken: set[str], repository: Repository) -> set[str]:
    """`broken` and every ensemble that needs one of them, however far above."""
    above: dict[str, list[str]] = {}
    for name, model in repository.models.items():
        for member in member_names(model):
            above.setdefault(member, []).append(name)
    refused, left = set(broken), list(broken)
    while left:
        for name in above.get(left.pop(), ()):
            if name not in refused:
                refused.add(name)
                left.append(name)
    return refused
