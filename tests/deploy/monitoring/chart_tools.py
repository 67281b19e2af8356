"""The chart as Helm renders it, and the values that these tests render it with."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CLONE = Path(__file__).parents[3]
CHART = CLONE / "deploy" / "charts" / "triton"
RELEASE, NAMESPACE = "demo", "prod"
NAME = "demo-triton"

DIGITS: dict[str, Any] = {
    "name": "digits",
    "objective": {"p99Ms": 20, "throughputRps": 300, "maxErrorRate": 0.001},
    "models": ["digits_preprocess", "digits_engine", "digits_postprocess"],
    "queueModels": ["digits_engine"],
    "maxBatchSize": 32,
    "longestRequestSeconds": 16,
    "latencyBucketsMs": [5, 10, 15, 20, 30, 40, 80],
}
PHOTOS: dict[str, Any] = {
    "name": "photos",
    "objective": {"p99Ms": 12.5, "throughputRps": None, "maxErrorRate": 0.1},
    "models": ["photos"],
    "queueModels": [],
    "maxBatchSize": 8,
    "longestRequestSeconds": 2,
    "latencyBucketsMs": [3, 6, 9, 12.5, 19, 25, 50],
}


def values_of(*pipelines: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Values with the rules on; `more` is merged over them."""
    values: dict[str, Any] = {"pipelines": list(pipelines), "metrics": {"prometheusRule": {"enabled": True}}}
    return merged(values, more)


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A copy of `values` with `more` in it, folder by folder."""
    whole = copy.deepcopy(values)
    for key, value in more.items():
        whole[key] = merged(whole.get(key, {}), value) if isinstance(value, dict) else value
    return whole


BOTH = values_of(DIGITS, PHOTOS)
# A server of before the latency histogram of ordinary models.
OLD = values_of(DIGITS, PHOTOS, image={"release": "25.12"})


def program(name: str) -> str:
    """A program of the environment that runs the tests, or of the machine."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not on PATH, and these tests need it"
    return found


@cache
def _template(values: str) -> subprocess.CompletedProcess[str]:
    argv = [program("helm"), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    return subprocess.run(argv, input=values, capture_output=True, text=True, timeout=60, check=False)


def refusal(values: dict[str, Any]) -> str:
    """What Helm says of values that cannot be."""
    done = _template(json.dumps(values))
    assert done.returncode != 0, "it was rendered"
    return done.stderr


def manifests(values: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    done = _template(json.dumps(values))
    assert done.returncode == 0, done.stderr
    return [object_ for object_ in yaml.safe_load_all(done.stdout) if object_ and object_["kind"] == kind]


def groups_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of rules."""
    [rule] = manifests(values, "PrometheusRule")
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def alerts_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The alerting rules of all groups."""
    return [rule for group in groups_of(values) for rule in group["rules"] if "alert" in rule]
