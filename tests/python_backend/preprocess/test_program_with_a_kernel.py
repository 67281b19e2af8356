"""A flow whose steps run as a kernel answers as the one whose steps run on the CPU, and fails as it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_gpu import Engine, FakeGpu
from plain import compiled

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Array, Batch, Tensors, concatenate, single
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.programs import Program, ProgramError

STEPS: list[dict[str, Any]] = [
    {"step": "decode", "to": "rgb"},
    {"step": "resize", "size": [12, 8], "method": "linear"},
    {"step": "normalize", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
    {"step": "channels_first"},
]
ITEM = [3, 12, 8]


def tensor(name: str, dtype: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": dims}


def flow(preprocess: str | None, *, steps: list[dict[str, Any]], most: int, dtype: str, item: list[int],
         image: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    """Steps under a name that the engine uses for another tensor, an engine with a second input."""
    buffers = {"buckets": [1, 2, 4] if most else [1], "slots": 2, "copies": "auto"}
    number = tensor("number", "INT64", [])
    outputs = [tensor("echo", dtype, item), tensor("marks", "INT64", [1])]
    return {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": most, "inputs": [image, number],
        "outputs": outputs, "limits": {"max_bytes": 1_000_000, "max_pixels": 10_000},
        "program": {"kind": "flow", "stages": [
            {"name": "prepare", "inputs": [{**image, "name": "k"}], "outputs": [tensor("made", dtype, item)],
             "takes": {"k": image["name"]}, "gives": {"made": "between"}, "program": {"kind": "steps", "steps": steps}},
            {"name": "engine", "inputs": [tensor("pixels", dtype, item), tensor("k", "INT64", [])], "outputs": outputs,
             "takes": {"pixels": "between", "k": "number"}, "gives": {"echo": "echo", "marks": "marks"},
             "program": {"kind": "engine", "engine": "onnxruntime", "file": "net.onnx", "intra_op_threads": 1,
                         "buffers": buffers | ({} if preprocess is None else {"preprocess": preprocess})}},
        ]},
    }  # fmt: skip


class Made:
    """A program, what it has logged, and the device that it runs on."""

    def __init__(self, folder: Path, document: dict[str, Any], gpu: int | None = 0) -> None:
        self.log: list[str] = []
        self.program = Program(parameters.parse(document), folder, self.log.append, gpu)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FakeGpu]:
    """Devices that programs were loaded on; every GPU and engine is a made-up one, and NVRTC is g++."""
    found: list[FakeGpu] = []

    def gpu(index: int) -> FakeGpu:
        found.append(FakeGpu(seed=len(found)))
        return found[-1]

    def engine(device: FakeGpu, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Engine:
        return Engine(device, inputs[0].dims, inputs[0].dtype, batched=options["batched"])

    monkeypatch.setattr("tritonkit_runtime.buffered.loading._gpu", gpu)
    monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", engine)
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", lambda s, o, **_: compiled(s, o))
    (tmp_path / "net.onnx").write_bytes(b"")
    return found


Make = Callable[..., Made]


@pytest.fixture
def make(devices: list[FakeGpu], tmp_path: Path) -> Make:
    def build(preprocess: str | None = "gpu", *, gpu: int | None = 0, **options: Any) -> Made:
        image = tensor("image", "STRING", [1])
        settings = {"steps": STEPS, "most": 4, "dtype": "FP32", "item": ITEM, "image": image, **options}
        return Made(tmp_path, flow(preprocess, **settings), gpu)

    return build


def encoded(height: int, width: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(60, 256, (height, width, 3), np.uint8)
    data: bytes = cv2.imencode(".png", pixels)[1].tobytes()
    return data


def request(items: list[bytes], number: int = 5) -> Tensors:
    return {"image": np.array(items, object)[:, np.newaxis], "number": np.full(len(items), number, np.int64)}


GOOD = [encoded(30, 20), encoded(5, 5, 1), encoded(12, 8, 2), encoded(1, 90, 3)]
BATCHES = {
    "one": [[GOOD[0]]],
    "padded": [GOOD[:3]],
    "full": [GOOD],
    "a bad item": [[GOOD[0]], [b"nonsense", GOOD[1]], [GOOD[2]]],
    "all bad": [[b""], [b"nonsense"]],
}


def answers(made: Made, requests: list[list[bytes]]) -> tuple[Tensors, dict[int, str]]:
    batch = concatenate([request(items, 3 + number) for number, items in enumerate(requests)])
    found = made.program.run(batch)
    kept = [
        i
        for i, request in enumerate(np.repeat(np.arange(len(requests)), batch.counts))
        if request not in batch.errors()
    ]
    return {name: array[kept] for name, array in found.items()}, batch.errors()


@pytest.mark.parametrize("requests", BATCHES.values(), ids=BATCHES)
def test_the_answers_are_those_of_the_cpu(make: Make, devices: list[FakeGpu], requests: list[list[bytes]]) -> None:
    on_gpu, on_cpu = make("gpu"), make(None)
    assert len(devices[0].modules) == 1
    assert not devices[1].modules
    for _ in range(3):
        found, errors = answers(on_gpu, requests)
        expected, told = answers(on_cpu, requests)
        assert errors == told
        np.testing.assert_array_equal(found["echo"], expected["echo"])
        assert (found["marks"] // 1000).tolist() == (expected["marks"] // 1000).tolist()
    for made, device in zip((on_gpu, on_cpu), devices, strict=True):
        made.program.close()
        assert device.held() == (0, 0, 0, 0)
    assert not on_gpu.log


def test_outputs_have_a_row_for_every_item(make: Make) -> None:
    batch = concatenate([request([GOOD[0]]), request([b"?"]), request([GOOD[1]])])
    found = make("gpu").program.run(batch)
    assert found["echo"].shape == (3, *ITEM)
    assert not found["echo"][1].any()


def test_an_answer_outlives_the_next_batch(make: Make) -> None:
    program = make().program
    first = program.run(concatenate([request([GOOD[0]])]))["echo"]
    kept = first.copy()
    for data in GOOD[1:]:
        program.run(concatenate([request([data])]))
    np.testing.assert_array_equal(first, kept)


def test_without_a_batch_axis(make: Make) -> None:
    on_gpu, on_cpu = make("gpu", most=0), make(None, most=0)
    tensors = {"image": np.array([GOOD[0]], object), "number": np.array(7)}
    found, expected = (made.program.run(single(tensors))["echo"] for made in (on_gpu, on_cpu))
    np.testing.assert_array_equal(found, expected)
    spoiled = single({**tensors, "image": np.array([b"?"], object)})
    assert on_gpu.program.run(spoiled)["echo"].shape == tuple(ITEM)
    assert spoiled.errors()


def test_images_that_come_as_arrays_in_half_precision(make: Make) -> None:
    options = {
        "steps": [*STEPS[1:], {"step": "cast", "to": "fp16"}], "dtype": "FP16",
        "image": tensor("image", "UINT8", [-1, -1, 3]),
    }  # fmt: skip
    images = np.random.default_rng(0).integers(60, 256, (3, 33, 21, 3), np.uint8)
    tensors: dict[str, Array] = {"image": images, "number": np.arange(3)}
    found, expected = (make(where, **options).program.run(concatenate([tensors]))["echo"] for where in ("gpu", None))
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 4, 0, 3), np.uint8), r"stage prepare: step 1 \(resize\): takes images, found some without pixels: \[2, 4, 0, 3\]"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"stage prepare: step 1 \(resize\): takes UINT8 \[N, H, W, 3\], found uint8 \[2, 4, 4, 4\]"),
        (np.zeros((2, 4, 4, 3), np.float32), r"stage prepare: step 1 \(resize\): takes UINT8 \[N, H, W, 3\], found float32"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images(make: Make, array: Array, told: str) -> None:
    made = make("gpu", steps=STEPS[1:], image=tensor("image", "UINT8", [-1, -1, 3]))
    with pytest.raises(ProgramError, match=f"^model m failed: {told}"):
        made.program.run(Batch({"image": array, "number": np.zeros(2, np.int64)}, (2,)))
    good = {"image": np.full((1, 4, 4, 3), 9, np.uint8), "number": np.array([1])}
    assert made.program.run(concatenate([good]))["marks"].tolist() == [[1001]]


def test_more_items_than_the_largest_bucket(make: Make) -> None:
    told = "a batch of 5 items has no bucket; there are 1, 2, 4"
    for preprocess in ("gpu", None):
        with pytest.raises(ProgramError, match=f"^model m failed: stage engine: {told}"):
            make(preprocess).program.run(concatenate([request([*GOOD, GOOD[0]])]))


def test_another_input_that_does_not_fit(make: Make) -> None:
    for preprocess in ("gpu", None):
        with pytest.raises(ProgramError, match=r"stage engine: input 'k' is int32 \[1\], expected INT64 \[items\]"):
            make(preprocess).program.run(concatenate([{**request([GOOD[0]]), "number": np.zeros(1, np.int32)}]))


def test_a_lost_gpu_is_told_and_every_batch_after_it(make: Make, devices: list[FakeGpu]) -> None:
    program = make().program
    devices[0].fail("run", 700)
    for _ in range(2):
        with pytest.raises(ProgramError, match=r"stage engine: this instance lost its GPU .* run failed with 700"):
            program.run(concatenate([request([GOOD[0]])]))


def refuse(*_: Any, **__: Any) -> bytes:
    raise NotOnGpuError("CUDA's compiler is not here")


def test_without_a_compiler_auto_falls_back_and_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", refuse)
    made = make("auto")
    assert made.log == [
        "model m: the steps of stage prepare cannot run on the GPU: CUDA's compiler is not here. They run on the CPU."
    ]
    assert not make("cpu").log
    np.testing.assert_array_equal(answers(made, [GOOD])[0]["echo"], answers(make(None), [GOOD])[0]["echo"])


def test_without_a_compiler_gpu_does_not_load(
    make: Make, monkeypatch: pytest.MonkeyPatch, devices: list[FakeGpu]
) -> None:
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", refuse)
    told = "^the steps of stage prepare cannot run on the GPU: CUDA's compiler is not here; `preprocess: auto` would"
    with pytest.raises(ParameterError, match=told):
        make("gpu")
    assert devices[0].held() == (0, 0, 0, 0)


def test_an_instance_without_a_gpu(make: Make) -> None:
    with pytest.raises(
        ParameterError, match="cannot run on the GPU: the instance has none; `preprocess: auto` would"
    ):
        make("gpu", gpu=None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": [STEPS[0], {**STEPS[1], "method": "cubic"}, *STEPS[2:]]}, "stage engine wants its preprocess on the GPU, and no stage of steps before it can be there: render"),
        ({"steps": [*STEPS[:2], {"step": "normalize", "mean": [1.0, float("nan"), 3.0], "std": 1}]}, r"stage engine: step 3 \(normalize\): mean is \[1.0, nan, 3.0\]; it must be a number"),
        ({"steps": [*STEPS[:2], {"step": "normalize", "mean": 1, "std": [1.0, 0.0, 3.0]}]}, r"stage engine: step 3 \(normalize\): std is \[1.0, 0.0, 3.0\]; a value cannot be divided by 0"),
        ({"steps": [STEPS[0], {**STEPS[1], "size": [0, 8]}]}, r"stage engine: step 2 \(resize\): size is \[0, 8\]; it must be"),
        ({"item": [12, 8, 3]}, r"stage engine: the steps before it give float32 \[3, 12, 8\], and it takes pixels FP32 \[12, 8, 3\]"),
        ({"dtype": "FP16"}, r"stage engine: the steps before it give float32 \[3, 12, 8\], and it takes pixels FP16 \[3, 12, 8\]"),
        ({"steps": [*STEPS[:2], {"step": "reshape", "dims": [3, 12, 9]}]}, r"stage engine: step 3 \(reshape\): dims \[3, 12, 9\] do not fit items of 288 values"),
    ],
)  # fmt: skip
def test_what_does_not_load(make: Make, options: dict[str, Any], told: str) -> None:
    for preprocess in ("gpu", "auto"):
        with pytest.raises(ParameterError, match=told):
            make(preprocess, **options)


def test_a_word_that_is_none(make: Make) -> None:
    with pytest.raises(ParameterError, match=r"buffers.preprocess is 'fast'; valid are auto, cpu, gpu"):
        make("fast")


def test_steps_whose_tensor_is_needed_elsewhere_stay_on_the_cpu(tmp_path: Path, devices: list[FakeGpu]) -> None:
    image = tensor("image", "STRING", [1])
    document = flow("gpu", steps=STEPS, most=4, dtype="FP32", item=ITEM, image=image)
    document["outputs"] = [*document["outputs"], tensor("between", "FP32", ITEM)]
    with pytest.raises(ParameterError, match="no stage of steps before it can be there"):
        Made(tmp_path, document)


def test_outputs_whose_shape_depends_on_the_data(
    make: Make, devices: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell which of them are of padding."""

    def engine(device: FakeGpu, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Engine:
        made = Engine(device, inputs[0].dims, inputs[0].dtype)
        made.outputs = (*made.outputs, Fixed("found", "INT64", (-1,), most_bytes=64))
        return made

    monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", engine)
    why = "cannot run on the GPU: the shapes of the engine's outputs depend on its data"
    with pytest.raises(ParameterError, match=f"{why}; `preprocess: auto`"):
        make("gpu")
    assert devices[0].held() == (0, 0, 0, 0)
    [line] = make("auto").log
    assert f"{why}. They run on the CPU." in line
