from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tritonkit_runtime import stub_check


class Dlpack:
    """Gives numpy a capsule, as a producer of tensors would."""

    def __init__(self, capsule: object) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> object:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def as_numpy(self) -> np.ndarray:
        return np.from_dlpack(self)


class Good:
    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Dlpack:
        return Dlpack(capsule)


class BuiltForAnotherNumpy:
    """As stubs of before numpy 2 under numpy 2: the first value, four times."""

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Any:
        class Tensor:
            def as_numpy(self) -> np.ndarray:
                return np.lib.stride_tricks.as_strided(np.from_dlpack(Dlpack(capsule)), (4,), (0,))

        return Tensor()


def test_a_stub_that_reads_memory_right_passes_again_and_again() -> None:
    for _ in range(3):
        stub_check.check(Good)


def test_a_stub_that_reads_wrong_values_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"reads \[11, 22, 33, 44\] as \[11, 11, 11, 11\]. Install numpy<2"):
        stub_check.check(BuiltForAnotherNumpy)
