"""Instances hand files and pixels to a process that decodes them for all: answers and errors are those of the CPU.

The process is the real one's scheduler in threads, on a made-up GPU; the instances are whole programs.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoding_kit import BATCHES, DAMAGED, JPEG, LARGE, PNG, SHORT, STEPS, answers, flow
from fake_codec import HARDWARE, HYBRID, FakeCodec
from fake_gpu import Engine, FakeGpu
from plain import compiled
from serving_kit import Locked, until

from generator.engine.kernels import parcel_bytes, table_bytes
from tritonkit_runtime import parameters
from tritonkit_runtime.engine_process import __main__ as process
from tritonkit_runtime.engine_process.serving import Serving
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.nvimgcodec import THREADS
from tritonkit_runtime.programs import Program, ProgramError

PATIENCE_S = 60.0


class Process:
    """What stands for the engine's process: begun by the first instance that looks for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int | None) -> None:
        self.fake = FakeGpu(seed)
        self.device: Any = Locked(self.fake)  # type: ignore[arg-type]
        self.codec = FakeCodec(self.device)
        self.folder, self.log = folder, list[str]()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind("")
        self.listener.listen()
        self.serving: Serving | None = None
        self.work: Work | None = None
        self.lost = ""
        self.thread = threading.Thread(target=self._serve)

        def engine(device: Any, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Engine:
            return Engine(device, inputs[0].dims, inputs[0].dtype, batched=options["batched"])

        monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", engine)
        monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", lambda s, o, **_: compiled(s, o))
        monkeypatch.setattr("tritonkit_runtime.preprocess.nvimgcodec.package", lambda: self.codec)
        monkeypatch.setattr("tritonkit_runtime.buffered.loading._gpu", lambda index: self.device)
        monkeypatch.setattr("tritonkit_runtime.engine_process.starting._reached", self._reached)

    def _reached(self, work: Work) -> socket.socket:
        if self.serving is None:
            self.work = Work.of(work.text())
            assert self.work == work, "the process is told what the instance wants"
            self.loaded = process._loaded(self.work)
            self.serving = Serving(self.loaded, process._decoding(self.loaded))
            self.codec.files.clear()
            self.thread.start()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(PATIENCE_S)
        connection.connect(self.listener.getsockname())
        return connection

    def _serve(self) -> None:
        assert self.serving is not None
        self.lost = self.serving.serve(self.listener, PATIENCE_S)
        if not self.lost:
            self.loaded.close()
        if self.serving.last is not None:
            self.serving.last.close()

    def instance(self, decode: str = "gpu", **fields: Any) -> Program:
        """One more, a program as the server has it."""
        more = {"process": "shared", "buckets": [1, 2, 4, 8, 16]}
        return Program(parameters.parse(flow(decode, "gpu", **more, **fields)), self.folder, self.log.append, 0)

    def ended(self) -> None:
        """When the last instance has left."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.listener.close()
        if not self.lost:
            assert self.fake.held() == (0, 0, 0, 0)


Begin = Callable[..., Process]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Begin:
    (tmp_path / "net.onnx").write_bytes(b"")
    return lambda seed=None: Process(monkeypatch, tmp_path, seed)


@pytest.fixture
def on_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[list[bytes]]], Any]]:
    """What the same pipeline answers whose instance has the engine, and decodes on the CPU."""
    (tmp_path / "net.onnx").write_bytes(b"")
    made: list[Program] = []

    def ask(requests: list[list[bytes]]) -> Any:
        with monkeypatch.context() as patched:
            device = FakeGpu(0)

            def engine(device: Any, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Engine:
                return Engine(device, inputs[0].dims, inputs[0].dtype, batched=options["batched"])

            patched.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", engine)
            patched.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", lambda s, o, **_: compiled(s, o))
            patched.setattr("tritonkit_runtime.buffered.loading._gpu", lambda index: device)
            made.append(Program(parameters.parse(flow("cpu", "gpu")), tmp_path, print, 0))
            return answers(made[-1], requests)

    yield ask
    for program in made:
        program.close()


@pytest.mark.parametrize("decode", ["gpu", "cpu", "auto"])
@pytest.mark.parametrize("requests", BATCHES.values(), ids=BATCHES)
def test_answers_and_errors_are_those_of_the_cpu(
    begin: Begin, on_cpu: Any, requests: list[list[bytes]], decode: str
) -> None:
    expected, told = on_cpu(requests)
    for seed in (None, 0, 1):
        run = begin(seed)
        program = run.instance(decode)
        for _ in range(3):
            found, errors = answers(program, requests)
            assert errors == told
            np.testing.assert_array_equal(found["echo"], expected["echo"])
            assert (found["marks"] // 1000).tolist() == (expected["marks"] // 1000).tolist()
        assert bool(run.codec.files) == (decode != "cpu" and any(f in JPEG for files in requests for f in files))
        assert not run.log
        program.close()
        run.ended()


def test_only_jpegs_that_it_takes_are_handed_over_as_files(begin: Begin) -> None:
    run = begin()
    program = run.instance()
    answers(program, BATCHES["mixed"])
    assert [sorted(files) for files in run.codec.files] == [sorted([JPEG[0], JPEG[3], JPEG[1]])]
    run.codec.files.clear()
    answers(program, BATCHES["none for the GPU"])
    answers(program, BATCHES["all bad"])
    assert not run.codec.files
    answers(program, BATCHES["bad ones"])
    assert [sorted(files) for files in run.codec.files] == [sorted([JPEG[0], JPEG[1]])], "what is refused never goes"
    program.close()
    run.ended()


def test_what_the_decoder_refuses_the_instance_decodes(begin: Begin, on_cpu: Any) -> None:
    expected = on_cpu(BATCHES["full"])[0]["echo"]
    run = begin()
    program = run.instance()
    run.codec.refuse = lambda data: data in (JPEG[1], JPEG[6])
    np.testing.assert_array_equal(answers(program, BATCHES["full"])[0]["echo"], expected)
    assert [len(files) for files in run.codec.files] == [8, 6], "the second time without them"
    run.codec.files.clear()
    run.codec.fails = 1
    np.testing.assert_array_equal(answers(program, BATCHES["full"])[0]["echo"], expected)
    assert [len(files) for files in run.codec.files] == [8], "the second time none"
    np.testing.assert_array_equal(answers(program, BATCHES["full"])[0]["echo"], expected)
    program.close()
    run.ended()


def test_a_file_that_is_refused_and_damaged_fails_alone(begin: Begin, on_cpu: Any) -> None:
    """Its header is whole, so that only decoding finds it."""
    run = begin()
    program = run.instance()
    at = JPEG[3].index(b"\xff\xc4") + 20
    damaged = JPEG[3][:at] + b"\xff" * 12 + JPEG[3][at + 12 :]
    requests = [[JPEG[0]], [damaged], [PNG]]
    expected, told = on_cpu(requests)
    assert list(told) == [1]
    run.codec.refuse = lambda data: data == damaged
    run.codec.takes = lambda kind: True
    found, errors = answers(program, requests)
    assert errors == told
    np.testing.assert_array_equal(found["echo"], expected["echo"])
    program.close()
    run.ended()


def test_files_of_several_instances_are_decoded_together_and_everyone_gets_the_own(begin: Begin, on_cpu: Any) -> None:
    lots = [[[JPEG[0]], [JPEG[1], PNG]], [[JPEG[2]]], [[JPEG[3], JPEG[4]]], [[PNG], [JPEG[5]]]]
    expected = [on_cpu(requests)[0]["echo"] for requests in lots]
    run = begin()
    programs = [run.instance() for _ in lots]
    serving = run.serving
    assert serving is not None
    for bucket in (1, 2, 4, 8, 16):  # so that all that wait are run together
        serving._times._known_s[bucket] = 1e-9  # and nothing waits for what is under way
    serving._times.learn = lambda bucket, took_s: None  # type: ignore[method-assign]
    run.codec.refuse = lambda data: data == JPEG[2]
    run.device.gated = True
    with ThreadPoolExecutor(len(lots)) as pool:
        try:
            # As many are under way as there are slots; the others wait until one has ended.
            asked = []
            for number, program in enumerate(programs):
                asked.append(pool.submit(answers, program, lots[number]))
                # Not before it is under way: the next would be run together with it.
                wanted = min(number + 1, 2), max(number - 1, 0)
                until(lambda wanted=wanted: (serving.batches, len(serving._waiting)) == wanted)  # type: ignore[misc]
            run.device.passes.release(1)
            until(lambda: serving.batches == 3)
            assert sorted(run.codec.files[-1]) == sorted([JPEG[3], JPEG[4], JPEG[5]])
        finally:
            run.device.gated = False
            run.device.passes.release(1000)
        for one, right in zip(asked, expected, strict=True):
            found, errors = one.result(PATIENCE_S)
            assert not errors
            np.testing.assert_array_equal(found["echo"], right)
        for _ in range(20):
            for (found, errors), right in zip(pool.map(answers, programs, lots), expected, strict=True):
                assert not errors
                np.testing.assert_array_equal(found["echo"], right)
    for program in programs:
        program.close()
    run.ended()


def test_a_batch_that_is_no_parcel_costs_its_instance_the_connection_alone(begin: Begin) -> None:
    run = begin()
    good, bad = run.instance(), run.instance()
    [session] = {lane.session for lane in _lanes(bad)[:1]}
    session.parcel._put = lambda *_: setattr(session.parcel, "_rows", session.parcel._rows + 1)
    session.parcel._table[...] = (1 << 40, 10, 3, 3, 1)
    with pytest.raises(ProgramError, match="ended with this batch"):
        answers(bad, BATCHES["one"])
    assert not answers(good, BATCHES["full"])[1]
    for program in (good, bad):
        program.close()
    run.ended()


def _lanes(program: Program) -> Any:
    runner: Any = program._runner
    [lanes] = [stage.runner._ring.lanes for stage in runner._stages]
    return lanes


def test_a_batch_that_the_engine_refuses_fails_its_own_requests(begin: Begin) -> None:
    run = begin()
    program = run.instance()
    run.fake.fail("run", 2)
    with pytest.raises(ProgramError, match="the batch was not run: run failed with 2"):
        answers(program, BATCHES["one"])
    assert not answers(program, BATCHES["one"])[1]
    run.fake.fail("record", 2)  # after decoding
    with pytest.raises(ProgramError, match="the batch was not run: record failed with 2"):
        answers(program, BATCHES["one"])
    assert not answers(program, BATCHES["one"])[1]
    program.close()
    run.ended()


@pytest.mark.parametrize("call", ["run", "record"])
def test_a_lost_gpu_ends_the_process(begin: Begin, call: str) -> None:
    run = begin()
    program = run.instance()
    run.fake.fail(call, 700)
    with pytest.raises(ProgramError, match="the engine process lost its GPU and is started again"):
        answers(program, BATCHES["one"])
    run.thread.join(PATIENCE_S)
    assert run.lost
    run.serving = None
    program.close()
    run.ended()


def test_who_decodes_is_said_by_the_process(begin: Begin, capfd: pytest.CaptureFixture[str]) -> None:
    run = begin()
    program = run.instance()
    said = capfd.readouterr().err
    assert (
        "engine process of model m on GPU 0: stage prepare: JPEG files are decoded by the GPU's JPEG engines" in said
    )
    program.close()
    run.ended()


def test_without_a_decoder_or_a_compiler_the_model_does_not_load(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    run.codec.backends = {}
    with pytest.raises(ParameterError, match=r"JPEG files cannot be decoded on the GPU: .*; `decode: auto` would"):
        run.instance("gpu")
    program = run.instance("auto")
    assert not answers(program, BATCHES["full"])[1]
    assert not run.codec.files
    program.close()
    run.ended()

    def refuse(*_: Any, **__: Any) -> bytes:
        raise NotOnGpuError("CUDA's compiler is not here")

    run = begin()
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", refuse)
    with pytest.raises(
        ParameterError, match="the steps of stage prepare cannot run on the GPU: CUDA's compiler is not"
    ):
        run.instance()
    run.listener.close()


def test_the_memory_plan_counts_what_is_shared_and_staged(begin: Begin) -> None:
    run = begin()
    program = run.instance()
    steps = [(step["step"], {word: value for word, value in step.items() if word != "step"}) for step in STEPS]
    lane, *_ = _lanes(program)
    assert lane.session.parcel._packing._size == parcel_bytes(steps, (), 10_000, 8)
    fed: Any = run.loaded.ring.lanes[0].fed
    assert fed.host_bytes == table_bytes(16, decoded=True)
    assert fed.size_bytes > fed.host_bytes
    program.close()
    run.ended()


@pytest.mark.parametrize(("backend", "all_cores"), [(HARDWARE, False), (HYBRID, True)])
def test_all_cores_decode_where_the_gpu_has_no_engines_for_it(begin: Begin, backend: str, all_cores: bool) -> None:
    run = begin()
    run.codec.backends = {backend: 0}
    program = run.instance()
    assert run.codec.threads == (len(os.sched_getaffinity(0)) if all_cores else THREADS)
    program.close()
    run.ended()


def test_an_instance_without_a_gpu_is_told(begin: Begin) -> None:
    run = begin()
    document = flow("gpu", "gpu", process="shared")
    assert json.dumps(document)
    with pytest.raises(ParameterError, match="cannot run on the GPU: the instance has none"):
        Program(parameters.parse(document), run.folder, print, None)
    run.listener.close()


def test_too_large_an_image_is_refused_by_the_instance(begin: Begin, on_cpu: Any) -> None:
    run = begin()
    program = run.instance()
    assert answers(program, [[LARGE], [JPEG[0]]])[1] == on_cpu([[LARGE], [JPEG[0]]])[1]
    assert run.codec.files == [[JPEG[0]]]
    program.close()
    run.ended()


@pytest.mark.parametrize(
    "requests",
    [
        [[PNG], [b"nonsense"]],
        [[JPEG[0]], [b"nonsense"]],
        [[JPEG[0], PNG], [SHORT], [PNG], [SHORT]],
        [[PNG], [DAMAGED]],
        [[PNG], [b""], [DAMAGED], [DAMAGED], [PNG]],
    ],
)
def test_what_has_failed_leaves_no_room_to_the_others(
    begin: Begin, on_cpu: Any, requests: list[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has room for the items that are handed over, which bad ones are not, however they are found."""
    expected, told = on_cpu(requests)
    monkeypatch.setattr("tritonkit_runtime.preprocess.packing.STAGED_PIXELS", 400)
    run = begin()
    program = run.instance()
    found, errors = answers(program, requests)
    assert errors == told
    assert len(found["echo"]) == len(expected["echo"])
    program.close()
    run.ended()
