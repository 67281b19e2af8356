"""promtool: rules checked, and run over made series."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from chart_tools import program

# What tells alerts apart; the rest of an alert's labels is the same in one release.
_SEEN = "alertname, severity, pipeline, window, pod, model, gpu_uuid"


def check_rules(groups: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """What `promtool check rules` finds wrong; empty if nothing."""
    return _run("check", "rules", str(_rules(groups, folder)))


def check_queries(queries: Iterable[str], folder: Path) -> str:
    """What promtool finds wrong with the queries, as rules."""
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    return check_rules([{"name": "queries", "rules": rules}], folder)


def run_rules(
    groups: Sequence[Mapping[str, Any]],
    series: Mapping[str, Sequence[float | None]],
    folder: Path,
    *,
    firing: Mapping[int, Sequence[str]] | None = None,
    queries: Mapping[int, Mapping[str, Mapping[str, float]]] | None = None,
    alerts: Sequence[Mapping[str, Any]] = (),
    step_m: int = 1,
) -> None:
    """Runs the rules over the series; AssertionError with promtool's words where it is not as expected.

    `series` has a value every `step_m` minutes, None for none. `firing` has by minute all alerts that fire then, as
    `Name{label="…", …}` without their namespace and release. `queries` has by minute and query the samples, by their
    labels. `alerts` are promtool's own tests of an alert with its annotations.
    """
    expected = [
        {"expr": f'sum by ({_SEEN}) (ALERTS{{alertstate="firing"}})', "eval_time": f"{minute}m", "exp_samples": [_alert(a) for a in names]}
        for minute, names in (firing or {}).items()
    ]  # fmt: skip
    expected += [
        {"expr": query, "eval_time": f"{minute}m", "exp_samples": [{"labels": labels, "value": v} for labels, v in samples.items()]}
        for minute, by_query in (queries or {}).items()
        for query, samples in by_query.items()
    ]  # fmt: skip
    test = {
        "interval": f"{step_m}m",
        "input_series": [{"series": name, "values": _values(values)} for name, values in series.items()],
        "promql_expr_test": expected,
        "alert_rule_test": list(alerts),
    }
    whole = {
        "rule_files": [str(_rules(groups, folder))],
        "evaluation_interval": f"{step_m}m",
        "group_eval_order": [group["name"] for group in groups],  # what is recorded is read at the same minute
        "tests": [test],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    said = _run("test", "rules", str(file))
    if said:
        raise AssertionError(said)


def _rules(groups: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    file = folder / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": list(groups)}, sort_keys=False), encoding="utf-8")
    return file


def _alert(name: str) -> dict[str, Any]:
    head, _, labels = name.rstrip("}").partition("{")
    return {"labels": f'{{alertname="{head}", {labels}}}', "value": 1}


def _values(values: Sequence[float | None]) -> str:
    return " ".join("_" if value is None else format(value, ".10g") for value in values)


def _run(*arguments: str) -> str:
    argv = [program("promtool"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
