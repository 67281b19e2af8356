"""Files of several instances, decoded by one engine process on a real GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_jpeg_on_a_gpu import flow, jpeg, photo, turned

from tritonkit_runtime.batch import Tensors, concatenate
from tritonkit_runtime.parameters import TensorSpec
from tritonkit_runtime.programs import Program

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("limited")]

Specs = tuple[list[TensorSpec], list[TensorSpec]]
INSTANCES, MOST, TEST_S = 4, 16, 100.0  # TEST_S: of a whole one
OWN: dict[str, Any] = {"buckets": [1, 2, 4, 8, MOST]}
SHARED: dict[str, Any] = {"buckets": [1, 4, 16, 64], "slots": 3, "process": "shared"}


def batches() -> list[list[bytes]]:
    """Of all kinds of file, good ones and bad."""
    png = cv2.imencode(".png", photo(200, 100, 1))[1].tobytes()
    progressive = jpeg(200, 300, 5, "420", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    bad = [b"no image", b"", jpeg(375, 500, 1)[:9000], jpeg(1200, 1000, 2), jpeg(300, 400, 3) + bytes(1_000_000)]
    usual = [jpeg(300 + seed, 400, seed) for seed in range(MOST)]
    return [
        usual[:1], usual[:5], usual, [png], [progressive, usual[0], png], [*bad, usual[1], png],
        [turned(usual[3], orientation) for orientation in range(1, 9)], usual[4:],
    ]  # fmt: skip


def run(served: Program, files: list[bytes]) -> tuple[Tensors, dict[int, str]]:
    batch = concatenate([{"image": np.array([[file]], object)} for file in files])
    found = {name: array.copy() for name, array in served.run(batch).items()}
    return found, batch.errors()


def near(found: Tensors, expected: Tensors, good: list[int]) -> None:
    """Another decoder's pixels differ by a level, and engines take other kernels for another size of batch."""
    for name, array in expected.items():
        apart = np.abs(found[name][good].astype(np.float64) - array[good]).max(initial=0)
        assert apart < 0.05 * max(np.ptp(array), 1e-9), f"{name}: {apart}"


@pytest.mark.parametrize("decode", ["gpu", "cpu"])
def test_answers_and_errors_are_those_of_an_engine_of_its_own(
    plan: Path, specs: Specs, tmp_path: Path, decode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lots = batches()
    own = flow(plan, specs, tmp_path, "cpu", [], **OWN)
    expected = [run(own, files) for files in lots]
    own.close()
    served = [flow(plan, specs, tmp_path, decode, [], **SHARED) for _ in range(INSTANCES)]

    def ask(number: int) -> int:
        lot = np.random.default_rng(number)
        for index in lot.integers(0, len(lots), 40).tolist():
            found, errors = run(served[number], lots[index])
            assert errors == expected[index][1]
            near(found, expected[index][0], [i for i in range(len(lots[index])) if i not in errors])
        return 40

    with ThreadPoolExecutor(INSTANCES) as pool:
        assert list(pool.map(ask, range(INSTANCES))) == [40] * INSTANCES
    for one in served:
        one.close()
    said = capfd.readouterr().err
    print(said)
    assert ("JPEG files are decoded by" in said) == (decode == "gpu")
    assert "nvImageCodec failed" not in said
