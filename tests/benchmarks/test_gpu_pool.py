"""What of the pool's script needs no GPU: its models are sound, and a pool that is too small is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gpu_pool

from generator.lint.check import check
from generator.lint.files import DiskFolder
from generator.lint.server import EMBEDDED
from generator.problems import errors


def test_its_repository_is_sound(tmp_path: Path) -> None:
    repository = gpu_pool.write_repository(tmp_path)
    for name in ("first", "second"):
        compile((repository / name / "1" / "model.py").read_text(), name, "exec")
    checked = check([DiskFolder(repository)], replace(EMBEDDED, gpus=1))
    assert not errors(checked.problems)


def test_a_byte_less_than_is_needed_is_refused_before_anything_starts(tmp_path: Path) -> None:
    needed = 4 * gpu_pool.ITEM_BYTES
    said = gpu_pool.refusal(gpu_pool.write_repository(tmp_path))
    has = f"the CUDA pool of each GPU has {needed - 1:,} bytes"
    assert said.startswith(f"TK241: {has}, and the pipelines need {needed:,}")
