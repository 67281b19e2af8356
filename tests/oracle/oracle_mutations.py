"""What a mutation is, the table of all of them, and how one to three are chosen for a repository."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from oracle_repository import Model, Repository

MESSAGE, TEXT, DISK = 0, 1, 2
"""When: while configs are messages, when they are text, when only the files are left."""

_ATTEMPTS = 40


@dataclass(frozen=True)
class Change:
    """What a mutation did: to which model (by its key), and which of Triton's rules are about that."""

    model: str
    what: str
    rules: tuple[int, ...]


Mutate = Callable[[Random, Repository], Change | None]


@dataclass(frozen=True)
class Mutation:
    """`mutate` changes a repository, or returns None where it does not apply."""

    name: str
    phase: int
    weight: float
    mutate: Mutate


MUTATIONS: dict[str, Mutation] = {}


def mutation(phase: int, weight: float = 1.0) -> Callable[[Mutate], Mutate]:
    """Registers a mutation under its function's name."""

    def register(mutate: Mutate) -> Mutate:
        name = mutate.__name__
        if name in MUTATIONS:
            raise ValueError(f"two mutations are called {name}")
        MUTATIONS[name] = Mutation(name, phase, weight, mutate)
        return mutate

    return register


def on(*rules: int, ensemble: bool = False, weight: float = 1.0) -> Callable[[Edit], Edit]:
    """Registers a function that changes the message of one model and says what it did (empty: it does not apply)."""

    def register(edit: Edit) -> Edit:
        def mutate(random: Random, repository: Repository) -> Change | None:
            key = pick(random, repository, ensemble=ensemble)
            what = edit(random, repository.models[key]) if key else ""
            return Change(key, what, rules) if what else None

        mutate.__name__ = edit.__name__
        mutation(MESSAGE, weight)(mutate)
        return edit

    return register


Edit = Callable[[Random, Model], str]


def pick(random: Random, repository: Repository, *, ensemble: bool) -> str:
    """The key of an ensemble or of a Python model; empty where there is none."""
    keys = [key for key, model in repository.models.items() if model.is_ensemble == ensemble]
    return random.choice(keys) if keys else ""


@dataclass(frozen=True)
class Chosen:
    """A mutation that was applied, with the seed of its chances: it can be applied again, alone or among others."""

    name: str
    seed: str


def choose(seed: str, repository: Repository, count: int) -> tuple[list[Chosen], list[Change]]:
    """Apply `count` mutations, messages first, and print the configs in between; what was done."""
    random = Random(seed)
    weights = [each.weight for each in MUTATIONS.values()]
    wanted = sorted(random.choices(list(MUTATIONS.values()), weights, k=count), key=lambda each: each.phase)
    chosen: list[Chosen] = []
    changes: list[Change] = []
    phase = MESSAGE
    for number, first in enumerate(wanted):
        phase = _enter(repository, phase, first.phase)
        same = [each for each in MUTATIONS.values() if each.phase == first.phase]
        for attempt in range(_ATTEMPTS):
            each = first if not attempt else random.choices(same, [other.weight for other in same])[0]
            one = Chosen(each.name, f"{seed}:{number}:{attempt}")
            change = _mutated(each, one, repository)
            if change is not None:
                chosen.append(one)
                changes.append(change)
                break
    _enter(repository, phase, DISK)
    return chosen, changes


def apply(repository: Repository, chosen: list[Chosen]) -> list[Change]:
    """Apply mutations again; those that no longer apply are left out."""
    phase = MESSAGE
    changes = []
    for one in chosen:
        each = MUTATIONS[one.name]
        phase = _enter(repository, phase, each.phase)
        change = _mutated(each, one, repository)
        if change is not None:
            changes.append(change)
    _enter(repository, phase, DISK)
    return changes


def _mutated(each: Mutation, one: Chosen, repository: Repository) -> Change | None:
    """What a mutation did; None where it does not apply, or came to a number that its field cannot hold."""
    try:
        return each.mutate(Random(one.seed), repository)
    except ValueError:
        return None


def _enter(repository: Repository, before: int, phase: int) -> int:
    if before == MESSAGE and phase > MESSAGE:
        for model in repository.models.values():
            model.write()
    return max(before, phase)
