"""What the server's own statistics say of a run: where the time of each model went, and its batches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from loadtest.layouts.stages import Totals, totals_of
from loadtest.results.run import Split
from loadtest.server_statistics import model_statistics

_COUNTED_WITHIN_S = 2.0
_MOST = 1 << 62


@dataclass(frozen=True)
class Counted:
    """Of one model since the server started; `batches` are executions by the batch's size (items)."""

    totals: Totals = field(default_factory=Totals)
    batches: Mapping[int, int] = field(default_factory=dict)


def read(http_address: str) -> dict[str, Counted]:
    """Of every model, all its versions together. Raises OSError, and ValueError for what Triton never counts."""
    found: dict[str, Counted] = {}
    for model in model_statistics(http_address):
        before = found.get(model["name"], Counted())
        try:
            own = _counted(model)
        except (TypeError, AttributeError, ValueError, OverflowError) as error:  # of another shape, or no numbers
            raise ValueError(f"{http_address} counts {model['name']}, and not as Triton does") from error
        batches = {size: before.batches.get(size, 0) + own.batches.get(size, 0)
                   for size in (*before.batches, *own.batches)}  # fmt: skip
        found[model["name"]] = Counted(before.totals + own.totals, batches)
    return found


def _counted(model: Mapping[str, Any]) -> Counted:
    """One entry of the server's `model_stats`. Raises whatever comes of one that has another shape."""
    totals, batches = totals_of(model), dict[int, int]()
    for entry in model.get("batch_stats", []):
        size = int(entry.get("batch_size", 0))
        batches[size] = batches.get(size, 0) + int(entry.get("compute_infer", {}).get("count", 0))
    if not all(0 <= number < _MOST for number in (*astuple(totals), *batches, *batches.values())):
        raise ValueError("a count is less than nothing, or more than there can be")
    return Counted(totals, batches)


def read_after(
    http_address: str,
    before: Mapping[str, Counted],
    answered: Mapping[str, int],
    *,
    timeout_s: float = _COUNTED_WITHIN_S,
) -> dict[str, Counted]:
    """Once each pipeline has counted what it `answered`: the server counts after it has answered.

    What there is after `timeout_s` is returned as it is. Raises OSError and ValueError.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        now = read(http_address)
        if not has_lost_count(before, now, answered) or time.monotonic() > deadline:
            return now
        time.sleep(0.02)


def has_lost_count(before: Mapping[str, Counted], after: Mapping[str, Counted], answered: Mapping[str, int]) -> bool:
    """Whether a pipeline has counted less than it has answered: then its counts began anew, and mean nothing."""
    none = Counted()
    return any(
        after.get(name, none).totals.requests - before.get(name, none).totals.requests < count
        for name, count in answered.items()
    )


def splits_of(before: Mapping[str, Counted], after: Mapping[str, Counted], models: Sequence[str]) -> list[Split]:
    """One a model that answered anything in between, in the order of `models`."""
    found = []
    for name in models:
        then, now = before.get(name, Counted()), after.get(name, Counted())
        spent = now.totals - then.totals
        if spent.requests <= 0:
            continue
        times = (spent.queue_ns, spent.input_ns, spent.compute_ns, spent.output_ns)
        queue_us, input_us, compute_us, output_us = (ns / spent.requests / 1000 for ns in times)
        batches = {size: count - then.batches.get(size, 0) for size, count in sorted(now.batches.items())}
        found.append(
            Split(
                model=name, requests=spent.requests, executions=spent.executions,
                mean_batch=spent.items / max(1, spent.executions), queue_us=queue_us, input_us=input_us,
                compute_us=compute_us, output_us=output_us,
                batch_sizes={size: count for size, count in batches.items() if count > 0},
            )
        )  # fmt: skip
    return found


def whole_us(before: Mapping[str, Counted], after: Mapping[str, Counted], pipelines: Sequence[str]) -> float | None:
    """The mean time of a request inside the server's pipelines, in microseconds; None where none was counted."""
    spent = _spent(before, after, pipelines)
    return spent.whole_ns / spent.requests / 1000 if spent.requests > 0 else None


def outside_us(
    before: Mapping[str, Counted], after: Mapping[str, Counted], answered: Mapping[str, int], latencies_us: Any
) -> float | None:
    """What of the mean of the latencies [n] of all that was `answered` was spent outside of the pipelines.

    None where the server did not count just these: another client's are among them, or what was answered too late.
    """
    inside_us = whole_us(before, after, list(answered))
    if inside_us is None or _spent(before, after, list(answered)).requests != len(latencies_us):
        return None
    found = float(latencies_us.mean()) - inside_us
    return found if found >= 0 else None


def _spent(before: Mapping[str, Counted], after: Mapping[str, Counted], pipelines: Sequence[str]) -> Totals:
    none = Counted()
    return sum((after.get(n, none).totals - before.get(n, none).totals for n in pipelines), Totals())
