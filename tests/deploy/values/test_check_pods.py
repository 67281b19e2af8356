"""Pods of several pipelines: what each takes of them is added."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploy_plans import make_project, plans_of

from deploy.operations.measured import Interval, Load, Measured
from deploy.values import Values, values_of
from deploy.values.check import check_tree
from generator.load.yaml_tree import parse_file
from generator.problems import Problem


def carries(pipeline: str, rate_rps: float) -> Load:
    return Load(pipeline, rate_rps, Interval.exactly(rate_rps), "pass", "", f"runs/{pipeline}", target="production")


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Values:
    """digits promises 300 requests/s and photos 200: each takes a pod and a half."""
    project = make_project(tmp_path_factory.mktemp("pods") / "p")
    measured = Measured((carries("digits", 200), carries("photos", 200 / 1.5)))
    return values_of(plans_of(project, "digits", "photos"), project, measured=measured)


def check(folder: Path, derived: Values, text: str) -> list[Problem]:
    file = folder / "mine.yaml"
    file.write_text(text)
    tree = parse_file(file, "mine.yaml").tree
    assert tree is not None
    return check_tree(tree, derived)


@pytest.mark.parametrize(
    "text", ["workload: {replicas: 2}\n", "autoscaling: {maxReplicas: 2, hpa: {enabled: true}}\n"]
)
def test_pods_that_would_do_for_each_pipeline_alone_do_not_for_both(
    tmp_path: Path, derived: Values, text: str
) -> None:
    [problem] = check(tmp_path, derived, text)
    assert problem.code == "TK427"
    assert problem.message == (
        "2 pods do not carry what is promised: 300 requests/s of `digits` take 1.5 of them (runs/digits), 200 "
        "requests/s of `photos` take 1.5 of them (runs/photos), 3 together"
    )
    assert problem.hint == "say at least 4, one of which may be gone"
    assert derived.facts.pods.replicas == 4


def test_pods_that_do_for_both_are_enough(tmp_path: Path, derived: Values) -> None:
    assert check(tmp_path, derived, "workload: {replicas: 3}\n") == []
