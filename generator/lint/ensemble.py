"""What an ensemble's steps do with its tensors: who writes and reads each, what can never run, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generator.pbtxt.words import guess

if TYPE_CHECKING:
    from generator.lint.model import Model

_MOST_GUESSES = 50  # to look for what was meant takes longer than all else
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
        self._given = {*self.inputs, *lost, *(name for name in self.absent_outputs)}

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
        for index in ready:
            for name in sorted(self.steps[index].output_map.values()):
                for reader, _ in self.tensors[name].readers:
                    if name in missing[reader]:
                        missing[reader].discard(name)
                        if not missing[reader]:
                            ready.append(reader)
        return ready

    def before(self, index: int) -> list[int]:
        """The steps that write what a step reads."""
        names = sorted(self.steps[index].input_map.values())
        return [writer for name in names if name not in self._given for writer, _ in self.tensors[name].writers]

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


def judged(member: Model) -> Any:
    """The configuration of a step's model as the ensemble is compared with it."""
    # Without completion by a backend, tensors and batch size are as they are written.
    return member.completed if member.server.auto_complete else member.config


def circle_below(model: Model) -> list[str]:
    """A circle of ensembles that is reached from this one, as names whose last one is the first; empty if none is."""
    if not model.is_ensemble:
        return []
    way: list[str] = []
    done: set[str] = set()
    left: list[tuple[str, bool]] = [(model.name, True)]
    while left:
        name, comes = left.pop()
        if not comes:
            way.pop()
            done.add(name)
            continue
        if name in done:
            continue
        if name in way:
            return [*way[way.index(name) :], name]
        way.append(name)
        left.append((name, False))
        left += [(used, True) for used in _used(model.other(name))]
    return []


def _used(model: Model | None) -> Collection[str]:
    if model is None or not model.is_complete:
        return ()
    return {step.model_name: None for step in model.config.ensemble_scheduling.step}
