"""Fields that a target's server does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generator.config import model_configs
from generator.config.since import OLDEST, SINCE, since
from generator.problems import ProblemsError
from generator.spec.serving import Metrics


def target(make, release):
    return replace(make.PRODUCTION, server=release)


def test_the_table_names_real_fields(make):
    known = {".".join(leaf.path.split(".")[:n]) for leaf in make.leaves() for n in range(1, 9)}
    assert set(SINCE) <= known
    assert all(release > OLDEST for release in SINCE.values())


def test_a_field_is_as_old_as_what_holds_it():
    assert since("model_metrics.metric_control.histogram_options.buckets") == "24.11"
    assert since("ensemble_scheduling.max_inflight_requests") == "25.11"
    assert since("ensemble_scheduling.step.model_name") == OLDEST


def test_every_newer_field_is_refused_for_an_older_target_and_fine_for_a_newer(make, leaf):
    first = since(leaf.path)
    config = leaf.words()
    in_ensemble = leaf.path.startswith("ensemble_scheduling")
    if first == OLDEST:
        assert not any(leaf.path.startswith(path) for path in SINCE)
        return
    plan = make.pipeline(
        make.model(config={} if in_ensemble else config),
        ensemble=make.ensemble(config=config if in_ensemble else {}),
        target=target(make, first),
    )
    assert len(model_configs(plan)) == 2
    before = replace(plan, target=target(make, "24.10"))
    with pytest.raises(ProblemsError) as caught:
        model_configs(before)
    [problem] = caught.value.problems
    assert problem.code == "TK309"
    assert f"is known since Triton {first}; the target's server is 24.10" in problem.message
    assert problem.hint == f"remove it, or use a server of {first} or later"


def test_the_problem_stands_where_the_field_is_written(make):
    tree = make.tree(("models", "probe", "metrics"), ("models", "two", "config", "model_metrics"))
    friendly = make.model(metrics=Metrics(latency_buckets_ms=[1]))
    by_config = make.model(
        name="two", source=("models", "two"),
        config={"model_metrics": {"metric_control": [{"metric_identifier": {"family": "f"}}]}},
    )  # fmt: skip
    with pytest.raises(ProblemsError) as caught:
        model_configs(make.pipeline(friendly, by_config, target=make.EMBEDDED, tree=tree))
    assert [(p.code, p.field, p.place.line) for p in caught.value.problems] == [
        ("TK309", "models.probe.metrics.latency_buckets_ms", 2),
        ("TK309", "models.two.config.model_metrics", 3),
    ]
