"""One execution: the requests that the server hands over at once, as few batches, each run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tritonkit_runtime import batch as batches
from tritonkit_runtime.batch import Batch, Tensors
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
    answers: list[Tensors | Failure | None] = [None] * len(requests)
    groups = _groups(requests) if batched else [[index] for index in range(len(requests))]
    for number, members in enumerate(groups):
        group = [requests[index] for index in members]
        told = _without(required, group) or _run_group(program, group, batched, ranks or {}, may_wait=number == 0)
        for index, answer in zip(members, told, strict=True):
            answers[index] = answer
    return [answer for answer in answers if answer is not None]


def _without(required: Sequence[str], group: Sequence[Tensors]) -> list[Tensors | Failure]:
    """A failure for each request of a group that leaves an input out; empty where none does."""
    missing = [name for name in required if name not in group[0]]
    if not missing:
        return []
    return [failure(f"input {missing[0]!r} is missing; it is not optional", from_client=True)] * len(group)


def _groups(requests: Sequence[Tensors]) -> list[list[int]]:
    if len(requests) == 1:
        return [[0]]
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for index, tensors in enumerate(requests):
        key = tuple(sorted((name, array.shape[1:]) for name, array in tensors.items()))  # clients order as they like
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _run_group(
    program: Program, group: Sequence[Tensors], batched: bool, ranks: Mapping[str, int], *, may_wait: bool
) -> list[Tensors | Failure]:
    if not batched:
        return _run(program, batches.single(group[0], may_wait=may_wait))
    for name, array in group[0].items():
        if array.ndim < ranks.get(name, 0):
            # A batch axis of length 0, or of a multiple of 2^32, is none at all to the server: it passes the tensor
            # on without one. Taken for a batch, its first axis would count as items and answer wrongly.
            text = f"input {name!r} has a batch axis of length 0; a request holds at least one item"
            return [failure(text, from_client=True)] * len(group)
    return _run(program, batches.concatenate(group, may_wait=may_wait))


def _run(program: Program, batch: Batch) -> list[Tensors | Failure]:
    try:
        outputs = program.run(batch)
    except ProgramError as error:
        return [failure(str(error), from_client=False)] * len(batch.counts)
    errors = batch.errors()
    return [
        failure(errors[request], from_client=request not in batch.broken) if request in errors else tensors
        for request, tensors in enumerate(batch.split(outputs))
    ]
