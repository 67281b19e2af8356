"""A new engine against an old one: slower or less accurate by more than is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.engine.build.jobs import Job
from generator.engine.errors import Finding
from generator.engine.install.manifest import parsed
from generator.engine.install.store import MANIFEST
from generator.problems import UserError


@dataclass(frozen=True)
class Limits:
    """How much worse a new engine may be: latency as a share of the old one, accuracy in its own unit."""

    slower: float = 0.10
    less_accurate: float = 0.005


def read_manifest(path: Path) -> Mapping[str, Any]:
    """An engine.json with what was measured, or the one in a folder. Raises UserError."""
    file = path / MANIFEST if path.is_dir() else path
    hint = "name an engine.json, or its folder"
    try:
        manifest = parsed(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", hint) from error
    except ValueError as error:
        raise UserError(f"{file} is no engine.json: {error}", hint) from error
    if not manifest.get("measured", {}).get("latency_us"):
        raise UserError(f"{file} is no engine.json: it has no `measured.latency_us` to compare with", hint)
    return manifest


def check_same(old: Mapping[str, Any], jobs: Sequence[Job]) -> None:
    """Raises UserError unless `old` is of an engine that is to be built: else nothing would be compared."""
    if any(_is_same(old, job.plan.target.name, job.model.name) for job in jobs):
        return
    built = "; ".join(job.title for job in jobs) or "nothing"
    raise UserError(
        f"TK986: `--compare` names an engine of `{old.get('model')}` for target `{old.get('target')}`, and what is "
        f"to be built is: {built}",
        "name the spec and the target of that engine, or another engine.json",
    )


def _is_same(old: Mapping[str, Any], target: Any, model: Any) -> bool:
    return (old.get("target"), old.get("model")) == (target, model)


def worse(old: Mapping[str, Any] | None, new: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """Where `new` is worse than `old` by more than allowed; of another model's or target's engine nothing is.

    A latency counts where the intervals do not overlap.
    """
    if old is None or not _is_same(old, new.get("target"), new.get("model")):
        return []
    findings = _unlike(old, new)
    before, now = _metric(old), _metric(new)
    if before is not None and now is not None and before - now > limits.less_accurate + 1e-9:
        text = f"accuracy fell from {before:.4f} to {now:.4f}, by more than {limits.less_accurate:g}"
        findings.append(Finding("TK986", text, "", "accuracy"))
    old_times, new_times = old["measured"]["latency_us"], new["measured"]["latency_us"]
    common = sorted(set(old_times) & set(new_times), key=int)
    if not common:
        sizes = [", ".join(sorted(times, key=int)) for times in (old_times, new_times)]
        text = f"no latency can be compared: the one engine was timed at batch {sizes[0]}, the other at {sizes[1]}"
        findings.append(Finding("TK986", text, "build the old one again with the batches of now", "engine"))
    for size in common:
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
