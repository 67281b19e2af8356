"""One mutant: a repository made by chance, and what was done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import oracle_beside
import oracle_disk
import oracle_ensembles
import oracle_generic
import oracle_scheduling
import oracle_sequences
import oracle_tensors
import oracle_texts
from oracle_base import generate
from oracle_completing import complete
from oracle_kind import PLAIN, Kind
from oracle_mutations import Change, Chosen, apply, choose
from oracle_repository import Repository

MODULES = (
    oracle_beside, oracle_disk, oracle_ensembles, oracle_generic, oracle_scheduling, oracle_sequences, oracle_tensors,
    oracle_texts,
)  # fmt: skip
"""Importing them registers their mutations."""

_COUNTS = (1, 1, 1, 1, 1, 1, 2, 2, 3)


@dataclass
class Mutant:
    """A repository that was changed, and how. `number` and `seed` make the same one again."""

    seed: str
    number: int
    repository: Repository
    kind: Kind = PLAIN
    chosen: list[Chosen] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What its chances begin with."""
        return f"{self.seed}:{self.number}"


def make(seed: str, number: int, kind: Kind = PLAIN) -> Mutant:
    """The mutant of that number, for a kind of server: some have configs, or code, that only such a one looks at."""
    mutant = Mutant(seed, number, _base(seed, number), kind)
    mutant.chosen, mutant.changes = choose(
        mutant.key, mutant.repository, Random(mutant.key + ":count").choice(_COUNTS)
    )
    _suit(mutant)
    return mutant


def again(mutant: Mutant, chosen: list[Chosen]) -> Mutant:
    """The same with only some of the mutations."""
    repository = _base(mutant.seed, mutant.number)
    fewer = Mutant(mutant.seed, mutant.number, repository, mutant.kind, chosen, apply(repository, chosen))
    _suit(fewer)
    return fewer


def _suit(mutant: Mutant) -> None:
    """What only the mutant's kind of server looks at."""
    if mutant.kind.complete:
        mutant.changes += complete(Random(f"{mutant.key}:complete"), mutant.repository)
    if mutant.kind.config_name:
        _move(mutant)


def _move(mutant: Mutant) -> None:
    """Configs go to configs/NAME.pbtxt; config.pbtxt is then gone, or another one that must not be looked at."""
    random = Random(f"{mutant.key}:configs")
    for key, model in mutant.repository.models.items():
        way = random.choice(("stays", "moves", "moves", "beside", "other"))
        if model.text is None or way == "stays":
            continue
        text = model.text
        model.files[f"configs/{'other' if way == 'other' else mutant.kind.config_name}.pbtxt"] = text.encode()
        model.text = None if way == "moves" else 'max_batch_size: -1\nbackend: "none"\n' if way == "beside" else text
        mutant.changes.append(Change(key, f"{key}'s config: {way}", (5,)))


def _base(seed: str, number: int) -> Repository:
    return generate(Random(f"{seed}:{number}:base"), f"m{number:05d}_")
