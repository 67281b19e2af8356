"""The histogram's bounds, around the objective."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from deploy_plans import change, make_project, plans_of
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations.buckets import bounds_ms, tells_the_objective
from generator.plan import Plan
from generator.project import Project
from generator.resolve.histogram import bounds_around, with_histogram
from generator.spec.pipeline import Objective


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def of(project: Project, name: str = "digits", target: str = "production") -> Plan:
    return plans_of(project, name, target=target)[0]


@given(st.floats(0.01, 1e6))
def test_the_objective_is_a_bound_and_the_rest_are_whole_milliseconds(p99_ms: float) -> None:
    bounds = bounds_around(p99_ms)
    assert p99_ms in bounds
    assert list(bounds) == sorted(set(bounds))
    assert all(bound == p99_ms or float(bound).is_integer() for bound in bounds)
    assert all(bound > 0 for bound in bounds)
    assert max(bounds) >= 4 * p99_ms - 1


@pytest.mark.parametrize(
    ("p99_ms", "bounds"),
    [(20, (5, 10, 15, 20, 30, 40, 80)), (1, (1, 2, 4)), (0.5, (0.5, 1, 2)), (2.5, (1, 2, 2.5, 4, 5, 10))],
)
def test_bounds(p99_ms: float, bounds: tuple[float, ...]) -> None:
    assert bounds_around(p99_ms) == bounds


def test_the_rendered_configuration_has_them(project: Project) -> None:
    plan = of(project)
    assert bounds_ms(plan) == bounds_around(20)
    assert plan.ensemble is not None
    assert plan.ensemble.metrics is not None
    assert all(model.metrics is None for model in plan.models)
    assert tells_the_objective(plan)


def test_the_only_model_of_a_fused_pipeline_has_them(project: Project) -> None:
    change(project, "photos", ("layout: ensemble, engine: tensorrt", "layout: fused, engine: onnxruntime"),
           ("precision: fp16, gpu: h200", "gpu: h200"))  # fmt: skip
    plan = of(project, "photos")
    assert plan.ensemble is None
    assert bounds_ms(plan) == bounds_around(150)


def test_an_older_server_has_none(project: Project) -> None:
    change(project, "digits", ('server: "26.07"', 'server: "25.12"'))
    plan = of(project)
    assert plan.ensemble is not None
    assert plan.ensemble.metrics is None
    assert bounds_ms(plan) == ()
    assert not tells_the_objective(plan)


def test_the_embedded_server_is_older(project: Project) -> None:
    assert bounds_ms(of(project, target="embedded")) == ()


def test_what_the_spec_says_stays(project: Project) -> None:
    change(project, "digits", ("layout: ensemble\n", "layout: ensemble\nmetrics: {latency_buckets_ms: [1, 9]}\n"))
    plan = of(project)
    assert bounds_ms(plan) == (1, 9)
    assert not tells_the_objective(plan)


def test_what_the_spec_says_in_tritons_words_stays(project: Project) -> None:
    words = (
        "config: {model_metrics: {metric_control: [{metric_identifier: {family: "
        '"nv_inference_first_response_histogram_ms"}, histogram_options: {buckets: [2.0, 20.0]}}]}}'
    )
    change(project, "digits", ("layout: ensemble\n", f"layout: ensemble\n{words}\n"))
    plan = of(project)
    assert plan.ensemble is not None
    assert plan.ensemble.metrics is None
    assert bounds_ms(plan) == (2.0, 20.0)
    assert tells_the_objective(plan)


def test_a_fraction_is_told_by_the_whole_millisecond_below(project: Project) -> None:
    plan = of(project)
    assert tells_the_objective(replace(plan, objective=Objective(p99_ms=20.9)))
    assert not tells_the_objective(replace(plan, objective=Objective(p99_ms=21)))


def test_without_an_objective_there_is_nothing_to_stand_around(project: Project) -> None:
    plan = of(project)
    assert plan.ensemble is not None
    bare = replace(plan, objective=None, ensemble=replace(plan.ensemble, metrics=None))
    assert with_histogram(bare) == bare
    assert bounds_ms(bare) == ()
