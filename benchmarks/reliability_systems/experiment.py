"""One rolling restart under load, as the chart says it or with something taken away, and what was lost."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deploy.values import Options, values_of
from generator.plan import Plan
from generator.project import Project

from .direct import CLIENTS, Calling, answered_by
from .load import PATIENT, ROOT, Came, Loading, Traffic, plan_and_tree, told
from .pod import Pod, rendered
from .proxy import Endpoints, HAProxy, Names, free_ports
from .rollout import Deployment

KEY = "the-key-of-this-experiment"
BEFORE_S, AFTER_S, ROLLOUT_S = 8.0, 3.0, 90.0
"""Of load before the first rollout, at the least after the last, and what one may take on a busy machine."""


@dataclass(frozen=True)
class Stage:
    """What all runs share: the plan, the pod that the chart renders for it, and a folder for what they leave."""

    plan: Plan
    pod: Pod
    values: str
    ports: Mapping[str, int]
    folder: Path

    def sub(self, name: str) -> Path:
        """An empty folder of one run."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


@dataclass(frozen=True)
class Drain:
    """What differs from the rendered pod; None: as the chart says. Endpoints hear of a change `delay_s` later."""

    pre_stop_s: float | None = None
    exit_timeout_s: int | None = None
    grace_s: float | None = None
    delay_s: float = 1.0
    reuse: bool = True

    def applied(self, pod: Pod) -> Pod:
        """The pod with it."""
        if self.exit_timeout_s is not None:
            pod = pod.with_exit_timeout(self.exit_timeout_s)
        if self.pre_stop_s is not None:
            pod = replace(pod, pre_stop_s=self.pre_stop_s)
        return pod if self.grace_s is None else replace(pod, grace_s=self.grace_s)


@contextmanager
def staged(connection_age_ms: int | None = None, *, headless: bool = False) -> Iterator[Stage]:
    """The repository written, the chart's values made of the spec, and its pod rendered.

    `headless`: with the chart's Service of gRPC, and its check that connections live no longer than such clients can
    follow. Without it that Service is off: how clients reach the pods is the experiment's, and so is what they lose.
    """
    import yaml

    with tempfile.TemporaryDirectory(prefix="tritonkit-reliability-") as name:
        folder, project = Path(name), Project(ROOT)
        plan, files = plan_and_tree(ROOT)
        repository = folder / "repository"
        for path, data in files.items():
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).write_bytes(data)
        shutil.copytree(Path(__file__).parent / PATIENT, repository / PATIENT)
        made = values_of([plan], project, options=Options(allow_vulnerable=True)).text()
        ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
        here: dict[str, Any] = {
            "ports": ports, "service": {"grpc": {"port": ports["grpc"], "enabled": headless}},
        }  # fmt: skip
        if connection_age_ms is not None:
            here["server"] = {"grpcMaxConnectionAgeMs": connection_age_ms}
        (folder / "values.yaml").write_text(made)
        (folder / "here.yaml").write_text(yaml.safe_dump(here))
        pod = rendered([folder / "values.yaml", folder / "here.yaml"], KEY)
        # Of the pod's own folders none is here: its models are read where they were written.
        models = f"--model-repository={repository}"
        flag = "--model-repository="
        pod = replace(pod, command=tuple(models if word.startswith(flag) else word for word in pod.command))
        yield Stage(plan, pod, made, ports, folder)


def through_proxy(
    stage: Stage, name: str, drain: Drain, traffic: Traffic, *, until_the_end: bool = False
) -> dict[str, Any]:
    """Rolls under load over HTTP and gRPC: once, or again and again until the load is nearly over.

    Raises SystemExit when the load ends before the rollout does.
    """
    folder = stage.sub("run")
    pod = drain.applied(stage.pod)
    with HAProxy(folder, stage.ports, reuse=drain.reuse) as proxy:
        endpoints = Endpoints([proxy], drain.delay_s)
        with Deployment(pod, endpoints, folder) as deployment:
            deployment.start()
            addresses: dict[Any, str] = {"http": proxy.http, "grpc": proxy.grpc}
            with Loading(traffic, stage.plan, ROOT, addresses, folder) as loading:
                deployment.clock = lambda: loading.seconds
                time.sleep(max(0.0, BEFORE_S - loading.seconds))
                spans: list[tuple[float, float]] = []
                while not spans or (until_the_end and traffic.duration_s - loading.seconds > ROLLOUT_S):
                    began_s = loading.seconds
                    deployment.roll()
                    spans.append((began_s, loading.seconds))
                _in_time(spans[-1][1], traffic)
                came = loading.finish(None if until_the_end else spans[-1][1] + AFTER_S)
    return {
        "name": name, **_numbers(pod, drain), "traffic": asdict(traffic), "rollouts": _spans(spans),
        "protocols": _judged(came, spans), "events": deployment.events, "seconds": _by_second(came, traffic),
    }  # fmt: skip


def direct(
    stage: Stage,
    name: str,
    traffic: Traffic,
    *,
    retry: Any = None,
    lookup_ms: int | None = None,
    delay_s: float = 1.0,
    until_the_end: bool = False,
) -> dict[str, Any]:
    """Rolls under gRPC calls that find the pods by name, as often as `through_proxy`, and raises what that does."""
    folder = stage.sub("run")
    with Names() as names, Deployment(stage.pod, Endpoints([names], delay_s), folder) as deployment:
        deployment.start()
        target = f"dns://{names.address}/pods.test:{stage.ports['grpc']}"
        with Calling(stage.plan, target, traffic, retry=retry, lookup_ms=lookup_ms) as calling:
            deployment.clock = lambda: calling.seconds
            time.sleep(BEFORE_S)
            spans: list[tuple[float, float]] = []
            while not spans or (until_the_end and traffic.duration_s - calling.seconds > ROLLOUT_S):
                began_s = calling.seconds
                deployment.roll()
                spans.append((began_s, calling.seconds))
            _in_time(spans[-1][1], traffic)
            calls = calling.finish(until_the_end=until_the_end)
            answered = [answered_by(address, stage.ports["metrics"]) for address in deployment.addresses]
    return {
        "name": name, **_numbers(stage.pod, Drain(delay_s=delay_s)),
        "clients": CLIENTS, "client": "tritonkit" if lookup_ms is None else "tritonclient", "lookup_ms": lookup_ms,
        "retry": retry is not None, "traffic": asdict(traffic), "rollouts": _spans(spans), "calls": calls.told(),
        "answered_by_the_new_pods": answered, "looked_up": names.asked, "events": deployment.events,
    }  # fmt: skip


def _in_time(ended_s: float, traffic: Traffic) -> None:
    if ended_s + AFTER_S > traffic.duration_s:
        raise SystemExit(
            f"the rollout ended at {ended_s:.0f} s and the load at {traffic.duration_s:g} s: load longer"
        )


def _numbers(pod: Pod, drain: Drain) -> dict[str, Any]:
    return {
        "pre_stop_s": pod.pre_stop_s, "exit_timeout_s": pod.exit_timeout_s, "grace_s": pod.grace_s,
        "endpoint_delay_s": drain.delay_s, "connections_reused": drain.reuse,
        "connection_age_ms": pod.connection_age_ms,
    }  # fmt: skip


def _spans(spans: list[tuple[float, float]]) -> list[dict[str, float]]:
    return [{"from_s": round(low, 2), "to_s": round(high, 2), "took_s": round(high - low, 2)} for low, high in spans]


def _judged(came: list[Came], spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Counts, and the p99 of the short requests before and during the rollouts."""
    found = told(came)
    for each in came:
        low, high = spans[0][0], spans[-1][1]
        found[each.protocol]["p99_before_ms"] = each.p99_ms(0, low)
        found[each.protocol]["p99_during_ms"] = each.p99_ms(low, high)
        found[each.protocol]["p99_after_ms"] = each.p99_ms(high, float("inf"))
    return found


def _by_second(came: list[Came], traffic: Traffic) -> dict[str, list[dict[str, Any]]]:
    """For a chart, by the second in which they were due: requests, lost ones, and the p99 of the short ones."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in came:
        due_s = each.samples["due_us"] // 1_000_000
        lost_s = each.lost["due_us"] // 1_000_000
        found[each.protocol] = [
            {
                "requests": int((due_s == second).sum()), "lost": int((lost_s == second).sum()),
                "p99_ms": _rounded(each.p99_ms(second, second + 1)),
            }
            for second in range(int(traffic.duration_s))
        ]  # fmt: skip
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
