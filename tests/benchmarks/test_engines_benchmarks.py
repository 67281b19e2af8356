"""The benchmarks of engines: the front, the networks, what a build takes, and the pages."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import calibration
import engines
import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ({"a": (1.0, 0.9)}, ["a"]),
        ({"slow": (2.0, 0.9), "fast": (1.0, 0.9)}, ["fast"]),
        ({"slow": (2.0, 0.95), "fast": (1.0, 0.9), "bad": (1.5, 0.8)}, ["fast", "slow"]),
        ({"a": (1.0, 0.9), "b": (1.0, 0.9)}, ["a", "b"]),
        ({"a": (1.0, 0.9), "b": (1.0, 0.91), "c": (0.5, 0.1)}, ["c", "b"]),
    ],
)
def test_the_front_is_what_no_other_beats(points: dict[str, tuple[float, float]], best: list[str]) -> None:
    assert engines.front(points) == best


def test_an_engine_is_built_as_the_command_does(tmp_path: Path) -> None:
    engine, project = engines.build("digits", "int8", tmp_path / "project")
    assert isinstance(engine, engines.Engine)
    assert engine.passed
    assert engine.manifest is not None
    place = project.root / "engines" / "embedded" / "digits_engine" / "1"
    assert json.loads((place / "engine.json").read_text()) == engine.manifest
    assert (place / "model.onnx").read_bytes() == engine.data
    assert engine.accuracy["labels"] == 360
    samples = engines.samples_of("digits", project)
    batch = engines.batch_of(engine.data, samples, 5)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "pixels": ((5, 1, 8, 8), np.dtype(np.float32))
    }


def result_of(**engines_of: tuple[float, float, bool]) -> dict[str, Any]:
    """Name → µs, accuracy, passed; as measured in batches of all sizes."""
    return {
        "engines": {
            name: {
                "metric": "top1", "accuracy": right, "interval": [right - 0.01, right + 0.01], "passed": passed,
                "bytes": 12_345, "latency_us": {
                    str(size): {"median_us": us * size, "low_us": us * size - 1, "high_us": us * size + 1}
                    for size in engines.BATCHES
                },
            } for name, (us, right, passed) in engines_of.items()
        }, "not_built": {"mixed": "no layer"},
    }  # fmt: skip


def test_the_table_and_the_chart_hold_the_figures(tmp_path: Path) -> None:
    results = {"net": result_of(fp32=(10, 0.99, True), int8=(5, 0.98, True), bad=(4, 0.2, False))}
    table = engines.rows(results)
    assert table[0] == [
        "net", "fp32", "top1 0.9900 (0.9800 to 1.0000)", "12", "10 (9 to 11)", "80 (79 to 81)", "320 (319 to 321)",
    ]  # fmt: skip
    assert table[1][-1] == "160 (159 to 161); 2.00 times as fast"
    assert table[2][2].endswith("refused")
    assert table[3][:3] == ["net", "mixed", "not built: no layer"]
    assert {len(row) for row in table} == {7}
    engines.draw(results, tmp_path / "a.svg")
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_networks_have_so_many_layers_and_the_seed_decides() -> None:
    model = calibration.network(6)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("Conv") == 6
    assert model.SerializeToString() == calibration.network(6).SerializeToString()
    assert calibration.samples(70).items == 70


def test_stages_are_measured_and_drawn(tmp_path: Path) -> None:
    told = calibration.stages(4, 64)
    assert min(told["calibrate_s"], told["rank_s"], told["search_s"]) > 0
    assert 1 <= told["judged"] <= 2 + np.log2(5)
    one = {name: {"median": value, "low": value, "high": value} for name, value in told.items()}
    result = {
        "by_layers": {"4": one, "8": one}, "by_samples": {"64": one},
        "builds_s": {kind: {"median": 1.0, "low": 0.5, "high": 2.0} for kind in calibration.BUILDS},
    }  # fmt: skip
    table = calibration.rows(result)
    assert [row[0] for row in table] == [
        "4 convolutions, 256 samples", "8 convolutions, 256 samples", "16 convolutions, 64 samples",
        "digits, from nothing", "digits, with the cache", "digits, current",
    ]  # fmt: skip
    assert table[-1][-1] == "1.00 (0.50 to 2.00)"
    calibration.draw(result, tmp_path / "a.svg")
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_whole_builds_do_what_they_are_named_for(tmp_path: Path) -> None:
    calibration.make_project(tmp_path)
    manifest = tmp_path / "engines" / "embedded" / "digits_engine" / "1" / "engine.json"
    for kind in calibration.BUILDS:
        before = manifest.stat().st_ino if manifest.exists() else None
        assert calibration.whole_build(tmp_path, kind) > 0
        assert (manifest.stat().st_ino == before) is (kind == "current")


@pytest.mark.parametrize("name", ["engines", "calibration"])
def test_the_pages_say_what_the_data_say(name: str) -> None:
    page = (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
    result = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    table = engines.rows(result["results"]) if name == "engines" else calibration.rows(result)
    for row in table:
        assert f"| {' | '.join(row)} |" in page
