"""`tritonkit deploy diff` and `rollback` at the command line, on a cluster that others have looked at already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from cli_session import Session

from deploy.release.apply import Applied, Planned
from deploy.release.cluster import Cluster
from deploy.release.differences import Action, Change
from deploy.release.objects import Key
from deploy.release.overrides import Overrides
from deploy.release.preflight import Found
from deploy.release.rollout import Rollout
from deploy.release.state import State
from deploy.release.wanted import Wanted
from deploy.tools.helm import Helm, Revision
from deploy.tools.kubectl import Context, Kubectl
from generator.problems import ProblemsError

CLUSTER = Cluster(Helm(Path("helm")), Kubectl(Path("kubectl")), Context("near", "https://127.0.0.1:1"), "ml")
KEY = Key("apps", "Deployment", "digits-triton")
STATE = State("digits", (Revision(1, "superseded", "noon", "t", ""), Revision(2, "deployed", "noon", "t", "")))


@pytest.fixture
def diff(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """The exit status and standard output of `diff` where this is what the cluster says."""

    def run(outcome: Action | Exception, *words: str) -> tuple[int, str]:
        def plan(_cluster: Cluster, wanted: Wanted, **_more: Any) -> Planned:
            if isinstance(outcome, Exception):
                raise outcome
            return Planned(wanted, Found(STATE, True, ()), (Change(KEY, outcome, "a: 1\n", "a: 2\n"),))

        wanted = Wanted("digits", "production", (), {}, Overrides(), ())
        monkeypatch.setattr("deploy.release.apply.plan", plan)
        monkeypatch.setattr("tritonkit.cli.deploy_options.connected", lambda _options: CLUSTER)
        monkeypatch.setattr("tritonkit.cli.deploy_options.read", lambda _options: wanted)
        ended = session.quietly("deploy", "diff", *words)
        return ended.status, ended.out

    return run


def test_a_script_can_tell_a_change_from_an_error(diff: Callable[..., tuple[int, str]]) -> None:
    refused = CLUSTER.stop("TK444", "the cluster does not answer")
    assert isinstance(refused, ProblemsError)
    assert [diff(outcome)[0] for outcome in (Action.KEEP, Action.CHANGE, refused)] == [0, 1, 1]
    assert [diff(outcome, "--exit-code")[0] for outcome in (Action.KEEP, Action.CHANGE, refused)] == [0, 3, 1]
    assert "-a: 1\n+a: 2\n" in diff(Action.CHANGE, "--exit-code")[1]
    status, out = diff(Action.CHANGE, "--exit-code", "--json")
    assert (status, [change["action"] for change in json.loads(out)["changes"]]) == (3, ["change"])


@dataclass(frozen=True)
class Kept(Helm):
    """A Helm that keeps a revision with these values."""

    def manifest(self, release: str, revision: int | None = None) -> str:
        return f"kind: Deployment\nmetadata: {{name: {release}-{revision}}}\n"


VALUES: dict[int, dict[str, Any]] = {
    1: {"workload": {"progressDeadlineSeconds": 3000}, "engineBuild": {"enabled": True}}, 2: {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected_s"),
    [((), 3000 + 60 + 7200), (("--revision", "2"), 960), (("--timeout", "5"), 5)],
    ids=["as apply", "the chart's own", "named"],
)
def test_a_rollback_waits_as_long_as_its_values_may_take(
    session: Session, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected_s: float
) -> None:
    """Engines are built once more, and models take as long to load as they did then."""
    waited: list[float] = []

    def rolled_back(_cluster: Cluster, _state: State, revision: int, *, timeout_s: float, **_more: Any) -> Applied:
        waited.append(timeout_s)
        return Applied(revision + 2, Rollout(1, 1, is_done=True))

    helm = Kept(Path("helm"))
    monkeypatch.setattr(Kept, "values", lambda _self, _name, revision: VALUES[cast(int, revision)])
    monkeypatch.setattr("deploy.release.apply.rolled_back", rolled_back)
    for name in ("may_change", "reachable"):
        monkeypatch.setattr(f"deploy.release.preflight.{name}", lambda *_words: None)
    monkeypatch.setattr("deploy.release.state.installed", lambda *_words: STATE)
    monkeypatch.setattr("deploy.release.served.known", lambda _cluster, state: state)
    monkeypatch.setattr("tritonkit.cli.deploy_options.connected", lambda _options: replace(CLUSTER, helm=helm))
    ended = session.quietly("deploy", "rollback", "--release", "digits", "--yes", *words)
    assert ended.status == 0, ended.err
    assert waited == [expected_s]
