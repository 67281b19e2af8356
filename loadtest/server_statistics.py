"""What the server counts itself: inferences and executions of each model, and so the mean executed batch."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class _Stay(urllib.request.HTTPRedirectHandler):
    """A server that points elsewhere is not followed: it is the only one that was asked for."""

    def redirect_request(self, *_: Any) -> None:
        """None makes an HTTPError of it, which is an OSError."""


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)  # itself, whatever the proxy


@dataclass(frozen=True)
class Counts:
    """Of one model since the server started: items inferred, and batches executed."""

    inferences: int
    executions: int


def model_statistics(http_address: str, *, timeout_s: float = 5.0) -> list[dict[str, Any]]:
    """What Triton says of every version of every model, in its own words.

    Raises OSError, and ValueError for an answer that is none of Triton's.
    """
    with _DIRECT.open(f"http://{http_address}/v2/models/stats", timeout=timeout_s) as reply:
        told = json.load(reply)
    found = told.get("model_stats") if isinstance(told, dict) else None
    if not isinstance(found, list) or not all(_is_named(model) for model in found):
        raise ValueError(f"{http_address} answers, and not as Triton does")
    return found


def _is_named(model: Any) -> bool:
    return isinstance(model, dict) and isinstance(model.get("name"), str)


def read_counts(http_address: str, *, timeout_s: float = 5.0) -> dict[str, Counts]:
    """The counts of every model of the server at `http_address` (`host:port`). Raises OSError."""
    counts: dict[str, Counts] = {}
    for model in model_statistics(http_address, timeout_s=timeout_s):
        before = counts.get(model["name"], Counts(0, 0))
        counts[model["name"]] = Counts(
            before.inferences + int(model.get("inference_count", 0)),
            before.executions + int(model.get("execution_count", 0)),
        )
    return counts


def read_counts_after(
    http_address: str, before: Mapping[str, Counts], inferences: Mapping[str, int], *, timeout_s: float = 5.0
) -> dict[str, Counts]:
    """The counts once each model of `inferences` has counted so many items more than `before`.

    The server counts after it has answered, so a reading right after the last answer may miss some. What there
    is after `timeout_s` is returned as it is. Raises OSError.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        counts = read_counts(http_address)
        none = Counts(0, 0)
        missing = [
            name
            for name, items in inferences.items()
            if counts.get(name, none).inferences - before.get(name, none).inferences < items
        ]
        if not missing or time.monotonic() > deadline:
            return counts
        time.sleep(0.01)


def mean_batches(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> dict[str, float]:
    """Items an execution between two readings, by model; models that executed nothing are left out."""
    means = {}
    for name, now in after.items():
        then = before.get(name, Counts(0, 0))
        executions = now.executions - then.executions
        if executions > 0:
            means[name] = (now.inferences - then.inferences) / executions
    return means
