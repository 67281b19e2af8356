"""The photographs' benchmark: its parts, and one short run of all of it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import photos as script
import pytest
from photos_systems.report import profile_table, put_between, tables
from photos_systems.results import Measured, comparisons, measured, summaries, targets
from photos_systems.tutorial import MEAN, STD, normalised_network
from photos_systems.work import EIGHT, MODES, ONE, Answers, Done, Photos, Slice, session

from loadtest.cpu import cpu_of, cpu_s, spent
from loadtest.turns import endless_order

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = Photos(tuple("abcdefghi"), tuple(bytes([n]) * 9 for n in range(9)))


# The work --------------------------------------------------------------------------------------------------


def test_every_photograph_is_in_equally_many_requests() -> None:
    for mode in MODES:
        requests = PHOTOS.requests(mode)
        assert {len(items) for items in requests} == {mode.images}
        counts = np.bincount([item for items in requests for item in items])
        assert (len(counts), set(counts)) == (9, {mode.images})
    assert all(len(set(items)) == 8 for items in PHOTOS.requests(EIGHT))


def test_an_order_has_every_request_once_a_round_and_repeats_with_its_seed() -> None:
    first = list(itertools.islice(endless_order(9, 5), 45))
    assert first == list(itertools.islice(endless_order(9, 5), 45)) != list(itertools.islice(endless_order(9, 6), 45))
    rounds = [first[start : start + 9] for start in range(0, 45, 9)]
    assert all(sorted(part) == list(range(9)) for part in rounds)
    assert len({tuple(part) for part in rounds}) == 5


def answers(*rows: tuple[list[int], list[float]]) -> Answers:
    return Answers(np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.float32))


TWO = answers(([3, 1, 2], [0.6, 0.3, 0.1]), ([1, 2, 3], [0.5, 0.3, 0.2]))


def test_answers_are_the_same_by_label_and_nearly_by_score() -> None:
    assert TWO.same_as(replace(TWO, scores=TWO.scores + np.float32(5e-6)))
    assert not TWO.same_as(replace(TWO, scores=TWO.scores + np.float32(5e-5)))
    assert not TWO.same_as(replace(TWO, labels=TWO.labels[::-1]))
    assert TWO.of([1, 0, 1]).labels.tolist() == [[1, 2, 3], [3, 1, 2], [1, 2, 3]]


def test_a_wrong_answer_ends_the_run() -> None:
    photos = Photos(("cat", "dog"), (b"", b""))

    class Fake:
        name = "fake"

        def expected(self) -> Answers:
            return TWO

    system: Any = Fake()
    right = Slice([Done(0, 0, 1, TWO.of([0])), Done(1, 0, 1, TWO.of([1]))], 1.0, {}, 0.0, {})
    script.check(system, ONE, photos, right)
    wrong = Slice([*right.done, Done(0, 0, 1, TWO.of([1]))], 1.0, {}, 0.0, {})
    with pytest.raises(SystemExit, match="fake, one image a request: another answer to cat than expected"):
        script.check(system, ONE, photos, wrong)


def test_the_tutorials_network_is_the_same_function() -> None:
    path = ROOT / "models" / "photos.onnx"
    normalised = session(normalised_network(onnx.load(path)).SerializeToString())
    assert [(i.type, i.shape) for i in normalised.get_inputs()] == [("tensor(float)", ["batch", 3, 224, 224])]
    pixels = np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)
    pixels[1, 40:100] //= 3
    values = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    found = normalised.run(None, {"pixels": np.ascontiguousarray(values)})[0]
    [expected] = session(path).run(None, {"pixels": pixels})
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3)
    assert np.abs(expected[0] - expected[1]).max() > 0.1


# CPU -------------------------------------------------------------------------------------------------------


def test_cpu_time_is_that_of_the_process_and_of_no_other() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_s(process.pid)
        assert used >= 0.2
        groups = {"one": [process.pid], "both": [process.pid, os.getpid()]}
        before = cpu_of(groups)
        sum(range(300_000))
        found = spent(before, cpu_of(groups))
        assert found["one"] < 0.01
        assert found["both"] > found["one"]
        process.communicate(b"\n")
    with pytest.raises(OSError, match=r"Invalid argument|No such process"):
        cpu_s(process.pid)


# Figures ---------------------------------------------------------------------------------------------------


def test_a_slice_counts_all_for_cpu_and_the_steady_part_for_throughput() -> None:
    # One answer every 10 ms for 2 s and four after the end; the first 0.3 s are left out.
    done = [Done(0, 0, 10_000 * n, TWO) for n in range(1, 205)]
    part = measured("fused", EIGHT, (1, 2), Slice(done, 2.0, {"server": 0.6, "stub": 1.032}, 0.1, {"m": 8.0}))
    assert part.images == 204 * 8
    assert part.images_per_s == pytest.approx(170 * 8 / 1.7)
    assert part.server_cpu_us == pytest.approx(1.632 / (204 * 8) * 1e6) == pytest.approx(1000)
    assert part.client_cpu_us == pytest.approx(0.1 / 1632 * 1e6)
    assert part.latencies_us == [10_000 * n for n in range(1, 205)]


def test_a_turn_without_an_answer_in_its_time_is_taken_again_and_longer() -> None:
    photos = Photos(("cat", "dog"), (b"", b""))

    class Slow:
        name = "slow"

        def __init__(self, takes_s: float) -> None:
            self.takes_us, self.asked = round(takes_s * 1e6), list[float]()

        def expected(self) -> Answers:
            return TWO

        def measure(self, mode: Any, seconds: float, seed: int) -> Slice:
            self.asked.append(seconds)
            done = [Done(0, 0, self.takes_us, TWO.of([0]))] if self.takes_us < 60e6 else []
            return Slice(done, seconds, {"server": 1.0}, 0.1, {})

    slow = Slow(1.5)  # after the first turn, which is of one second
    part = script.answered(slow, ONE, photos, 1.0, 7)
    assert slow.asked == [1.0, 4.0]
    assert measured("slow", ONE, (1, 1), part).images_per_s > 0, "which others are divided by"
    with pytest.raises(SystemExit, match=r"slow, .*: no answer within 16 s; look at its log"):
        script.answered(Slow(60.0), ONE, photos, 1.0, 7)


def a_slice(system: str, mode: str, turn: int, rate: float, cpu: float) -> Measured:
    return Measured(system, mode, (1, turn), 100, rate, {"a": cpu / 2, "b": cpu / 2}, 20.0, {}, [1000, 3000])


def run_of(*figures: tuple[str, str, float, float]) -> list[Measured]:
    """Three turns; in the second everything is half as fast and costs twice as much."""
    slow = ((1, 1.0), (2, 2.0), (3, 1.0))
    return [a_slice(s, mode, turn, rate / by, cpu * by) for turn, by in slow for s, mode, rate, cpu in figures]


SLICES = run_of(
    ("bound", ONE.name, 1000.0, 2000.0), ("fused", ONE.name, 900.0, 2100.0), ("ensemble", ONE.name, 800.0, 2600.0),
    ("tutorial", ONE.name, 250.0, 7000.0), ("bound", EIGHT.name, 1000.0, 2000.0),
    ("fused", EIGHT.name, 990.0, 2010.0), ("ensemble", EIGHT.name, 900.0, 2200.0),
)  # fmt: skip


def test_systems_are_compared_within_a_turn() -> None:
    found = comparisons(SLICES)
    fused = found[ONE.name]["fused"]
    # In each turn 0.9 of the bound, though the turns differ by a factor of two.
    assert {key: fused["throughput_of_bound"][key] for key in ("median", "low", "high")} == {
        "median": 0.9, "low": 0.9, "high": 0.9,
    }  # fmt: skip
    assert fused["throughput_of_tutorial"]["median"] == 3.6
    assert (fused["cpu_above_bound_us"]["median"], fused["cpu_above_bound_us"]["high"]) == (100, 200)
    assert set(found[ONE.name]["tutorial"]) == {"throughput_of_bound", "cpu_above_bound_us"}
    assert "throughput_of_tutorial" not in found[EIGHT.name]["fused"]


def test_targets_say_what_was_missed() -> None:
    met = {target["what"]: target["met"] for target in targets(comparisons(SLICES), ONE, EIGHT)}
    assert met == {
        "fused: CPU above the bound, µs an image": True,
        "fused: throughput of the tutorials' style": True,
        "fused: share of the bound, eight images a request": True,
        "ensemble: CPU above the bound, µs an image": False,
        "ensemble: throughput of the tutorials' style": True,
        "ensemble: share of the bound, eight images a request": False,
    }


def test_tables_hold_the_figures() -> None:
    compared = comparisons(SLICES)
    result = {
        "rounds": 1, "turns_a_round": 3, "seconds_a_turn": 3.0, "summary": summaries(SLICES), "compared": compared,
        "targets": targets(compared, ONE, EIGHT),
    }  # fmt: skip
    text = tables(result)
    assert (
        "| tritonkit, fused | 900 (450 to 900) | 0.90 (0.90 to 0.90) | 2,100 (2,100 to 4,200) | 100 (100 to 200) |"
        in text
    )
    assert "| bound: no server | 1,000 (500 to 1,000) | 1 | 2,000 (2,000 to 4,000) | 0 | – | – | a 1,000 |" in text
    assert "| ensemble: CPU above the bound, µs an image | ≤ 450 | 600 (600 to 1,200) | no |" in text


def test_a_table_goes_between_its_marks() -> None:
    page = "a\n<!-- figures -->\nold\nold\n<!-- /figures -->\nb\n"
    assert put_between(page, "figures", r"new \1") == "a\n<!-- figures -->\nnew \\1\n<!-- /figures -->\nb\n"
    with pytest.raises(ValueError, match="no place between <!-- profile -->"):
        put_between(page, "profile", "new")


# What is checked in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "mark", "table"), [("photos.json", "figures", tables), ("photos-profile.json", "profile", profile_table)]
)
def test_the_page_says_what_the_data_say(data: str, mark: str, table: Any) -> None:
    page = (ROOT / "benchmarks" / "photos.md").read_text(encoding="utf-8")
    result = json.loads((ROOT / "benchmarks" / data).read_text(encoding="utf-8"))
    assert put_between(page, mark, table(result)) == page


# All of it -------------------------------------------------------------------------------------------------


@pytest.mark.server
def test_a_quick_run_compares_all_systems_and_all_their_answers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "photos.py"), "--quick", "--output", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "photos.json").read_text())
    assert (result["format"], result["rounds"], result["turns_a_round"]) == (1, 1, 1)
    both = {"bound", "ensemble", "fused", "fastapi"}
    assert {mode: set(found) for mode, found in result["summary"].items()} == {
        ONE.name: both | {"tutorial"}, EIGHT.name: both,
    }  # fmt: skip
    assert len(result["targets"]) == 6
    assert len(result["slices"]) == 9
    for part in result["slices"]:
        assert part["images"] > 0
        assert part["images"] == len(part["latencies_us"]) * (8 if part["mode"] == EIGHT.name else 1)
        assert min(part["latencies_us"]) > 0
        # A photograph takes a millisecond or more to decode, whoever decodes it.
        assert sum(part["cpu_us"].values()) > 500
        assert (part["client_cpu_us"] > 0) == (part["system"] != "bound")
    groups = {part["system"]: set(part["cpu_us"]) for part in result["slices"]}
    assert groups["fused"] == {"tritonserver", "photos"}
    assert groups["ensemble"] == {"tritonserver", "photos_preprocess", "photos_engine", "photos_postprocess"}
    assert groups["fastapi"] == {"supervisor", "worker 1", "worker 2"}
    batches = {(part["system"], part["mode"]): part["batches"] for part in result["slices"]}
    assert batches["ensemble", ONE.name]["photos_preprocess"] > 1.5, "requests of one image were to share batches"
    assert batches["fused", EIGHT.name]["photos"] >= 8
    assert result["pillow"]["largest_score_difference"] > 0
    assert done.stdout == tables(result) + "\n"
    assert ET.parse(tmp_path / "photos.svg").getroot().tag.endswith("svg")
    assert {file.name for file in tmp_path.iterdir()} == {"photos.json", "photos.svg"}


@pytest.mark.server
def test_a_profile_says_where_the_cpu_goes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "photos.py"), "--quick", "--profile", "--systems", "fused",
         "--output", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "photos-profile.json").read_text())
    assert result == json.loads(done.stdout)
    assert set(result["profile"]) == {f"fused, {mode.name}" for mode in MODES}
    for found in result["profile"].values():
        model = found["photos"]
        assert model["program"] > 500
        assert min(model["adapter"], model["stub"], found["tritonserver"]) > 0
        assert model["program"] + model["adapter"] + model["stub"] == pytest.approx(model["all"], rel=0.2)
        assert model["requests_an_execution"] >= 1
    assert "| photos: Triton's stub |" in profile_table(result)


def test_the_readme_says_what_was_measured() -> None:
    """Its table has the first columns of the page's."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "benchmarks" / "photos.md").read_text(encoding="utf-8")
    measured_rows = page.partition("**One image a request**")[2].partition("**Eight images")[0].splitlines()
    cells = {tuple(row.split(" | ")[1:5]) for row in measured_rows if row.startswith("| ")}
    told = readme.partition("| one image a request |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(told) == 5
    assert {tuple(row.removesuffix(" |").split(" | ")[1:5]) for row in told} <= cells
