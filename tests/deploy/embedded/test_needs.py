"""What a server needs, derived from Plans and from repositories nobody has a spec for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import shared_memory
from deploy.embedded.flags import ServerFlags
from deploy.embedded.needs import for_updates, needs_of, needs_of_repository
from deploy.embedded.ports import Ports
from deploy.operations.drain import longest_request_ms
from generator.plan import Plan
from generator.project import Project
from generator.workspace import open_workspace

ROOT = Path(__file__).parents[3]


def plan(name: str, tmp_path: Path, *changes: tuple[str, str]) -> Plan:
    text = (ROOT / "specs" / f"{name}.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / f"{name}.yaml").write_text(text)
    work = open_workspace(Project(ROOT), [tmp_path / f"{name}.yaml"], "embedded")
    work.stop_on_errors()
    return work.plans["embedded"][0]


def test_instances_are_counted_over_all_pipelines(tmp_path: Path) -> None:
    digits, canvas = plan("digits", tmp_path), plan("canvas", tmp_path)
    needs = needs_of([digits, canvas])
    assert needs.python_instances == needs_of([digits]).python_instances + needs_of([canvas]).python_instances == 10
    assert needs.most_instances_of_a_model == 2


def test_shared_memory_follows_the_largest_batch(tmp_path: Path) -> None:
    small = needs_of([plan("digits", tmp_path, ("max_batch_size: 32, preferred: [8, 16, 32]", "max_batch_size: 1"))])
    large = needs_of([plan("digits", tmp_path)])
    # 32 encoded images of 64 KiB each are 2 MiB; twice that, for a batch at work and the answers of the one before,
    # and the pixels beside them, is just above 4: what `tritonkit memory` says of it.
    assert large.shm_default_bytes == 5 << 20
    assert small.shm_default_bytes == 1 << 20


def test_the_longest_request_waits_in_every_queue(tmp_path: Path) -> None:
    without = plan("digits", tmp_path)
    assert longest_request_ms(without) == 30_000
    with_timeouts = plan("digits", tmp_path, ("queue: null", "queue: {timeout_us: 15000}"))
    assert longest_request_ms(with_timeouts) == 3 * 15 + 10 * 20
    assert needs_of([with_timeouts]).exit_timeout_s < needs_of([without]).exit_timeout_s


def test_the_flags_carry_the_numbers_of_the_plan(tmp_path: Path) -> None:
    needs = needs_of([plan("digits", tmp_path)])
    flags = ServerFlags(needs, (tmp_path,), tmp_path, tmp_path, Ports(1, 2, 3), "prefix", "key").arguments()
    assert f"--backend-config=python,shm-default-byte-size={5 << 20}" in flags
    assert "--model-control-mode=none" in flags
    assert any(flag.startswith("--http-restricted-api=") and "model-repository" in flag for flag in flags)


def test_a_repository_without_specs_is_counted(tmp_path: Path) -> None:
    for name, text in {
        "a": 'backend: "python" instance_group [{ count: 3 kind: KIND_CPU }]',
        "b": 'backend: "python"',
        "c": 'platform: "ensemble"',
        "d": "not a config {",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(text)
    needs = needs_of_repository(tmp_path)
    assert (needs.python_instances, needs.most_instances_of_a_model) == (4, 3)


def test_a_group_on_gpus_has_its_instances_on_each(tmp_path: Path) -> None:
    for name, group in {
        "all": "count: 2 kind: KIND_GPU",
        "two": "kind: KIND_GPU gpus: [ 0, 3 ]",
        "cpu": "count: 3 kind: KIND_CPU",
        "auto": "count: 3",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(f'backend: "python" instance_group [{{ {group} }}]')
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.pbtxt").write_text('backend: "python"')
    needs = needs_of_repository(tmp_path, gpus=4)
    assert (needs.python_instances, needs.most_instances_of_a_model) == (2 * 4 + 2 + 3 + 3 * 4 + 4, 12)
    alone = needs_of_repository(tmp_path)
    assert (alone.python_instances, alone.most_instances_of_a_model) == (2 + 2 + 3 + 3 + 1, 3)


def test_too_little_shared_memory_is_one_sentence_and_the_command() -> None:
    there = shared_memory.look()
    shared_memory.check(1 << 20)
    with pytest.raises(
        shared_memory.SharedMemoryError, match=r"MiB free, and the server's Python instances need"
    ) as found:
        shared_memory.check(there.free_bytes + (1 << 30))
    assert "docker run --shm-size=" in found.value.hint


def test_too_little_for_full_batches_is_said_and_no_error(tmp_path: Path) -> None:
    needs = needs_of([plan("digits", tmp_path)])
    # 5 MiB in each of two instances before the engine, 1 in each of its two, and 1 after it: `tritonkit memory`.
    assert needs.shm_full_bytes == 13 << 20
    there = shared_memory.look()
    assert shared_memory.shortage(0) == ""
    said = shared_memory.shortage(there.free_bytes + (1 << 30))
    assert "full batches in all Python instances need" in said
    assert "docker run --shm-size=" in said


def test_models_are_loaded_while_it_serves_only_where_that_was_asked_for(tmp_path: Path) -> None:
    needs = needs_of([plan("digits", tmp_path)])
    assert (needs.control_mode, needs_of_repository(tmp_path).control_mode) == ("none", "none")
    asked = for_updates(needs)
    flags = ServerFlags(asked, (tmp_path,), tmp_path, tmp_path, Ports(1, 2, 3), "prefix", "key").arguments()
    assert {"--model-control-mode=explicit", "--load-model=*"} <= set(flags), "whole at the start"
    assert replace(asked, control_mode="none", load_models=()) == needs
