"""A CUDA pool that is too small is refused before the server starts; one that is large enough gives right answers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu_pool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_pool.py, which needs more than the other tests do: the whole of the project and its server."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[3] / "benchmarks")
    import gpu_pool as script

    return script


@pytest.fixture
def repository(gpu_pool: ModuleType, tmp_path: Path) -> Path:
    found: Path = gpu_pool.write_repository(tmp_path / "models")
    return found


def test_less_than_is_needed_is_refused(gpu_pool: ModuleType, repository: Path) -> None:
    needed = 4 * gpu_pool.ITEM_BYTES
    assert f"has {needed - 1:,} bytes, and the pipelines need {needed:,}" in gpu_pool.refusal(repository)


def test_with_room_for_all_in_flight_every_answer_is_right_and_was_on_the_gpu(
    gpu_pool: ModuleType, repository: Path, tmp_path: Path
) -> None:
    found = gpu_pool.turn(repository, 256, 4, tmp_path / "log")
    assert found["answers"] == {"right": gpu_pool.REQUESTS}
    assert found["afterwards"] == "right"


def test_what_a_pool_that_is_too_small_does_is_seen(gpu_pool: ModuleType, repository: Path, tmp_path: Path) -> None:
    """Whatever it does: no request is left without an answer, and the tensors do not stay on the GPU."""
    found = gpu_pool.turn(repository, 1, 64, tmp_path / "log")
    assert sum(found["answers"].values()) == gpu_pool.REQUESTS
    assert found["answers"].get("right", 0) < gpu_pool.REQUESTS, found
