"""How long a pod may take until it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from deploy_plans import make_project, plans_of
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations import startup
from deploy.operations.startup import LEAST_S, MARGIN, PERIOD_S, PYTHON_S, SERVER_S, startup_of
from generator.plan import Plan
from generator.project import Project
from generator.spec.serving import InstanceGroup, Warmup


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("startup") / "p")


@pytest.fixture(scope="module")
def digits(project: Project) -> Plan:
    return plans_of(project, "digits")[0]


def test_a_small_pipeline_gets_the_least(project: Project, digits: Plan) -> None:
    found = startup_of([digits], project)
    assert found.expected_s == pytest.approx(SERVER_S + 2 * PYTHON_S, abs=0.1)
    assert found.budget_s == LEAST_S == PERIOD_S * found.failures
    assert found.made_of == "20 s for the server, 3 s for each Python instance (2)"


def test_every_python_instance_takes_its_time(project: Project, digits: Plan) -> None:
    first = replace(digits.models[0], instances=(InstanceGroup(kind="cpu", count=40),))
    found = startup_of([replace(digits, models=(first, *digits.models[1:]))], project)
    assert found.expected_s == pytest.approx(SERVER_S + 41 * PYTHON_S, abs=0.1)
    assert found.budget_s >= MARGIN * found.expected_s


def test_warm_up_requests_are_counted_in_every_instance(project: Project, digits: Plan) -> None:
    warm = Warmup(name="w", count=30, inputs={})
    engine = replace(digits.models[1], warmup=(warm,), instances=(InstanceGroup(kind="gpu", count=2),))
    found = startup_of([replace(digits, models=(digits.models[0], engine, digits.models[2]))], project)
    assert found.expected_s == pytest.approx(SERVER_S + 2 * PYTHON_S + 60 * startup.REQUESTS_S, abs=0.1)
    assert "1 s for each warm-up request (60)" in found.made_of


@given(size_gib=st.floats(0.1, 400))
def test_large_engines_are_waited_for(size_gib: float) -> None:
    # What a volume at 50 MB/s takes to read them is within the budget.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup, "engine_file_bytes", lambda plan, project: size_gib * (1 << 30))
        found = startup_of([_Empty()], Project(Path("/")))  # type: ignore[list-item]
    assert found.budget_s >= size_gib * (1 << 30) / 50e6
    assert found.budget_s % PERIOD_S == 0


class _Empty:
    """A plan without models."""

    models: tuple[()] = ()
