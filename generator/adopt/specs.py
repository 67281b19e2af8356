"""Which specs a repository becomes: one for each pipeline, with a flow where that says it, and each other model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from generator.adopt.flow import NoFlowError, check_steps, flow_spec, free_key, member, member_keys
from generator.adopt.model import Drafted, friendly, whole
from generator.adopt.repository import Found, Repository
from generator.adopt.text import spec_text
from generator.adopt.verify import difference
from generator.problems import Problem, Severity
from generator.project import EMBEDDED, Project

Words = dict[str, Any]
# An ensemble and its models with a flow; the same without one; one model; one model with all of it under `config`.
Form = Literal["flow", "models", "model", "config"]


@dataclass(frozen=True)
class Draft:
    """One spec: its fields but for `targets`, how much of it is in the spec's words, and the models it is of."""

    data: Words
    form: Form
    models: Mapping[str, Found]

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.data["name"])

    def text(self, head: str, targets: Words) -> str:
        """The spec's text."""
        return spec_text(self.data | ({"targets": targets} if targets else {}), head)


class Drafter:
    """Makes the specs of one repository. `folders` has the path in the project of each model's files."""

    def __init__(
        self, repository: Repository, folders: Mapping[str, str], project: Project, target: str, where: Words
    ) -> None:
        self.models, self.folders, self.project, self.target = repository.models, folders, project, target
        self.where = {} if target == EMBEDDED else {target: where}
        self.users = _users(repository.models.values())
        self.problems: list[Problem] = []

    def drafts(self) -> list[Draft]:
        """All specs by name. What cannot be carried, and why an ensemble is no flow, goes to `problems`."""
        found = [draft for names in _connected(self.models) for draft in self._pipeline(names)]
        return sorted(found, key=lambda draft: draft.name)

    def why_not(self, draft: Draft, target: str, targets: Words) -> str:
        """Why a spec with `targets` does not come back on `target`; empty if it does."""
        wanted = {name: found.message for name, found in draft.models.items()}
        return difference(draft.text("", targets), f"{draft.name}.yaml", target, self.project, wanted)

    def _pipeline(self, names: Sequence[str]) -> Iterator[Draft]:
        """The spec of models that ensembles connect, or of one; none after a problem."""
        ensembles = [self.models[name] for name in names if self.models[name].is_ensemble]
        try:
            for ensemble in ensembles:
                check_steps(ensemble, self.models, self.users)
            if ensembles:
                yield self._as_flow(ensemble)
                return
        except NoFlowError as error:
            self.problems.append(
                Problem(
                    "TK807", ensemble.place(error.field), error.field,
                    f"ensemble `{ensemble.name}` becomes no `flow`: {error.why}",
                    "its spec says it in Triton's own words, beside its models", Severity.NOTE,
                )
            )  # fmt: skip
        yield from self._as_models(names)

    def _as_flow(self, ensemble: Found) -> Draft:
        members: dict[str, Drafted] = {}
        for name in ensemble.members:
            drafted = friendly(self.models[name], self.folders[name])
            if drafted is None:
                raise NoFlowError(
                    f"the name, the size or a tensor of its step `{name}` is none that a spec can say", ""
                )
            members[name] = drafted
        data = flow_spec(ensemble, self.folders[ensemble.name], members, self.models)
        draft = Draft(data, "flow", {name: self.models[name] for name in (*members, ensemble.name)})
        why = self.why_not(draft, self.target, self.where)
        if why:
            raise NoFlowError(why, "")
        return draft

    def _as_models(self, names: Sequence[str]) -> Iterator[Draft]:
        """Models beside each other, the one that clients ask for first: in the spec's words, else in Triton's."""
        main = self._asked_for(names)
        order = [main, *(name for name in names if name != main)]
        why = ""
        for in_words in (True, False):
            parts = {name: self._drafted(name, in_words=in_words) for name in order}
            draft = self._beside(parts)
            why = self.why_not(draft, self.target, self.where)
            if not why:
                yield draft
                return
        self.problems.append(not_carried(self.models[main], why))

    def _asked_for(self, names: Sequence[str]) -> str:
        """The ensemble that is a step of no other, if there is one."""
        ensembles = [name for name in names if self.models[name].is_ensemble]
        outermost = [name for name in ensembles if name not in self.users]
        return [*outermost, *ensembles, *names][0]

    def _drafted(self, name: str, *, in_words: bool) -> Drafted:
        found, files = self.models[name], self.folders[name]
        return (friendly(found, files) if in_words else None) or whole(found, files)

    def _beside(self, parts: Mapping[str, Drafted]) -> Draft:
        main, *others = parts
        first = parts[main]
        keys = member_keys(main, others)
        models = {keys[name]: member(name, keys[name], main, parts[name]) for name in others}
        key = free_key("ensemble" if self.models[main].is_ensemble else "model", models)
        form: Form = "models" if others else "model" if first.inputs or first.outputs else "config"
        data = {
            "name": main,
            "inputs": first.inputs,
            "outputs": first.outputs,
            "models": {key: first.model, **models},
        }
        return Draft(data, form, {name: self.models[name] for name in parts})


def not_carried(found: Found, why: str) -> Problem:
    """That a model's spec would not say what its configuration says, or could not be read."""
    return Problem("TK803", found.place(), "", f"model `{found.name}` would not come back as it is: {why}")


def _users(models: Iterable[Found]) -> dict[str, list[str]]:
    """The ensembles that have a model as a step, by the model's name."""
    users: dict[str, list[str]] = {}
    for found in models:
        for name in found.members:
            users.setdefault(name, []).append(found.name)
    return users


def _connected(models: Mapping[str, Found]) -> list[list[str]]:
    """The models by pipeline: what ensembles connect is one."""
    group = {name: {name} for name in models}
    for found in models.values():
        for name in found.members:
            if name in group and group[name] is not group[found.name]:
                group[found.name] |= group[name]
                for other in group[name]:
                    group[other] = group[found.name]
    return [sorted(names) for names in {id(names): names for names in group.values()}.values()]
