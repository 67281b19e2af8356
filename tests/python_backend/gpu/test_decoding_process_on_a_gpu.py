"""Files of several instances, decoded by one engine process on a real GPU."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_jpeg_on_a_gpu import jpeg, photo, turned

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Tensors, concatenate
from tritonkit_runtime.parameters import TensorSpec
from tritonkit_runtime.programs import Program

pytestmark = pytest.mark.gpu

Specs = tuple[list[TensorSpec], list[TensorSpec]]
INSTANCES, MOST, TEST_S = 4, 16, 100.0
OWN = {"buckets": [1, 2, 4, 8, MOST]}
SHARED = {"buckets": [1, 4, 16, 64], "slots": 3, "process": "shared"}


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A batch that waits for an engine process is ended too."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"the test takes longer than {TEST_S:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, TEST_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def program(plan: Path, specs: Specs, folder: Path, decode: str, more: dict[str, Any]) -> Program:
    """JPEG files to the plan's only input: colours in three planes, or gray in any shape."""
    if not (folder / "model.plan").exists():
        shutil.copy(plan, folder / "model.plan")
    [given], outputs = specs
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)} for t in tensors] for tensors in specs]
    dims = list(given.dims)
    colours = len(dims) == 3 and dims[0] == 3
    size = dims[1:] if colours else [dims[0], int(np.prod(dims[1:]))]
    last = {"step": "channels_first"} if colours else {"step": "reshape", "dims": dims}
    steps = [
        {"step": "decode", "to": "rgb" if colours else "gray"}, {"step": "resize", "size": size, "method": "linear"},
        {"step": "normalize", "mean": 127.5, "std": 64.0}, last,
    ]  # fmt: skip
    image = {"name": "image", "dtype": "STRING", "dims": [1]}
    buffers = {"slots": 2, "copies": "auto", "preprocess": "gpu", "decode": decode, **more}
    document = {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": MOST, "inputs": [image], "outputs": sides[1],
        "limits": {"max_bytes": 1_000_000, "max_pixels": 1_000_000},
        "program": {"kind": "flow", "stages": [
            {"name": "steps", "inputs": [image], "outputs": sides[0], "takes": {"image": "image"},
             "gives": {given.name: "between"}, "program": {"kind": "steps", "steps": steps}},
            {"name": "engine", "inputs": sides[0], "outputs": sides[1], "takes": {given.name: "between"},
             "gives": {t.name: t.name for t in outputs}, "program": {
                 "kind": "engine", "engine": "tensorrt", "file": "model.plan", "intra_op_threads": 1,
                 "buffers": buffers}},
        ]},
    }  # fmt: skip
    return Program(parameters.parse(json.loads(json.dumps(document))), folder, print, 0)


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
    own = program(plan, specs, tmp_path, "cpu", OWN)
    expected = [run(own, files) for files in lots]
    own.close()
    served = [program(plan, specs, tmp_path, decode, SHARED) for _ in range(INSTANCES)]

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
