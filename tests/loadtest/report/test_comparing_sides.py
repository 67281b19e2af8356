"""Several runs a side: what differs from run to run is no regression, and sides are of one thing each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run

import tritonkit.cli
from generator.problems import ProblemsError
from loadtest.report.comparing.compare import compare
from loadtest.report.comparing.throughput import ratio
from loadtest.report.words import confidence as words_of
from loadtest.report.words import plain

LUCK = {"a": (1.0, 1.12, 1.05), "b": (1.07, 1.0, 1.13), "slow": (1.5, 1.62, 1.55)}
REQUESTS = 12_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of each: `a` and `b` are the same thing, whose runs are more or less lucky; `slow` is not."""
    root = tmp_path_factory.mktemp("sides")
    for place, (side, factors) in enumerate(LUCK.items()):
        for number, factor in enumerate(factors, 1):
            make_run(root / f"{side}{number}", seed=10 * place + number, requests=REQUESTS, service_us=800.0 * factor)
    make_run(root / "faster-rate", seed=41, requests=REQUESTS, rate=600.0)
    return root


@pytest.fixture
def at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    return root


def side(root: Path, name: str, numbers: Sequence[int] = (1, 2, 3)) -> list[Path]:
    return [root / f"{name}{number}" for number in numbers]


def tritonkit_(*arguments: str) -> int:
    return tritonkit.cli.main(["load", "compare", *arguments])


def test_luck_of_a_run_is_a_regression_of_one_run_and_none_of_three(root: Path) -> None:
    assert compare(root / "b2", root / "a2", 0.0).verdict == "worse", "which two runs are taken decides it"
    assert compare(root / "a1", root / "b2", 0.0).verdict != "worse"
    found = compare(side(root, "a"), side(root, "b"), 0.0)
    assert found.verdict == "no difference"
    assert not found.measures[0].told
    assert found.sentence.endswith("; measure more runs of each")
    assert found.warnings == ()


def test_what_is_slower_in_every_run_is_a_regression(root: Path) -> None:
    found = compare(side(root, "a"), side(root, "slow"), 0.05)
    assert found.is_regression
    p99 = found.measures[0]
    assert p99.verdict == "worse"
    assert p99.ratio.value == pytest.approx(p99.b / p99.a)
    assert (len(p99.of_a), len(p99.of_b)) == (3, 3)
    assert min(p99.of_a) <= p99.a <= max(p99.of_a)
    assert min(p99.of_b) > max(p99.of_a)
    assert compare(side(root, "slow"), side(root, "a"), 0.05).verdict == "better"


def test_throughput_of_several_runs_knows_how_runs_differ() -> None:
    rng = np.random.default_rng(1)
    a, b = ([rng.normal(mean, 5, 256) for mean in means] for means in ((500, 450, 550), (470, 520, 430)))
    of_one, of_three = ratio(a[0], b[2], 0.99), ratio(a, b, 0.99)
    assert of_one.high < 0.9
    assert of_three.low < 1 < of_three.high
    assert of_three.value == pytest.approx(1420 / 1500, rel=0.01)


def test_as_json_names_all_runs(root: Path) -> None:
    several = compare(side(root, "a"), side(root, "slow"), 0.05).as_json()
    data = json.loads(json.dumps(several, allow_nan=False))
    assert (data["a"], data["b"], data["between_runs"]) == (["a1", "a2", "a3"], ["slow1", "slow2", "slow3"], True)
    one = compare(root / "a1", root / "b1", 0.05).as_json()
    assert (one["a"], one["b"], one["between_runs"]) == ("a1", "b1", False)


def test_seeds_that_are_another_on_either_side_are_told(root: Path, tmp_path: Path) -> None:
    for number in range(1, 4):
        for name, seed in (("same", 7), ("other", 8)):
            make_run(tmp_path / f"{name}{number}", seed=seed, requests=3000, service_us=800.0 + number)
    [warning] = compare(side(tmp_path, "same"), side(tmp_path, "other"), 0.05).warnings
    assert "seed 7 in every run of one side, and of seed 8 in every run of the other" in warning
    assert compare(side(root, "a"), side(root, "b"), 0.05).warnings == ()


def refusals(a: Sequence[Path], b: Sequence[Path]) -> list[tuple[str, str]]:
    with pytest.raises(ProblemsError) as error:
        compare(a, b, 0.05)
    return [(problem.code, problem.message) for problem in error.value.problems]


def test_a_side_of_different_things_is_refused(root: Path) -> None:
    [(code, message)] = refusals([*side(root, "a", (1, 2)), root / "faster-rate"], side(root, "b"))
    assert code == "TK898"
    assert "on the same side: The rate differs: 500 and 600 requests/s." in message


@pytest.mark.parametrize("field", ["spec_sha256", "target"])
def test_another_spec_on_a_side_is_refused(field: str, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "b3", tmp_path / "b3")
    data = json.loads((tmp_path / "b3" / "run.json").read_text())
    data["made"][field] = "aa" * 32
    (tmp_path / "b3" / "run.json").write_text(json.dumps(data))
    [(code, message)] = refusals(side(root, "a"), [*side(root, "b", (1, 2)), tmp_path / "b3"])
    assert code == "TK898"
    assert "differs" in message


def test_payloads_that_another_seed_has_made_are_no_other_thing(root: Path, tmp_path: Path) -> None:
    def with_bytes(seed: int) -> Path:
        shutil.copytree(root / "b3", tmp_path / f"seed{seed}")
        data = json.loads((tmp_path / f"seed{seed}" / "run.json").read_text())
        data["traffic"]["payload_bytes"] = {"digits": [3000 + seed]}
        data["traffic"]["drawn"]["seed"] = seed
        (tmp_path / f"seed{seed}" / "run.json").write_text(json.dumps(data))
        return tmp_path / f"seed{seed}"

    runs = [with_bytes(seed) for seed in (1, 2, 3)]
    assert compare(runs, runs, 0.05).verdict == "no difference"
    data = json.loads((runs[1] / "run.json").read_text())
    data["traffic"]["drawn"]["seed"] = 1
    (runs[1] / "run.json").write_text(json.dumps(data))
    [(code, message)] = refusals(runs, side(root, "a"))
    assert code == "TK898"
    assert "payloads" in message


def test_a_run_repeats_nothing_by_being_named_twice(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "a1", tmp_path / "copy")
    for again in (root / "a1", tmp_path / "copy"):
        [(code, message)] = refusals([*side(root, "a", (1, 2)), again], side(root, "b"))
        assert code == "TK898"
        assert "the same run as" in message


@pytest.mark.parametrize(("a", "b"), [((1, 2), (1, 2)), ((1,), (1, 2, 3)), ((1, 2, 3), (2,))])
def test_fewer_than_three_do_not_tell_how_runs_differ(a: tuple[int, ...], b: tuple[int, ...], root: Path) -> None:
    found = refusals(side(root, "a", a), side(root, "b", b))
    assert {code for code, _ in found} == {"TK899"}
    assert len(found) == sum(len(one) < 3 for one in (a, b))
    assert "takes 3 or more on either side to tell" in found[0][1]


THREE = ["a1", "a2", "a3"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*THREE, "--to", "slow1", "slow2", "slow3"],
        [*THREE, "--to", "slow1", "--to", "slow2", "--to=slow3"],
        [*THREE, "--to=slow1", "slow2", "slow3", "--threshold", "5%"],
        ["--to", "slow1", "slow2", "slow3", "--threshold", "5%", *THREE],
    ],
)
def test_sides_as_they_are_typed(arguments: list[str], at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_(*arguments) == 1
    seen = capsys.readouterr()
    lines = seen.out.splitlines()
    assert "A, 3 runs" in lines[0]
    assert "B, 3 runs" in lines[0]
    assert lines[-1].startswith("worse: p99 +")
    assert lines[-2].startswith("p99 of each run, ms: ")
    assert seen.err == ""


def test_one_run_a_side_says_what_it_cannot_know(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for arguments in (["a1", "slow1"], ["a1", "--to", "slow1"]):
        assert tritonkit_(*arguments) == 1
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "that runs of the same thing differ is not in these intervals (see --to)" in outputs[0]


def test_json_of_several(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_(*THREE, "--to", "b1", "b2", "b3", "--json") == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert data["b"] == ["b1", "b2", "b3"]
    assert data["regression"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (THREE, "3 runs are of one side: name those of the other behind --to"),
        ([*THREE, "--to"], "'--to' requires a run, or several"),
        ([*THREE, "--to", "--json"], "'--to' requires a run, or several"),
        (["--to", "b1"], "missing argument"),
        ([*THREE, "--to", "b1", "b2"], "TK899"),
        ([*THREE, "--to", "b1", "b2", "absent"], "TK890"),
        ([*THREE, "--to", "b1", "b1", "b2"], "TK898"),
    ],
)
def test_mistakes(arguments: list[str], words: str, at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_(*arguments) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert words in " ".join(seen.err.split()) or words in seen.err.lower()
    assert "Traceback" not in seen.err


def test_repetitions_may_have_been_decided_at_different_looks(root: Path, tmp_path: Path) -> None:
    """With `--until-decided` one run goes on for longer than another that was asked for with the same words."""
    runs = []
    for number, segments in ((1, 1), (2, 3), (3, 2)):
        runs.append(tmp_path / f"b{number}")
        shutil.copytree(root / f"b{number}", runs[-1])
        data = json.loads((runs[-1] / "run.json").read_text())
        data["traffic"]["options"] = {"senders": 2, "segments": segments}
        data["traffic"]["drawn"]["duration_s"] = 30 * segments
        data["validity"]["senders"] = 2 * segments  # each segment's are counted
        (runs[-1] / "run.json").write_text(json.dumps(data))
    assert compare(runs, runs, 0.05).warnings == ()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of each side, of too few requests for a p99 at 99 % confidence."""
    root = tmp_path_factory.mktemp("short")
    for place, name in enumerate("ab"):
        for number in (1, 2, 3):
            make_run(root / f"{name}{number}", seed=50 + 10 * place + number, requests=200, rate=100.0, warm_s=0.5)
    return root


def test_it_is_said_how_sure_each_change_is(
    short: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(short)
    sides = ["a1", "a2", "a3", "--to", "b1", "b2", "b3"]
    assert tritonkit_(*sides) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    found = compare(side(short, "a"), side(short, "b"), 0.05)
    sure = [measure.ratio.confidence for measure in found.measures]
    assert sure[0] < sure[2] == 0.99
    assert head.split() == ["A,", "3", "runs", "B,", "3", "runs", "change"]
    p99, p50, throughput = (plain(words_of(confidence)) for confidence in sure)
    assert f"How sure each interval is: p99 {p99}, p50 {p50}, throughput {throughput}. Too few requests" in rows[4]


def test_what_cannot_be_told_fails_where_it_is_asked_for(
    short: Path, at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undecided = [str(short / "a1"), str(short / "b1")]
    assert not compare(short / "a1", short / "b1", 0.05).is_decided
    assert tritonkit_(*undecided) == 0
    assert tritonkit_(*undecided, "--fail-undecided") == 1
    assert "no difference can be told: p99" in capsys.readouterr().out
    decided = ["a1", "a1", "--threshold", "50%"]
    assert tritonkit_(*decided, "--fail-undecided", "--json") == 0
    assert json.loads(capsys.readouterr().out)["decided"] is True
