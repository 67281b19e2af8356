"""A flow whose JPEG files a decoder on the GPU decodes answers as the one that decodes on the CPU, and fails as it does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_codec import HARDWARE, FakeCodec
from fake_gpu import Engine, FakeGpu
from plain import compiled

from generator.engine.kernels import staging_bytes
from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Tensors, concatenate, single
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.programs import Program, ProgramError

ITEM = [3, 12, 8]
STEPS: list[dict[str, Any]] = [
    {"step": "decode", "to": "rgb"}, {"step": "resize", "size": [12, 8], "method": "linear"},
    {"step": "normalize", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}, {"step": "channels_first"},
]  # fmt: skip


def tensor(name: str, dtype: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": dims}


def flow(decode: str, preprocess: str, steps: list[dict[str, Any]], most: int) -> dict[str, Any]:
    image, number = tensor("image", "STRING", [1]), tensor("k", "INT64", [])
    outputs = [tensor("echo", "FP32", ITEM), tensor("marks", "INT64", [1])]
    buffers = {"buckets": [1, 2, 4, 8] if most else [1], "slots": 2, "copies": "auto", "preprocess": preprocess}
    return {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": most, "inputs": [image, number],
        "outputs": outputs, "limits": {"max_bytes": 30_000, "max_pixels": 10_000},
        "program": {"kind": "flow", "stages": [
            {"name": "prepare", "inputs": [image], "outputs": [tensor("made", "FP32", ITEM)],
             "takes": {"image": "image"}, "gives": {"made": "between"}, "program": {"kind": "steps", "steps": steps}},
            {"name": "engine", "inputs": [tensor("pixels", "FP32", ITEM), number], "outputs": outputs,
             "takes": {"pixels": "between", "k": "k"}, "gives": {"echo": "echo", "marks": "marks"},
             "program": {"kind": "engine", "engine": "onnxruntime", "file": "net.onnx", "intra_op_threads": 1,
                         "buffers": buffers | ({} if decode == "cpu" else {"decode": decode})}},
        ]},
    }  # fmt: skip


class Made:
    """A program, its device and codec, and what it has logged."""

    def __init__(self, folder: Path, document: dict[str, Any], device: FakeGpu, codec: FakeCodec) -> None:
        self.log: list[str] = []
        self.device, self.codec = device, codec
        self.program = Program(parameters.parse(document), folder, self.log.append, 0)
        codec.files.clear()
        self._open = True

    def close(self) -> None:
        """Once."""
        if self._open:
            self._open = False
            self.program.close()


Make = Callable[..., Made]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    """Programs on made-up GPUs whose streams run in the order that a seed draws."""

    found: list[Made] = []

    def engine(device: FakeGpu, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Engine:
        return Engine(device, inputs[0].dims, inputs[0].dtype, batched=options["batched"])

    monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", engine)
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", lambda s, o, **_: compiled(s, o))
    (tmp_path / "net.onnx").write_bytes(b"")

    def build(
        decode: str = "gpu", preprocess: str = "gpu", *, seed: int = 0, steps: list[dict[str, Any]] = STEPS,
        most: int = 8, backends: dict[str, int] | None = None,
    ) -> Made:  # fmt: skip
        device = FakeGpu(seed)
        codec = FakeCodec(device, backends)
        monkeypatch.setattr("tritonkit_runtime.buffered.loading._gpu", lambda index: device)
        monkeypatch.setattr("tritonkit_runtime.preprocess.nvimgcodec.package", lambda: codec)
        found.append(Made(tmp_path, flow(decode, preprocess, steps, most), device, codec))
        return found[-1]

    yield build
    for made in found:
        made.close()


def encoded(height: int, width: int, seed: int = 0, kind: str = ".jpg", *more: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(60, 256, (height, width, 3), np.uint8)
    data: bytes = cv2.imencode(kind, pixels, more)[1].tobytes()
    return data


def turned(data: bytes, orientation: int) -> bytes:
    """With EXIF that says so."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def request(items: list[bytes], number: int) -> Tensors:
    return {"image": np.array(items, object)[:, np.newaxis], "k": np.full(len(items), number, np.int64)}


JPEG = [encoded(30, 20), encoded(7, 9, 1), encoded(12, 8, 2), encoded(60, 90, 3), *(turned(encoded(25, 40, 4), o) for o in range(2, 9))]  # fmt: skip
PNG, PROGRESSIVE = encoded(20, 30, 5, ".png"), encoded(33, 44, 6, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
LARGE, SHORT, LONG = encoded(120, 90, 7), JPEG[0][:-40], JPEG[3] + bytes(30_000)
BATCHES = {
    "one": [[JPEG[0]]],
    "padded": [JPEG[:3]],
    "full": [JPEG[:4], JPEG[4:8]],
    "turned": [JPEG[4:]],
    "mixed": [[JPEG[0], PNG], [PROGRESSIVE], [JPEG[3]], [JPEG[1]]],
    "none for the GPU": [[PNG], [PROGRESSIVE]],
    "bad ones": [[JPEG[0]], [b"nonsense"], [JPEG[1]], [SHORT], [LARGE], [LONG], [PNG]],
    "bad in one request": [[JPEG[0], b"", JPEG[2]], [JPEG[1]]],
    "all bad": [[b""], [SHORT]],
}


def answers(made: Made, requests: list[list[bytes]]) -> tuple[Tensors, dict[int, str]]:
    batch = concatenate([request(items, 3 + number) for number, items in enumerate(requests)])
    found = made.program.run(batch)
    owners = np.repeat(np.arange(len(requests)), batch.counts)
    kept = [index for index, owner in enumerate(owners) if owner not in batch.errors()]
    return {name: array[kept] for name, array in found.items()}, batch.errors()


@pytest.mark.parametrize("requests", BATCHES.values(), ids=BATCHES)
def test_answers_and_errors_are_those_of_the_cpu(make: Make, requests: list[list[bytes]]) -> None:
    expected, told = answers(make("cpu"), requests)
    for seed in range(4):
        made = make(seed=seed)
        for _ in range(3):
            found, errors = answers(made, requests)
            assert errors == told
            np.testing.assert_array_equal(found["echo"], expected["echo"])
            assert (found["marks"] // 1000).tolist() == (expected["marks"] // 1000).tolist()
        made.close()
        assert made.device.held() == (0, 0, 0, 0)


def test_only_jpegs_that_it_takes_go_to_the_gpu_in_one_call(make: Make) -> None:
    made = make()
    answers(made, BATCHES["mixed"])
    assert [sorted(files) for files in made.codec.files] == [sorted([JPEG[0], JPEG[3], JPEG[1]])]
    made.codec.files.clear()
    answers(made, BATCHES["none for the GPU"])
    answers(made, BATCHES["all bad"])
    assert not made.codec.files
    answers(made, BATCHES["bad ones"])
    assert [sorted(files) for files in made.codec.files] == [sorted([JPEG[0], JPEG[1]])], "what is refused never goes"


def test_what_the_gpu_refuses_is_decoded_on_the_cpu_alone(make: Make) -> None:
    expected = answers(make("cpu"), BATCHES["full"])[0]["echo"]
    made = make()
    made.codec.refuse = lambda data: data in (JPEG[1], JPEG[6])
    np.testing.assert_array_equal(answers(made, BATCHES["full"])[0]["echo"], expected)
    made.codec.fails = 1
    np.testing.assert_array_equal(answers(made, BATCHES["full"])[0]["echo"], expected)
    assert made.log[1:] == ["model m: stage prepare: nvImageCodec failed for 8 files, which the CPU decodes: made up"]


def test_pixels_from_the_gpu_are_those_that_are_used(make: Make) -> None:
    """Else all of this would pass without it."""
    plain, off = make(), make(backends={HARDWARE: 1})
    one, other = (answers(made, [[JPEG[0]]])[0]["echo"] for made in (plain, off))
    assert 0 < np.abs(one - other).max() < 0.5


def test_one_wait_of_the_host_a_batch_and_nothing_allocated(make: Make) -> None:
    made = make()
    answers(made, BATCHES["full"])
    answers(made, BATCHES["full"])
    made.device.counts.clear()
    for _ in range(5):
        answers(made, BATCHES["full"])
    counts = made.device.counts
    assert counts["wait_for"] == 5
    assert not {"wait", "allocate", "pinned", "stream", "event"} & {name for name, count in counts.items() if count}
    # The table alone is copied: 8 rows of 40 bytes, in each of five batches, and `k`.
    assert counts["copy_in"] + counts["launch"] <= 10


def test_the_memory_plan_counts_what_a_slot_stages(make: Make) -> None:
    made = make()
    runner: Any = made.program._runner
    [kernel] = [stage.runner._kernel for stage in runner._stages]
    steps = [(step["step"], {word: value for word, value in step.items() if word != "step"}) for step in STEPS]
    assert {staging.size_bytes for staging in kernel.stagings} == {staging_bytes(steps, (), 10_000, 8, decoded=True)}


def test_the_log_says_who_decodes(make: Make) -> None:
    names = "4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, gray"
    assert make().log == [
        "model m: stage prepare: JPEG files are decoded by the GPU's JPEG engines (nvImageCodec 0.9.0, "
        f"{names}); all other files by the CPU."
    ]
    assert not make("cpu").log


def test_without_a_decoder_auto_decodes_on_the_cpu_and_gpu_does_not_load(make: Make) -> None:
    made = make("auto", backends={})
    [line] = made.log
    assert line.startswith(
        "model m: stage prepare: JPEG files cannot be decoded on the GPU: nvImageCodec 0.9.0 decodes"
    )
    assert line.endswith(". They are decoded on the CPU.")
    expected = answers(make("cpu"), BATCHES["mixed"])[0]["echo"]
    np.testing.assert_array_equal(answers(made, BATCHES["mixed"])[0]["echo"], expected)
    assert not made.codec.files
    told = "^stage engine: JPEG files cannot be decoded on the GPU: .*; `decode: auto` would decode them on the CPU$"
    with pytest.raises(ParameterError, match=told):
        make("gpu", backends={})


def test_without_a_kernel_nothing_is_decoded_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> bytes:
        raise NotOnGpuError("CUDA's compiler is not here")

    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", refuse)
    made = make("auto", "auto")
    assert made.log[-1].endswith("cannot run on the GPU: CUDA's compiler is not here. They run on the CPU.")
    answers(made, BATCHES["mixed"])
    assert not made.codec.files
    made.close()
    assert made.device.held() == (0, 0, 0, 0)


def test_images_that_are_decoded_already_are_none_of_it(make: Make) -> None:
    with pytest.raises(ParameterError, match=r"buffers\.decode is 'gpu', and the steps after it run on the CPU: say"):
        make("gpu", "cpu")
    with pytest.raises(ParameterError, match=r"buffers\.decode is 'fast'; valid are auto, cpu, gpu"):
        make("fast")


def test_without_a_batch_axis(make: Make) -> None:
    made = make(most=0)
    batch = single({"image": np.array([JPEG[0]], object), "k": np.array(3)})
    found = made.program.run(batch)["echo"]
    np.testing.assert_array_equal(found, answers(make("cpu"), [[JPEG[0]]])[0]["echo"][0])
    assert len(made.codec.files) == 1


def test_a_lost_gpu_is_told(make: Make) -> None:
    made = make()
    made.device.fail("run", 700)
    for _ in range(2):
        with pytest.raises(ProgramError, match="this instance lost its GPU"):
            answers(made, BATCHES["one"])
