"""A server that runs already is compared with what the specs say for the target that it should serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from generator.config import model_configs
from generator.plan import Plan
from generator.project import Project
from loadtest.run.as_planned import differences
from loadtest.run.specs import plans_of

CLONE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The digits of the clone."""
    [found] = plans_of(Project(CLONE), [CLONE / "specs" / "digits.yaml"], "embedded")
    return found


@pytest.fixture
def served(plan: Plan) -> dict[str, dict[str, Any]]:
    """What a server says that serves just that."""
    return {
        name: json_format.MessageToDict(config, preserving_proto_field_name=True)
        for name, (config, _) in model_configs(plan).items()
    }


def test_what_is_served_as_planned_has_no_warning(plan: Plan, served: dict[str, dict[str, Any]]) -> None:
    assert differences([plan], served, "embedded") == []


def test_what_differs_is_told_by_model_and_field(plan: Plan, served: dict[str, dict[str, Any]]) -> None:
    served["digits_engine"]["dynamic_batching"]["max_queue_delay_microseconds"] = "7000"
    [warning] = differences([plan], served, "production")
    assert warning.startswith("the server does not serve what the specs say for target production, and the verdict")
    assert "digits_engine.dynamic_batching.max_queue_delay_microseconds is 7000 there and 500 in the specs" in warning
    assert warning.count("max_queue_delay_microseconds") == 1


def test_a_batcher_that_nobody_asked_for_is_told(plan: Plan, served: dict[str, dict[str, Any]]) -> None:
    """What was left out is compared as well: a delay of 0 is not written."""
    served["digits_engine"]["max_batch_size"] = 8
    served["digits_engine"]["instance_group"][0]["count"] = 4
    del served["digits_engine"]["dynamic_batching"]
    [warning] = differences([plan], served, "embedded")
    assert "max_batch_size is 8 there and 32" in warning
    assert "; and " in warning
    assert " more" in warning


def test_a_model_that_is_not_shown(plan: Plan, served: dict[str, dict[str, Any]]) -> None:
    del served["digits_engine"]
    [warning] = differences([plan], served, "embedded")
    assert warning.startswith("the server shows no configuration of digits_engine, so whether it serves")
    [warning] = differences([plan], {}, "embedded")
    assert "and 1 more" in warning


def test_what_is_no_configuration_is_none(plan: Plan, served: dict[str, dict[str, Any]]) -> None:
    """Whatever answers there."""
    served["digits_engine"] = {"name": "digits_engine", "max_batch_size": "many"}
    [warning] = differences([plan], served, "embedded")
    assert warning.startswith("the server shows no configuration of digits_engine,")
