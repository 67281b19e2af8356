"""What cannot be sent: every mistake has its code, says what was found, and how to mend it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from generator.problems import Problem, ProblemsError
from loadtest.traffic.arrivals import LONGEST_S, MOST_REQUESTS, MOST_RPS, draw
from loadtest.traffic.codes import CODES


def problem(kind: str = "poisson", rate: Any = 100.0, seconds: Any = 10.0, seed: Any = 1, **more: Any) -> Problem:
    """The one that `draw` raises."""
    asked = {"mix": {"p": 1.0}, "payloads": {"p": 4}} | more
    with pytest.raises(ProblemsError) as error:
        draw(kind, rate, seconds, seed, **asked)
    [found] = error.value.problems
    assert found.code in CODES
    return found


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (0, "nothing can be sent at 0 requests/s"),
        (0.0, "nothing can be sent at 0 requests/s"),
        (-5, "nothing can be sent at -5 requests/s"),
        (math.nan, "nothing can be sent at nan requests/s"),
        (math.inf, "nothing can be sent at inf requests/s"),
        (200_001, "200,001 requests/s are more than can be asked for"),
        (1e300, "are more than can be asked for"),
        (None, "there is no rate"),
    ],
)
@pytest.mark.parametrize("kind", ["poisson", "constant", "burst", "ramp", "diurnal"])
def test_rates(kind: str, rate: float | None, said: str) -> None:
    found = problem(kind, rate)
    assert (found.code, found.place.file) == ("TK850", "--rate")
    assert said in found.message
    assert found.hint == "give more than 0 and at most 200,000 requests/s"


@pytest.mark.parametrize(
    ("kind", "rate", "shape", "peak"),
    [
        ("burst", 50_000, {"times": 5.0}, "250,000"),
        ("ramp", 100, {"from_rps": 1e9}, "1,000,000,000"),
        ("diurnal", 150_000, {"depth": 1.0}, "300,000"),
    ],
)
def test_peaks(kind: str, rate: float, shape: dict[str, float], peak: str) -> None:
    found = problem(kind, rate, **shape)
    assert found.code == "TK850"
    assert found.message == f"arrivals `{kind}` reach {peak} requests/s; at most 200,000 can be asked for"


@pytest.mark.parametrize("seconds", [0, -1, 1e-300, math.nan, math.inf, LONGEST_S + 1, None])
def test_durations(seconds: float | None) -> None:
    found = problem(seconds=seconds)
    assert (found.code, found.place.file) == ("TK851", "--duration")
    assert found.hint == "give 0.001 to 604,800 s"


@pytest.mark.parametrize("kind", ["poisson", "constant", "burst", "ramp", "diurnal"])
def test_the_shortest_run(kind: str) -> None:
    found = draw(kind, MOST_RPS / 5, 0.001, 1, mix={"p": 1}, payloads={"p": 4})
    assert 5 < len(found) < 100
    assert found.due_ns[-1] < 1e6


def test_more_than_a_run_can_hold() -> None:
    found = problem(rate=MOST_RPS, seconds=1000)
    assert (found.code, found.place.file) == ("TK852", "--duration")
    assert found.message == f"200,000,000 requests are more than a run can hold, {MOST_REQUESTS:,}"
    assert problem("burst", 100, LONGEST_S, times=5, every_s=10, length_s=1).code == "TK852"


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("gauss", {}, "there are no arrivals `gauss`"),
        ("trace", {}, "arrivals `trace` need a file"),
        ("poisson", {"trace": Path("a.csv")}, "arrivals `poisson` take no file"),
        ("poisson", {"times": 3}, "arrivals `poisson` have no setting `times`"),
        ("constant", {"from_rps": 3}, "arrivals `constant` have no setting `from_rps`"),
        ("ramp", {"to_rps": 3}, "arrivals `ramp` have no setting `to_rps`"),
        ("ramp", {"from_rps": -1}, "`from_rps` of arrivals `ramp` is -1; in this run it can be 0 or more"),
        ("ramp", {"from_rps": math.nan}, "`from_rps` of arrivals `ramp` is nan, and not a number"),
        ("burst", {"times": True}, "`times` of arrivals `burst` is True, and not a number"),
        ("burst", {"times": "3"}, "`times` of arrivals `burst` is '3', and not a number"),
        ("burst", {"times": 0.5}, "`times` of arrivals `burst` is 0.5; in this run it can be 1 to 1000"),
        ("burst", {"every_s": 11}, "`every_s` of arrivals `burst` is 11; in this run it can be 0.1 to 10"),
        ("burst", {"every_s": 1e-9}, "`every_s` of arrivals `burst` is 1e-09; in this run it can be 0.1 to 10"),
        ("burst", {"every_s": 2, "length_s": 3}, "`length_s` of arrivals `burst` is 3; in this run it can be 0.002 to 2"),
        ("burst", {"length_s": 0}, "`length_s` of arrivals `burst` is 0; in this run it can be 0.005 to 5"),
        ("diurnal", {"depth": 1.1}, "`depth` of arrivals `diurnal` is 1.1; in this run it can be 0 to 1"),
        ("diurnal", {"days": 101}, "`days` of arrivals `diurnal` is 101; in this run it can be 0.01 to 100"),
    ],
)  # fmt: skip
def test_kinds_and_their_settings(kind: str, more: dict[str, Any], said: str) -> None:
    found = problem(kind, **more)
    place = "--arrivals" if kind == "gauss" else "--trace" if kind == "trace" or "trace" in more else "--shape"
    assert (found.code, found.place.file, found.message) == ("TK853", place, said)
    assert found.hint


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_seeds(seed: Any) -> None:
    assert problem(seed=seed).code == "TK854"


@pytest.mark.parametrize(
    ("mix", "payloads", "said"),
    [
        ({}, {}, "the mix has 0 pipelines"),
        ({str(index): 1 for index in range(257)}, {}, "the mix has 257 pipelines; it can have 1 to 256"),
        ({"p": 0}, {"p": 1}, "the weight of `p` is 0"),
        ({"p": -1}, {"p": 1}, "the weight of `p` is -1"),
        ({"p": math.nan}, {"p": 1}, "the weight of `p` is nan"),
        ({"p": math.inf}, {"p": 1}, "the weight of `p` is inf"),
        ({"p": 1e308, "q": 1e308}, {"p": 1, "q": 1}, "the weights are too large"),
        ({"p": 1}, {}, "there is nothing to send to `p`"),
        ({"p": 1}, {"p": 0}, "there is nothing to send to `p`"),
    ],
)
def test_mixes(mix: dict[str, float], payloads: dict[str, int], said: str) -> None:
    found = problem(mix=mix, payloads=payloads)
    assert (found.code, found.place.file) == ("TK855", "--mix")
    assert said in found.message


def test_a_mix_of_256_pipelines_can_be_drawn() -> None:
    names = [str(index) for index in range(256)]
    found = draw("poisson", 10_000, 2, 1, mix=dict.fromkeys(names, 1), payloads=dict.fromkeys(names, 1))
    assert set(found.pipeline.tolist()) == set(range(256))


def test_a_run_without_requests() -> None:
    found = problem(rate=0.001, seconds=1)
    assert found.code == "TK858"
    assert found.message == "0.001 requests/s for 1 s: not one falls into it"
    assert found.hint == "give a higher rate or a longer duration"


def test_the_codes_are_of_this_stage() -> None:
    assert list(CODES) == [f"TK{number}" for number in range(850, 860)]
