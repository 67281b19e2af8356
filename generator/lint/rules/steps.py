"""An ensemble's steps and the models that they run: are they there, in which version, and do they fit."""

from __future__ import annotations

from collections.abc import Iterator

from generator.lint.ensemble import Circle, circle_below, flow_of, guessed, judged, members
from generator.lint.model import Model
from generator.lint.rule import ERROR, NOTE, Edit, Finding, rule
from generator.pbtxt.words import some

NEEDS = ("ensemble_scheduling",)
_GRAPH = "core model_repository_manager.cc"


@rule("TK690", ERROR, f"{_GRAPH}, ConnectDependencyGraph")
def no_such_model(model: Model) -> Iterator[Finding]:
    """A step runs a model that is not in the repository.

    An ensemble loads only with all models of its steps, which have to stand in one of the repositories that the
    server was started with.

    Bad:
        model_name: "ader"
    Good:
        model_name: "adder"
    """
    flow = flow_of(model)
    if flow is None:
        return
    for index, step in enumerate(flow.steps):
        if model.other(step.model_name) is None:
            close = guessed(model.repository, step.model_name, model.repository.models)
            hint = f"did you mean `{close}`?" if close else "add it, or name one that is there"
            path = f"{flow.path(index)}.model_name"
            yield model.found(path, f"model `{step.model_name}` is not in the repository", hint)


@rule("TK691", ERROR, f"{_GRAPH}, CircularDependencyCheck")
def circular_ensembles(model: Model) -> Iterator[Finding]:
    """Ensembles that are made of each other.

    An ensemble cannot run itself, neither at once nor through others: the server refuses all ensembles of such a
    circle. One that stands above a circle is worse: Triton 2.51 looks for the circle's end until its stack is full,
    and ends, with all models that it serves.

    Bad:
        name: "outer"
        platform: "ensemble"
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
        output [ { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]
        ensemble_scheduling {
          step { model_name: "outer" model_version: -1
    Good:
        name: "outer"
        platform: "ensemble"
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
        output [ { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]
        ensemble_scheduling {
          step { model_name: "inner" model_version: -1
    """
    flow = flow_of(model)
    circle = circle_below(model) if flow is not None else None
    if flow is None or circle is None:
        return
    names = circle.shown(model.name)
    text = f"ensembles are made of each other: {names}"
    if model.name not in circle.at:
        text = f"this ensemble stands above a circle of ensembles ({names}), and Triton 2.51 ends when it loads it"
    index = next(i for i, step in enumerate(flow.steps) if circle_leads(model, step.model_name, circle))
    yield model.found(f"{flow.path(index)}.model_name", text, "let one of them run the models themselves")


def circle_leads(model: Model, name: str, circle: Circle) -> bool:
    """Whether a step of that name leads to the circle."""
    member = model.other(name)
    return name in circle.at or (member is not None and member is not model and circle_below(member) is not None)


@rule("TK692", ERROR, f"{_GRAPH}, CheckNode")
def version_not_served(model: Model) -> Iterator[Finding]:
    """A step wants a version that the server does not load.

    A version has to have its directory, and the model's `version_policy` has to choose it: without one the newest
    version alone is loaded. `-1` means the newest that is loaded.

    Bad:
        model_version: 1
    Good:
        model_version: -1
    """
    for index, step, member in members(model):
        path = f"ensemble_scheduling.step[{index}].model_version"
        served = member.served_numbers
        if not served or step.model_version == -1 or step.model_version in served:
            continue
        if model.text.tree.find(path) is None:
            continue
        which = some(served, quote="")
        if step.model_version == 0:
            hint = "write -1 for the newest: 0 is a version like any other"
        elif step.model_version in member.versions:
            hint = f"let the `version_policy` of `{member.name}` choose it, or write -1 for the newest"
        else:
            hint = "write -1 for the newest"
        text = f"version {step.model_version} of `{member.name}` is not loaded; it is served in version {which}"
        yield model.found(path, text, hint)


@rule("TK693", ERROR, f"{_GRAPH}, CheckNode; seen: an omitted version is version 0")
def no_version_given(model: Model) -> Iterator[Finding]:
    """A step without `model_version`.

    What is not written is 0, and 0 is the number of a version, not the newest: the server refuses the ensemble unless
    the model has a version 0. Almost always `-1` is meant, the newest one.

    Bad:
        model_name: "adder"
        input_map { key: "x" value: "a" }
    Good:
        model_name: "adder"
        model_version: -1
        input_map { key: "x" value: "a" }
    """
    for index, step, member in members(model):
        step_path = f"ensemble_scheduling.step[{index}]"
        if step.model_version != 0 or model.text.tree.find(f"{step_path}.model_version") is not None:
            continue
        served = member.served_numbers
        if served and 0 not in served:
            name = f"{step_path}.model_name"
            text = f"the step of `{member.name}` says no version, which means version 0, and that is not loaded"
            yield model.found(name, text, "write `model_version: -1` for the newest", edits=_behind(model, name))


def _behind(model: Model, path: str) -> tuple[Edit, ...]:
    """The edit that writes the newest version behind a field."""
    node, source = model.text.tree.find(path), model.text.source
    if node is None:
        return ()
    end = source.offsets[node.end - 1] + len(source.tokens[node.end - 1])
    return (Edit(end, end, " model_version: -1"),)


@rule("TK694", ERROR, "core ensemble_utils.cc, ValidateEnsembleConfig")
def smaller_batches(model: Model) -> Iterator[Finding]:
    """A model takes smaller batches than its ensemble.

    The ensemble gives a request's batch to each of its models as it is. A model's max_batch_size is 0 (it takes the
    batch as a dimension like any other), or at least the ensemble's.

    Bad:
        platform: "ensemble"
        max_batch_size: 8
    Good:
        platform: "ensemble"
        max_batch_size: 4
    """
    largest = model.config.max_batch_size
    if largest < 1:
        return
    for index, _, member in members(model):
        if member.is_open:
            continue
        its = judged(member).max_batch_size
        if 0 < its < largest:
            text = f"the ensemble takes batches of up to {largest}, its model `{member.name}` of up to {its}"
            hint = f"give `{member.name}` a max_batch_size of {largest}, or the ensemble one of {its}"
            yield model.found(f"ensemble_scheduling.step[{index}].model_name", text, hint)


@rule("TK792", NOTE, f"{_GRAPH}, CheckNode")
def refused_with_a_model(model: Model) -> Iterator[Finding]:
    """An ensemble is refused because one of its models is.

    The server loads the models of the steps first. When it refuses one of them, it refuses every ensemble above it,
    however right that is in itself.

    Bad:
        max_batch_size: -1
    Good:
        max_batch_size: 1
    """
    flow = flow_of(model) if model.repository.refused else None
    if flow is None or circle_below(model) is not None:
        return
    told = set()
    for index, step in enumerate(flow.steps):
        name = step.model_name
        if name in model.repository.refused and name not in told:
            told.add(name)
            text = f"the server refuses this ensemble because it refuses model `{name}`"
            yield model.found(f"{flow.path(index)}.model_name", text, f"mend `{name}`")
