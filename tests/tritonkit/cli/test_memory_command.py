"""`tritonkit memory`: the table in a narrow terminal, JSON, and a pod that has too little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from generator.problems import ProblemsError, UserError, errors
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


def test_several_specs_are_on_one_server_and_its_gpu() -> None:
    def known(*specs: str) -> tuple[int, dict[str, int]]:
        words = ["memory", *(f"specs/{spec}.yaml" for spec in specs), "--target", "production", "--json"]
        found = json.loads(CliRunner().invoke(tritonkit, words).stdout)
        return found["shm_bytes"], found["gpus"]

    (both_shm, both), (digits_shm, digits), (photos_shm, photos) = (
        known("digits", "photos"), known("digits"), known("photos"),
    )  # fmt: skip
    assert both_shm == digits_shm + photos_shm
    of_the_server = (583 + 64) << 20  # its context and its pool, once
    assert both["0"] == digits["0"] + photos["0"] - of_the_server


def test_the_parts_of_a_gpu_have_room_in_80_columns() -> None:
    ended = run("--target", "production")
    lines = ended.stdout.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("on the GPU"))
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["CUDA", "CUDA"]
    assert max(map(len, lines[first : first + 3])) <= 80
    assert "GPU 0: 647 MiB known to be needed" in ended.stdout


def test_a_gpu_with_less_than_is_known_to_be_needed_is_an_error() -> None:
    assert run("--target", "production", "--gpu-mib", "647").exit_code == 0
    ended = run("--target", "production", "--gpu-mib", "646")
    assert isinstance(ended.exception, UserError)
    assert "`digits` is known to need 647 MiB of GPU 0; there are 646" in str(ended.exception)


def test_a_value_that_cannot_be_counted_is_told_and_not_counted(tmp_path: Path) -> None:
    config = 'models/digits.onnx\n  config: {instance_group: [{kind: KIND_GPU, count: "4"}]}'
    spec = tmp_path / "digits.yaml"
    spec.write_text((ROOT / "specs" / "digits.yaml").read_text().replace("models/digits.onnx", config))
    ended = CliRunner().invoke(tritonkit, ["memory", str(spec), "--target", "production"])
    assert isinstance(ended.exception, ProblemsError)
    [problem] = errors(ended.exception.problems)
    assert (problem.code, problem.field) == ("TK302", "model.config.instance_group[0].count")


def test_specs_of_several_targets_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "photos.yaml").read_text().replace("  embedded:  ", "  embedded: null\n  other:  ")
    (tmp_path / "photos.yaml").write_text(text)
    ended = CliRunner().invoke(tritonkit, ["memory", "specs/digits.yaml", str(tmp_path / "photos.yaml")])
    assert isinstance(ended.exception, UserError)
    assert "the specs are of several targets: embedded, other" in str(ended.exception)
