"""What an ensemble's steps do with its tensors: who writes and reads each, what can never run, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from generator.lint.model import kept
from generator.pbtxt.words import guess

if TYPE_CHECKING:
    from generator.lint.model import Model, Repository

_MOST_GUESSES, MOST_CHOICES = 50, 500  # to look for what was meant takes longer than all else
_MOST_SHOWN = 8  # models of a circle
STEPS = "ensemble_scheduling.step"


@dataclass
class Tensor:
    """A tensor of an ensemble. `writers` and `readers` are steps, each with the name that its model gives it."""

    name: str
    is_input: bool = False
    is_output: bool = False
    writers: list[tuple[int, str]] = field(default_factory=list)
    readers: list[tuple[int, str]] = field(default_factory=list)


class Flow:
    """The steps of an ensemble and the tensors between them, by the names that the ensemble gives them."""

    def __init__(self, model: Model) -> None:
        config = model.config
        self.steps: list[Any] = list(config.ensemble_scheduling.step)
        self.inputs = [tensor.name for tensor in config.input]
        self.outputs = [tensor.name for tensor in config.output]
        self.is_whole = bool(self.steps) and all(s.model_name and s.input_map and s.output_map for s in self.steps)
        self.tensors: dict[str, Tensor] = {}
        for name in self.inputs:
            self._tensor(name).is_input = True
        for name in self.outputs:
            self._tensor(name).is_output = True
        for index, step in enumerate(self.steps):
            for own, name in sorted(step.input_map.items()):
                self._tensor(name).readers.append((index, own))
            for own, name in sorted(step.output_map.items()):
                self._tensor(name).writers.append((index, own))
        self._pair()

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            self.tensors[name] = Tensor(name)
        return self.tensors[name]

    # What is missing ------------------------------------------------------------------------------------------------

    def _pair(self) -> None:
        """Finds what does not fit, and of names that are alike which may have been meant for which (`meant`)."""
        every = self.tensors.values()
        # An input that nothing reads is fine where a step writes it and it is an output too.
        self.unused_inputs = [
            t.name for t in every if t.is_input and not t.readers and not (t.writers and t.is_output)
        ]
        self.absent_outputs = [t.name for t in every if t.is_output and not t.writers and not t.is_input]
        lost = [t.name for t in every if t.readers and not t.writers and not t.is_input and not t.is_output]
        unread = [t.name for t in every if t.writers and not t.readers and not t.is_output and not t.is_input]
        self.meant: dict[str, str] = {}
        for names, choices in ((self.unused_inputs, lost), (self.absent_outputs, unread), (lost, unread)):
            for name in names[:_MOST_GUESSES]:
                close = guess(name, choices[:_MOST_GUESSES]) if choices and name not in self.meant.values() else ""
                if close or (len(names) == len(choices) == 1 and name not in self.meant.values()):
                    self.meant[name] = close or choices[0]
        told = set(self.meant.values())
        self.lost = [name for name in lost if name not in told]
        self.unread = [name for name in unread if name not in told]
        self._given = {*self.inputs, *lost, *self.absent_outputs}

    @property
    def is_sound(self) -> bool:
        """Whether the server has nothing against the tensors."""
        wrong = self.unused_inputs or self.absent_outputs or self.lost or self.unread
        written_twice = any(len(tensor.writers) > 1 for tensor in self.tensors.values())
        return self.is_whole and not wrong and not written_twice and len(self.order()) == len(self.steps)

    def circles(self) -> list[list[int]]:
        """Steps that wait for each other. Of circles that hang together not every one is named."""
        waiting = set(range(len(self.steps))).difference(self.order())
        found, seen = [], set[int]()
        for start in sorted(waiting):
            way: dict[int, None] = {}
            at = start
            while at not in way and at not in seen:
                way[at] = None
                at = next(step for step in self.before(at) if step in waiting)
            if at in way:
                steps = list(way)
                found.append(steps[steps.index(at) :][::-1])
            seen.update(way)
        return found

    def order(self) -> list[int]:
        """The steps in an order in which they can run, if all that is read were there; without those in circles and
        behind them."""
        missing = [{t for t in step.input_map.values() if t not in self._given} for step in self.steps]
        ready = [index for index, names in enumerate(missing) if not names]
        written: set[str] = set()
        for index in ready:
            for name in sorted(self.steps[index].output_map.values()):
                readers = () if name in written else self.tensors[name].readers
                written.add(name)
                for reader, _ in readers:
                    if name in missing[reader]:
                        missing[reader].discard(name)
                        if not missing[reader]:
                            ready.append(reader)
        return ready

    def before(self, index: int) -> list[int]:
        """The steps that write what a step reads; of a tensor that several write, the first of them."""
        names = sorted(self.steps[index].input_map.values())
        writers = [self.tensors[name].writers for name in names if name not in self._given]
        return [of[0][0] for of in writers if of]

    # Where it stands ------------------------------------------------------------------------------------------------

    def path(self, index: int, mapping: str = "", own: str = "") -> str:
        """The path of a step, or of the ensemble's name of a tensor in its `input_map` or `output_map`."""
        return f"{STEPS}[{index}]" + (f".{mapping}[{own}].value" if mapping else "")

    def read_at(self, name: str) -> str:
        """Where a tensor is read first."""
        index, own = self.tensors[name].readers[0]
        return self.path(index, "input_map", own)

    def written_at(self, name: str, which: int = 0) -> str:
        """Where a tensor is written."""
        index, own = self.tensors[name].writers[which]
        return self.path(index, "output_map", own)


def flow_of(model: Model) -> Flow | None:
    """The flow of an ensemble whose steps say all that they have to; None for other models."""
    flow = model.flow if model.is_ensemble else None
    return flow if flow is not None and flow.is_whole else None


def members(model: Model) -> Iterator[tuple[int, Any, Model]]:
    """The steps of an ensemble with their models: those that are there and can be read."""
    flow = flow_of(model)
    if flow is None:
        return
    for index, step in enumerate(flow.steps):
        member = model.other(step.model_name)
        if member is not None and member.is_complete:
            yield index, step, member


def is_decoupled(model: Model) -> bool:
    """Whether a model may answer a request any number of times; an ensemble does where one of its models does."""
    config = model.completed if model.is_ensemble or model.server.auto_complete else model.config
    return bool(config.model_transaction_policy.decoupled)


class Tensors:
    """The inputs or outputs of a step's model, by name."""

    def __init__(self, tensors: Iterable[Any]) -> None:
        self.every = list(tensors)
        self.named: dict[str, list[int]] = {}
        for index, tensor in enumerate(self.every):
            self.named.setdefault(tensor.name, []).append(index)

    @cached_property
    def needed(self) -> Collection[str]:
        """Of inputs, those that are not optional, in their order."""
        return {tensor.name: None for tensor in self.every if tensor.name and not tensor.optional}

    def first(self, name: str) -> Any:
        """The first one of a name; None where there is none."""
        return self.every[self.named[name][0]] if name in self.named else None

    def mapped(self, mapping: Iterable[str]) -> list[Any]:
        """Those that a step maps, in the model's order."""
        return [self.every[index] for index in sorted(i for own in mapping for i in self.named.get(own, ()))]


@kept
def inputs_of(member: Model) -> Tensors:
    """The inputs of a step's model."""
    return Tensors(judged(member).input)


@kept
def outputs_of(member: Model) -> Tensors:
    """The outputs of a step's model."""
    return Tensors(judged(member).output)


def guessed(repository: Repository, word: str, choices: Collection[str]) -> str:
    """The choice that a word is close to, or empty: of many choices, and after many words, nothing is looked for."""
    guesses = repository.facts.get("guesses", 0)
    if guesses >= _MOST_GUESSES or len(choices) > MOST_CHOICES:
        return ""
    repository.facts["guesses"] = guesses + 1
    return guess(word, choices)


def decoupled_ensembles(repository: Repository) -> set[str]:
    """The ensembles that are decoupled, because one of the models that they are made of is."""
    if "decoupled" not in repository.facts:
        above: dict[str, list[str]] = {}
        for name, model in repository.models.items():
            for member in {step.model_name for step in model.config.ensemble_scheduling.step}:
                above.setdefault(member, []).append(name)
        members = [(name, repository.models[name]) for name in above if name in repository.models]
        left = [
            name
            for name, member in members
            if not member.config.HasField("ensemble_scheduling")
            and member.completed.model_transaction_policy.decoupled
        ]
        found: set[str] = set()
        while left:
            new = [name for name in above.get(left.pop(), ()) if name not in found]
            found.update(new)
            left += new
        repository.facts["decoupled"] = found
    ensembles: set[str] = repository.facts["decoupled"]
    return ensembles


def judged(member: Model) -> Any:
    """The configuration of a step's model as the ensemble is compared with it."""
    # Without completion by a backend, tensors and batch size are as they are written.
    return member.completed if member.server.auto_complete else member.config


class Circle:
    """Models that need each other, in order, and how far along each of them is."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.at = names, {name: at for at, name in enumerate(names)}

    def shown(self, model: str) -> str:
        """The way around, from a model if that is in it: `` `a` → `b` → `a` ``. Of a long one the beginning."""
        start, size = self.at.get(model, 0), len(self.names)
        shown = [f"`{self.names[(start + step) % size]}`" for step in range(min(size, _MOST_SHOWN))]
        left = size - len(shown)
        return " → ".join([*shown, *([f"{left} more"] if left else []), shown[0]])


def circle_below(model: Model) -> Circle | None:
    """A circle of ensembles that is reached from this one; None if none is."""
    if not model.is_ensemble:
        return None
    circles: dict[str, Circle | None] = model.repository.facts.setdefault("circles", {})
    if model.name not in circles:
        _find_circle(model, circles)
    return circles[model.name]


def _find_circle(model: Model, circles: dict[str, Circle | None]) -> None:
    """Looks below a model for a circle, and notes what that says of it and of the models on the way."""
    way: dict[str, int] = {}  # and how far along each is
    left: list[tuple[str, bool]] = [(model.name, True)]
    while left:
        name, comes = left.pop()
        if not comes:
            way.popitem()
            circles[name] = None
        elif name in way or circles.get(name):
            circle = circles.get(name) or Circle(list(way)[way[name] :])
            circles.update(dict.fromkeys(way, circle))
            return
        elif name not in circles:
            way[name] = len(way)
            left.append((name, False))
            left += [(used, True) for used in _used(model.other(name))]


def _used(model: Model | None) -> Collection[str]:
    if model is None or not model.is_complete:
        return ()
    return {step.model_name: None for step in model.config.ensemble_scheduling.step}
