"""Models of an ensemble that run side by side: what Triton makes of a failure in one of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from generator.collector import Collector
from generator.plan import EnsemblePlan, EnsembleStep
from generator.problems import Severity


def warn_of_branches(ensemble: EnsemblePlan, collect: Collector) -> None:
    """A warning where two steps do not wait for each other.

    Seen on 2.51: when one of them fails a request while the other runs, several requests at once end the server, or
    make it hang (gRPC, both of them first steps: the thread that starts the ensemble and the one that answers wait
    for each other's lock). With one model after the other nothing of it was seen.
    """
    before = _ancestors(ensemble.steps)
    for (at, one), (later, other) in itertools.combinations(enumerate(ensemble.steps), 2):
        if at not in before[later]:
            collect.note(
                "TK232",
                ("flow",),
                f"models `{one.model}` and `{other.model}` run side by side: when one of them fails a request, "
                "even for a bad item, Triton 2.51 can hang or end, and all other requests with it",
                "say `layout: fused`, or let one of them take a tensor of the other",
                severity=Severity.WARNING,
            )
            return


def _ancestors(steps: Sequence[EnsembleStep]) -> list[set[int]]:
    """The steps that have to have run before each; each comes after them in `steps`."""
    makers = {tensor: index for index, step in enumerate(steps) for tensor in step.outputs.values()}
    before: list[set[int]] = []
    for step in steps:
        direct = {makers[tensor] for tensor in step.inputs.values() if tensor in makers}
        before.append(direct.union(*(before[index] for index in direct)))
    return before
