"""A real Prometheus with the chart's rules scrapes a real server under a little load."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from chart_tools import DIGITS, NAMESPACE, RELEASE, groups_of, values_of
from dashboard_tools import queries
from prometheus_server import Prometheus, prometheus
from story_tools import encoded, eventually, gate, make_project, render_to, running
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.server

# The embedded server's own release, which has no histogram for ordinary models and is older than the chart takes by itself.
VALUES = values_of(DIGITS, image={"release": "24.10", "allowVulnerable": True}, gpu={"count": 0})
LABELS = {"namespace": NAMESPACE, "release": RELEASE, "pod": "laptop"}
GOOD, BAD = 600, 30
FRESH_S = 60.0
# What this server has no series for.
NOT_HERE = ("nv_inference_first_response_histogram", "triton:slow_requests", "nv_gpu_")


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has seen GOOD requests answered, and BAD that held no image."""

    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    rendered = render_to(folder / "repository", make_project(folder / "project", copied=["digits.yaml"]))
    with running(rendered) as run, prometheus(groups_of(VALUES), run.server.metrics_address, LABELS, folder) as seen:
        own = f'namespace="{NAMESPACE}",release="{RELEASE}"'
        assert eventually(lambda: seen.ask(f"triton:requests:rate5m{{{own}}}"), FRESH_S), "nothing was recorded"
        _send(run.server.grpc_address)
        answered = f'nv_inference_request_success{{{own},model="digits"}}'
        assert eventually(lambda: seen.value(answered) == GOOD, FRESH_S), "not all was scraped"
        # The next evaluation sees it too.
        share = f"triton:failed_requests:ratio_rate5m{{{own}}}"
        assert eventually(lambda: seen.value(share) == pytest.approx(BAD / (GOOD + BAD), rel=0.01), FRESH_S)
        yield Watched(seen)


def _send(address: str) -> None:
    images = [item["image"] for item in gate("digits").items]
    # Triton's own client: it neither checks what it sends nor tries again.
    with grpc.InferenceServerClient(address) as client, ThreadPoolExecutor(16) as pool:

        def ask(image: bytes) -> None:
            tensor = grpc.InferInput("image", [1, 1], "BYTES")
            tensor.set_data_from_numpy(encoded([image]))
            client.infer("digits", [tensor])

        list(pool.map(ask, [images[number % len(images)] for number in range(GOOD)]))
        for _ in range(BAD):
            with pytest.raises(InferenceServerException, match="not a PNG or JPEG"):
                ask(b"no image")
        with pytest.raises(InferenceServerException, match="unknown model"):
            client.infer("nothing", [])


def test_no_rule_fails_to_evaluate(watched: Watched) -> None:
    assert watched.prometheus.broken_rules() == []


def test_an_ensemble_counts_a_failure_twice_and_the_rules_count_it_once(watched: Watched) -> None:
    failed = watched.prometheus.value('sum(nv_inference_request_failure{model="digits"})')
    assert failed == 2 * BAD, "the rules halve this: a server that counts right needs them changed"
    assert watched.prometheus.value('nv_inference_request_failure{model="digits",reason="OTHER"}') == 2 * BAD


@pytest.mark.parametrize("case", [pytest.param(q, id=f"{q[0]}, {q[1]}") for q in queries(__rate_interval="1m")])
def test_every_panel_that_this_server_can_feed_draws_something(watched: Watched, case: tuple[str, str, str]) -> None:
    _, _, query = case
    found = watched.prometheus.ask(query)
    if any(metric in query for metric in NOT_HERE):
        assert found == [], "the server has it after all"
    elif "request_failure" in query and "and on" in query:
        assert found == [], "the model that finds bad input counts a success"
    else:
        assert found


def test_the_stages_of_a_request_add_up_to_its_time(watched: Watched) -> None:
    by_legend = {(panel, legend): query for panel, legend, query in queries(__rate_interval="1m")}
    stages = [
        watched.prometheus.value(by_legend["Time of a request by stage", s])
        for s in ("queue", "input", "infer", "output")
    ]
    mean = watched.prometheus.value(by_legend["Percentiles", "mean"])
    assert mean is not None
    assert 0.5 * mean < sum(stage or 0 for stage in stages) < 1.2 * mean


def test_failures_have_reasons_and_what_is_refused_at_the_door_is_in_no_metric(watched: Watched) -> None:
    reasons = watched.prometheus.ask("count by (reason) (nv_inference_request_failure)")
    assert {sample["metric"]["reason"] for sample in reasons} == {"BACKEND", "CANCELED", "OTHER", "REJECTED"}
    assert watched.prometheus.ask('{__name__=~"nv_inference.*", model="nothing"}') == []


def test_a_burst_of_errors_waits_for_its_time_to_be_an_alert(watched: Watched) -> None:
    def alerts(state: str) -> set[str]:
        return {sample["metric"]["alertname"] for sample in watched.prometheus.ask(f'ALERTS{{alertstate="{state}"}}')}

    assert eventually(lambda: "TritonErrorBudgetBurn" in alerts("pending"), FRESH_S), "5 % of 630 requests"
    assert "TritonErrorBudgetBurn" not in alerts("firing"), "they are not two minutes old"
