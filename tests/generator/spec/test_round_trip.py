"""YAML ↔ spec: what is written is what is read, whatever is said in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.load import load
from generator.spec import Spec
from spec_strategies import FULL_SPECS, SHORT_SPECS, Data, as_yaml


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs") / "spec.yaml"


def read(file: Path, text: str) -> Spec:
    file.write_text(text, encoding="utf-8")
    found = load([file], Spec)
    assert found.problems == []
    [document] = found.documents
    return document.value


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(SHORT_SPECS | FULL_SPECS, st.sampled_from([None, True, False]))
def test_a_spec_read_from_yaml_is_the_spec_of_its_data(file: Path, data: Data, flow: bool | None) -> None:
    assert read(file, as_yaml(data, flow=flow)) == Spec.model_validate_json(json.dumps(data))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(SHORT_SPECS | FULL_SPECS)
def test_a_spec_written_as_json_is_read_back(data: Data) -> None:
    spec = Spec.model_validate_json(json.dumps(data))
    again = json.loads(spec.model_dump_json(exclude_unset=True))
    assert Spec.model_validate_json(json.dumps(again)) == spec


def test_the_specs_of_this_repository_are_read(file: Path) -> None:
    specs = sorted((Path(__file__).parents[3] / "specs").glob("*.yaml"))
    found = load(specs, Spec)
    assert (len(found.documents), found.problems) == (len(specs), [])
    assert specs
