"""A new engine against an old one: slower or less accurate by more than is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.engine.errors import Finding
from generator.engine.install.store import MANIFEST
from generator.problems import UserError


@dataclass(frozen=True)
class Limits:
    """How much worse a new engine may be: latency as a share of the old one, accuracy in its own unit."""

    slower: float = 0.10
    less_accurate: float = 0.005


def read_manifest(path: Path) -> Mapping[str, Any]:
    """An engine.json, or the one in a folder. Raises UserError."""
    file = path / MANIFEST if path.is_dir() else path
    try:
        manifest = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", "name an engine.json, or its folder") from error
    except ValueError as error:
        raise UserError(f"{file} is no engine.json: {error}", "name an engine.json, or its folder") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("measured"), dict):
        raise UserError(f"{file} is no engine.json: it has no `measured`", "name an engine.json, or its folder")
    return manifest


def worse(old: Mapping[str, Any] | None, new: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """Where `new` is worse than `old` by more than allowed; of another model's or target's engine nothing is.

    A latency counts where the intervals do not overlap.
    """
    if old is None or (old.get("target"), old.get("model")) != (new.get("target"), new.get("model")):
        return []
    findings = _unlike(old, new)
    before, now = _metric(old), _metric(new)
    if before is not None and now is not None and before - now > limits.less_accurate + 1e-9:
        text = f"accuracy fell from {before:.4f} to {now:.4f}, by more than {limits.less_accurate:g}"
        findings.append(Finding("TK986", text, "", "accuracy"))
    old_times, new_times = old["measured"].get("latency_us", {}), new["measured"].get("latency_us", {})
    for size in sorted(set(old_times) & set(new_times), key=int):
        then, measured = old_times[size], new_times[size]
        slower = measured["median_us"] / then["median_us"] - 1
        if slower > limits.slower and measured["low_us"] > then["high_us"]:
            times = f"{measured['median_us']:.0f} µs, {slower:.0%} more than {then['median_us']:.0f} µs"
            text = f"batch {size} takes {times}; {limits.slower:.0%} is allowed"
            findings.append(Finding("TK986", text, "measure both on one quiet machine", "engine"))
    return findings


def _unlike(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Finding]:
    """Why two accuracies are not of one thing."""
    metrics = [(manifest.get("accuracy", {}).get("metric") or {}).get("name") for manifest in (old, new)]
    gates = [manifest.get("gate", {}).get("sha256") for manifest in (old, new)]
    findings = []
    if metrics[0] != metrics[1]:
        text = f"the one engine was judged by {metrics[0] or 'no metric'}, the other by {metrics[1] or 'none'}"
        findings.append(Finding("TK986", text, "build the old one again", "accuracy"))
    elif gates[0] != gates[1]:
        text = "the two engines were judged on unlike gate sets"
        findings.append(Finding("TK986", text, "build the old one again on the new one", "accuracy"))
    return findings


def _metric(manifest: Mapping[str, Any]) -> float | None:
    """The accuracy on the gate set, by the spec's metric."""
    metric = manifest.get("accuracy", {}).get("metric")
    return metric.get("value") if isinstance(metric, dict) else None
