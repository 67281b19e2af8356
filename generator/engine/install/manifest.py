"""An engine.json as data, looked into before anything is believed of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

FORMAT = 1


def parsed(data: bytes) -> dict[str, Any]:
    """What the file says. Raises ValueError with why it is no engine.json, as a clause: `it is empty`."""
    try:
        manifest: Any = json.loads(data) if data else None
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    why = "it is empty" if not data else why_not(manifest)
    if why:
        raise ValueError(why)
    return dict(manifest)


def why_not(manifest: Any) -> str:
    """Why data is no engine.json, as a clause; empty if it is one."""
    if not isinstance(manifest, dict):
        return "it is no JSON object"
    found = manifest.get("format")
    if type(found) is int and found > FORMAT:
        return f"it was written by a newer tritonkit: its format is {found}, and {FORMAT} is known here"
    missing = [name for name in ("measured", "format", "engine", "precision", "key") if name not in manifest]
    if missing:
        return f"it has no {', '.join(f'`{name}`' for name in missing)}"
    if found != FORMAT:
        return f"its `format` is not {FORMAT}"
    for name in ("engine", "precision", "key"):
        if not isinstance(manifest.get(name), str):
            return f"its `{name}` is no text"
    for name in ("request", "accuracy", "gate", "measured"):
        if not isinstance(manifest.get(name, {}), dict):
            return f"its `{name}` is no mapping"
    return _file(manifest) or _metric(manifest) or _measured(manifest.get("measured", {}))


def _file(manifest: Mapping[str, Any]) -> str:
    file = manifest.get("file")
    if file is None:
        return ""
    if not isinstance(file, dict) or not all(isinstance(file.get(key), str) for key in ("name", "sha256")):
        return "its `file` has no `name` and `sha256`"
    name = file["name"]
    return "" if name.isprintable() and "/" not in name else "its `file.name` is no file's name"


def _metric(manifest: Mapping[str, Any]) -> str:
    metric = manifest.get("accuracy", {}).get("metric")
    if metric is None:
        return ""
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        return "its `accuracy.metric` has no `name`"
    wrong = next((key for key in ("value", "fp32") if not _is_number(metric.get(key))), None)
    return "" if wrong is None else f"its `accuracy.metric.{wrong}` is no number"


def _measured(measured: Mapping[str, Any]) -> str:
    times, tried = measured.get("latency_us", {}), measured.get("tried", [])
    if not isinstance(times, dict):
        return "its `measured.latency_us` is no mapping"
    for size, timing in times.items():
        if not (size.isascii() and size.isdigit()):
            return f"its `measured.latency_us` has {size!r} for a batch size"
        keys = ("median_us", "low_us", "high_us")
        if not isinstance(timing, dict) or not all(_is_number(timing.get(key)) and timing[key] > 0 for key in keys):
            return f"its `measured.latency_us` of batch {size} has no {', '.join(keys)} above zero"
    rows = isinstance(tried, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("engine", "precision"))
        for row in tried
    )
    return "" if rows else "its `measured.tried` is no list of engines"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
