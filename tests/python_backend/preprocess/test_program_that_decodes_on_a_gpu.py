"""A flow whose JPEG files a decoder on the GPU decodes answers as the one that decodes on the CPU, and fails as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoding_kit import BATCHES, JPEG, STEPS, flow
from decoding_kit import answers as answers_of
from fake_codec import HARDWARE, FakeCodec
from fake_gpu import Engine, FakeGpu
from plain import compiled

from generator.engine.kernels import staging_bytes
from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Tensors, single
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.programs import Program, ProgramError


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


def answers(made: Made, requests: list[list[bytes]]) -> tuple[Tensors, dict[int, str]]:
    return answers_of(made.program, requests)


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
    [lanes] = [stage.runner._ring.lanes for stage in runner._stages]
    steps = [(step["step"], {word: value for word, value in step.items() if word != "step"}) for step in STEPS]
    assert {lane.fed.size_bytes for lane in lanes} == {staging_bytes(steps, (), 10_000, 8, decoded=True)}


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


def test_what_decodes_for_a_batch_that_is_never_started_is_waited_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Its files are let go of when the next ones are decoded, and the decoder may still read them."""
    made = make()
    runner: Any = made.program._runner
    [ring] = [stage.runner._ring for stage in runner._stages if hasattr(stage.runner, "_ring")]
    waited: list[int] = []
    wait = made.device.wait

    def noted(stream: int) -> None:
        waited.append(stream)
        wait(stream)

    def refuses(*_: object) -> None:
        raise BatchError("made up")

    expected, _ = answers(made, BATCHES["padded"])
    monkeypatch.setattr(made.device, "wait", noted)
    with monkeypatch.context() as once:
        once.setattr(ring, "start", refuses)
        with pytest.raises(ProgramError, match="made up"):
            answers(made, BATCHES["padded"])
    assert not waited  # batches are followed by events
    for _ in range(4):  # its lane comes again
        np.testing.assert_array_equal(answers(made, BATCHES["padded"])[0]["echo"], expected["echo"])
    assert len(waited) == 1
