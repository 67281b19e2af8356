"""What the specs of a load test promise, and the mix and rate that follow."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import CLONE, codes_of, quiet

from generator.problems import ProblemsError
from generator.spec.pipeline import Objective
from loadtest.run.asked import Asked, Promise
from loadtest.run.prepare import prepare, sizes_of, wanted_of
from loadtest.run.sending import connections_of
from loadtest.run.specs import mix_of, promises_of, rate_of, shape_of


def plan(name: str, objective: Objective | None = None) -> Any:
    """As much of a Plan as these ask for."""
    return SimpleNamespace(name=name, objective=objective, spec_file=f"specs/{name}.yaml")


A = plan("a", Objective(p99_ms=20, throughput_rps=300, max_error_rate=0.01))
B = plan("b", Objective(p99_ms=50, throughput_rps=100))
BARE = plan("bare")


def test_promises() -> None:
    assert promises_of([A, B]) == {"a": Promise(20, 300, 0.01), "b": Promise(50, 100, 0.001)}
    assert promises_of([A, BARE], 7) == {"a": Promise(7, 300, 0.01), "bare": Promise(7)}
    with pytest.raises(ProblemsError, match="`bare` has no objective") as raised:
        promises_of([A, BARE])
    assert codes_of(raised) == ["TK870"]
    assert "--p99-ms" in raised.value.problems[0].hint


def test_the_rate_is_what_is_asked_or_promised() -> None:
    promises = promises_of([A, B])
    assert rate_of(promises, {"a": 1, "b": 1}, None) == 400
    assert rate_of(promises, {"a": 1}, None) == 300
    assert rate_of(promises, {"a": 1}, 17.5) == 17.5
    with pytest.raises(ProblemsError, match="says no `throughput_rps`") as raised:
        rate_of(promises_of([BARE], 5), {"bare": 1}, None)
    assert codes_of(raised) == ["TK871"]


def test_the_mix() -> None:
    promises = promises_of([A, B])
    assert mix_of([A, B], promises, None) == {"a": 300, "b": 100}
    assert mix_of([A, B], promises, "b=0.3, a=0.7") == {"a": 0.7, "b": 0.3}
    assert list(mix_of([A, B], promises, "b=1,a=1")) == ["a", "b"], "pipelines are numbered in the order of the specs"
    bare = promises_of([A, BARE], 5)
    assert mix_of([A, BARE], bare, None) == {"a": 1, "bare": 1}


@pytest.mark.parametrize(("text", "said"), [
    ("a=1", "`b` has no share"), ("a=1,b=1,c=1", "`c` is of none of the specs"), ("a=1,a=1,b=1", "`a` is named twice"),
    ("a=0,b=1", "no share"), ("a,b=1", "no share"), ("a=nan,b=1", "no share"), ("a=inf,b=1", "no share"),
    ("a=-1,b=1", "no share"), ("", "no share"),
])  # fmt: skip
def test_mixes_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ProblemsError, match=said) as raised:
        mix_of([A, B], promises_of([A, B]), text)
    assert codes_of(raised) == ["TK877"]


def test_settings_of_arrivals() -> None:
    assert shape_of(None, "poisson") == shape_of("", "trace") == {}
    assert shape_of("times=5, every_s=0.5", "burst") == {"times": 5.0, "every_s": 0.5}


@pytest.mark.parametrize(("text", "kind", "code", "said"), [
    ("times", "burst", "TK878", "`times` is no setting of arrivals"), ("times=a", "burst", "TK878", "is no setting"),
    ("times=2,times=3", "burst", "TK878", "`times` is given twice"),
    ("mix=1", "burst", "TK853", "arrivals `burst` have no setting `mix`"),
    ("seed=3", "poisson", "TK853", "arrivals `poisson` have no setting `seed`"),
    ("payloads=3", "diurnal", "TK853", "no setting `payloads`"), ("trace=3", "trace", "TK853", "no setting `trace`"),
])  # fmt: skip
def test_settings_that_arrivals_do_not_have(text: str, kind: str, code: str, said: str) -> None:
    with pytest.raises(ProblemsError, match=said) as raised:
        shape_of(text, kind)
    assert codes_of(raised) == [code]


def options(**changed: Any) -> dict[str, Any]:
    """Those of `load run` without any given."""
    return {
        "specs": ("specs/a.yaml",), "rate": None, "duration": None, "p99_ms": None, "protocol": "http", "client": "raw",
        "kind": None, "trace": None, "shape": None, "mix": None, "seed": 1, "senders": 1, "connections": None,
        "deadline_ms": None, "sizes": "1", "priority": 0, "server_timeout_us": 0, "cancel": 0.0,
        "shared_memory": False, "streaming": False, "lag_bound_ms": None, "url": None, "grpc_url": None, "allowed": (),
        "target": "embedded", "out": None, "command": "", **changed,
    }  # fmt: skip


def test_options_become_fields_of_what_is_asked() -> None:
    wanted = wanted_of(options(sizes="1,4", trace="t.csv", rate=5.0, until_decided=True))
    assert (wanted.specs, wanted.rate_rps, wanted.extend) == ((Path("specs/a.yaml"),), 5.0, True)
    assert (wanted.given["sizes"], wanted.given["kind"], wanted.given["trace"]) == ((1, 4), "trace", Path("t.csv"))
    assert wanted.given["budget_s"] == 300
    asked = Asked({"a": Promise(20)}, {"a": 1}, 5.0, None, **wanted.given)
    assert asked.deadline_us == 1_000_000


@pytest.mark.parametrize(("changed", "said"), [
    ({"trace": "t", "kind": "poisson"}, "take no file"), ({"kind": "trace"}, "need a file"),
    ({"budget_s": 5.0}, "nothing that goes on"), ({"allowed": ("a",)}, "no server is named"),
    ({"grpc_url": "a:1"}, "no server is named"), ({"until_decided": True, "web": True}, "through Locust has an end"),
    ({"p99_ms": float("nan")}, "nan is no number"), ({"deadline_ms": float("inf")}, "inf is no number"),
    ({"rate": float("inf")}, "inf is no number"), ({"specs": ()}, "no spec is named"), ({"sizes": "0"}, "no list of sizes"), ({"sizes": "a"}, "no list of sizes"),
])  # fmt: skip
def test_options_that_do_not_fit_together(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemsError, match=said) as raised:
        wanted_of(options(**changed))
    assert codes_of(raised) == ["TK878"]


def test_sizes() -> None:
    assert sizes_of("1") == (1,)
    assert sizes_of("1, 4,4") == (1, 4, 4)
    assert sizes_of((2, 3)) == (2, 3)


def test_the_deadline_and_the_connections_follow_from_the_objective_and_the_rate() -> None:
    def asked(p99_ms: float, rate: float, **more: Any) -> Asked:
        return Asked({"a": Promise(p99_ms)}, {"a": 1}, rate, 1.0, **more)

    assert asked(20, 10).deadline_us == 1_000_000
    assert asked(500, 10).deadline_us == 5_000_000
    assert asked(500, 10, deadline_ms=7.5).deadline_us == 7500
    assert connections_of(asked(20, 10)) == 64
    assert connections_of(asked(20, 500)) == 600
    assert connections_of(asked(20, 500, senders=2)) == 300
    assert connections_of(asked(20, 50_000)) == 1024
    assert connections_of(asked(20, 500, connections=3)) == 3


@pytest.mark.parametrize(("senders", "refused"), [(1, False), (19, False), (20, True), (64, True)])
def test_senders_that_would_have_nothing_to_send(
    senders: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CLONE)
    asked = options(specs=("specs/digits.yaml",), kind="constant", rate=2.0, duration=9.5, senders=senders)
    if not refused:
        assert prepare(wanted_of(asked), quiet).asked.senders == senders
        return
    with pytest.raises(ProblemsError, match=f"there are {senders} senders, and 19 requests to send") as raised:
        prepare(wanted_of(asked), quiet)
    assert codes_of(raised) == ["TK878"]
