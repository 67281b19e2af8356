"""The demonstration: what it prints is what it wrote, and the numbers fit together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from story_tools import CLONE, make_project, tritonkit

from loadtest.results.sweep import read_sweep

pytestmark = pytest.mark.server

HELD_OUT = 360


def test_the_demonstration_holds_and_is_written_as_it_is_printed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", copied=("digits.yaml",))
    done = tritonkit(project.root, "demo", "--json", timeout_s=280)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert json.loads((project.root / "build" / "demo.json").read_text()) == seen
    assert "wrote build/demo.json" in done.stderr
    [report] = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("report ")]
    assert (project.root / report).read_text().startswith("<!")
    sweep = read_sweep((project.root / report).parent)
    assert [point.settings for point in sweep.points] == [{"max_queue_delay_us": delay} for delay in (0, 5000)]
    assert sweep.choice.why in done.stderr
    assert (seen["format"], seen["pipeline"], seen["holds"], seen["floor"]) == (1, "digits", True, 0.98)
    assert [(p["protocol"], p["encoding"]) for p in seen["passes"]] == [
        ("http", "png"), ("grpc", "png"), ("grpc", "jpeg"),
    ]  # fmt: skip
    for one in seen["passes"]:
        numbers_fit(one)
        if one["encoding"] == "png":
            assert one["accuracy"] == seen["accuracy_alone"] >= seen["floor"]
    made = seen["made"]
    assert made["command"] == "make demo"
    assert made["spec_sha256"] == hashlib.sha256((CLONE / "specs" / "digits.yaml").read_bytes()).hexdigest()
    assert (made["loop"], made["in_flight"]) == ("closed", 32)
    assert made["cores"] >= 1
    assert {"tritonkit", "nvidia-pytriton", "tritonclient", "onnxruntime", "numpy"} <= set(made["versions"])
    assert made["versions"]["nvidia-pytriton"] == "0.7.0"


def numbers_fit(one: dict[str, Any]) -> None:
    """Of one pass over the held-out images."""
    assert (one["requests"], one["errors"]) == (HELD_OUT, 0)
    right = one["accuracy"] * HELD_OUT
    assert right == pytest.approx(round(right)), "a share of so many images"
    assert one["accuracy"] > 0.9
    assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert 1 <= one["mean_batch"] <= 32
    by_model = one["mean_batch_by_model"]
    assert list(by_model) == ["digits_preprocess", "digits_engine", "digits_postprocess"]
    assert by_model["digits_engine"] == one["mean_batch"]
