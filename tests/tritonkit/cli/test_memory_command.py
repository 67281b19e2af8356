"""`tritonkit memory`: the table in a narrow terminal, JSON, and a pod that has too little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from generator.problems import UserError
from tritonkit.cli.group import tritonkit

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone is the current folder."""
    monkeypatch.chdir(ROOT)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tritonkit, ["memory", "specs/digits.yaml", *arguments])


@pytest.mark.parametrize("target", ["embedded", "production"])
def test_the_table_has_room_in_80_columns(target: str) -> None:
    ended = run("--target", target)
    assert ended.exit_code == 0
    table = ended.stdout.splitlines()[2:6]
    assert [row.split()[0] for row in table] == ["model", "digits_preprocess", "digits_engine", "digits_postprocess"]
    assert max(map(len, table)) <= 80


def test_json_has_the_sums_and_the_flags() -> None:
    found = json.loads(run("--json").stdout)
    assert found["shm_bytes"] == sum(model["instances"] * model["region_bytes"] for model in found["models"])
    assert found["flags"] == ["--backend-config=python,shm-default-byte-size=5242880"]


def test_a_pod_with_less_than_is_needed_is_an_error() -> None:
    assert run("--shm-mib", "13").exit_code == 0
    ended = run("--shm-mib", "12")
    assert isinstance(ended.exception, UserError)
    assert "needs 13 MiB of shared memory when every instance has a full batch; there are 12" in str(ended.exception)
