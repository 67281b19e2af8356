"""The header of plans, beyond what the corpus shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.lint.check import check
from generator.lint.files import DiskFolder
from generator.lint.server import NEWEST, OLDEST, Server
from generator.plan_header import HEADER_BYTES, TENSORRT_OF, is_older, read_header, tensorrt_of

# The first bytes of a plan of 4,196 bytes that TensorRT 8.6.1 built for an addition.
REAL = bytes.fromhex(
    "66747274000000000100000000000000641000000000000008060106000000004e474e45000000003800000000000000"
    "23100000000000007074727400000000ec000000000000000b1000000000000002800100080280010006028001000102"
)


def test_a_real_plan_says_what_wrote_it_and_how_large_it_is() -> None:
    header = read_header(REAL)
    assert header.version == (8, 6, 1, 6)
    assert header.size_bytes == 4196
    assert header.is_plan


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_a_plan_that_ends_in_its_header_is_none(length: int) -> None:
    header = read_header(REAL[:length])
    assert header.version is None
    assert header.is_plan is False
    assert header.problem


def test_what_is_inside_a_plan_is_none_by_itself() -> None:
    assert "ptrt" in read_header(REAL[REAL.index(b"ptrt") :]).problem


def test_a_release_that_is_known_has_one_tensorrt_and_others_lie_between() -> None:
    assert tensorrt_of("25.03") == ((10, 9, 0), (10, 9, 0))
    assert tensorrt_of("25.01") == ((10, 6, 0), (10, 9, 0))
    assert tensorrt_of(OLDEST) == (None, min(TENSORRT_OF.values()))
    assert tensorrt_of(NEWEST) == (max(TENSORRT_OF.values()), None)
    assert list(TENSORRT_OF.values()) == sorted(TENSORRT_OF.values())


def test_versions_are_compared_as_far_as_both_are_given() -> None:
    assert is_older((10, 6, 0, 26), (10, 9, 0))
    assert not is_older((10, 9, 0, 34), (10, 9, 0))
    assert not is_older((11, 1), (11, 1, 0, 5))
    assert not is_older((11, 4, 0, 1), (11, 1))


def test_a_large_plan_is_not_read_as_a_whole(tmp_path: Path) -> None:
    version = tmp_path / "large" / "1"
    version.mkdir(parents=True)
    (tmp_path / "large" / "config.pbtxt").write_text(
        'platform: "tensorrt_plan"\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 4 }\noutput { name: "y" data_type: TYPE_FP32 dims: 4 }\n'
    )
    size = 1 << 40
    with (version / "model.plan").open("wb") as plan:
        plan.write(REAL[:16] + size.to_bytes(8, "little") + bytes([10, 6, 0, 26]))
        plan.truncate(size)
    server = Server(release="24.11", backends=frozenset({"tensorrt"}), gpus=1, auto_complete=False)
    assert [problem.message for problem in check([DiskFolder(tmp_path)], server).problems] == []
