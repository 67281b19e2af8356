"""One execution: the requests that the server hands over at once, as few batches, each run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonkit_runtime import batch as batches
from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.programs import Program, ProgramError

# gRPC carries a message as metadata, percent-encoded up to three bytes for one, and refuses more than 8 KiB in all.
_LONGEST_MESSAGE = 1_000
_LONGEST_MESSAGE_BYTES = 2_000
ON_HOST = (
    "lies in a GPU's memory, and this model takes it from the host: its parameter FORCE_CPU_ONLY_INPUT_TENSORS must "
    'not be "no"'
)
"""What is wrong with an input that the server should have brought to the host, to go behind its name."""


@dataclass(frozen=True)
class Failure:
    """Why one request gets no tensors. `from_client`: its items are bad; else the program failed."""

    message: str
    from_client: bool


def failure(message: str, from_client: bool) -> Failure:
    """A Failure whose message gRPC can carry: cut where it is too long, with its full length at the end."""
    text = message.encode(errors="replace")[:_LONGEST_MESSAGE_BYTES].decode(errors="ignore")[:_LONGEST_MESSAGE]
    end = f" … ({len(message):,} characters)" if len(text) < len(message) else ""
    return Failure(text + end, from_client)


def answered(
    given: Sequence[Tensors | Failure], run: Callable[[list[Tensors]], list[Tensors | Failure]]
) -> list[Tensors | Failure]:  # fmt: skip
    """What `run` answers to the requests whose tensors could be taken, and the failures of the others, in order."""
    if Failure not in map(type, given):  # as it mostly is
        whole: list[Any] = list(given)
        return run(whole)
    answers = iter(run([tensors for tensors in given if not isinstance(tensors, Failure)]))
    return [tensors if isinstance(tensors, Failure) else next(answers) for tensors in given]


def execute(
    program: Program, requests: Sequence[Tensors], batched: bool, ranks: Mapping[str, int] | None = None,
    required: Sequence[str] = (),
) -> list[Tensors | Failure]:  # fmt: skip
    """One answer a request, in order; outputs are views of what the program gave for the whole batch.

    Requests whose tensors differ in more than the batch axis cannot be one array: each shape is a batch of
    its own. Without a batch axis each request is. `ranks`: input -> its number of axes, the batch axis included.
    `required` are the inputs that a request may not leave out: the server counts them, and no more.
    """
    if ranks is None:
        ranks = {}
    if len(requests) == 1:
        return _run_group(program, requests, batched, ranks, required, may_wait=True)
    answers: list[Tensors | Failure | None] = [None] * len(requests)
    groups = _groups(requests) if batched else [[index] for index in range(len(requests))]
    for number, members in enumerate(groups):
        group = [requests[index] for index in members]
        told = _run_group(program, group, batched, ranks, required, may_wait=number == 0)
        for index, answer in zip(members, told, strict=True):
            answers[index] = answer
    return [answer for answer in answers if answer is not None]


def _groups(requests: Sequence[Tensors]) -> list[list[int]]:
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for index, tensors in enumerate(requests):
        shapes = []
        for name, array in tensors.items():
            shapes.append((name, array.shape[1:]))
        shapes.sort()  # clients order as they like
        groups.setdefault(tuple(shapes), []).append(index)
    return list(groups.values())


def _run_group(
    program: Program, group: Sequence[Tensors], batched: bool, ranks: Mapping[str, int], required: Sequence[str], *,
    may_wait: bool,
) -> list[Tensors | Failure]:  # fmt: skip
    first = group[0]
    for name in required:
        if name not in first:
            return [failure(f"input {name!r} is missing; it is not optional", from_client=True)] * len(group)
    if batched:
        for name, array in first.items():
            if array.ndim < ranks.get(name, 0):
                # A batch axis of length 0, or of a multiple of 2^32, is none at all to the server: it passes the
                # tensor on without one. Taken for a batch, its first axis would count as items and answer wrongly.
                text = f"input {name!r} has a batch axis of length 0; a request holds at least one item"
                return [failure(text, from_client=True)] * len(group)
        batch = batches.concatenate(group, may_wait=may_wait)
    else:
        batch = batches.single(first, may_wait=may_wait)
    try:
        outputs = program.run(batch)
    except ProgramError as error:
        return [failure(str(error), from_client=False)] * len(batch.counts)
    if not batch.failed and not batch.broken:
        return [outputs] if len(group) == 1 else list(batch.split(outputs))
    errors = batch.errors()
    return [
        failure(errors[request], from_client=request not in batch.broken) if request in errors else tensors
        for request, tensors in enumerate(batch.split(outputs))
    ]
