"""Real engine processes on the CPU: found or started, answers that are right, batches that are merged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from engine_instances import (
    DOUBLED,
    SPINS,
    SUMS,
    Instance,
    Spin,
    X,
    batch,
    ended,
    engine_processes,
    right,
    save_spins,
    wait_until,
    work_of,
)

from tritonkit_runtime import parameters
from tritonkit_runtime.buffered.errors import BatchError, ShapeError
from tritonkit_runtime.buffered.loading import load as load_alone
from tritonkit_runtime.engine_process import worker
from tritonkit_runtime.parameters import ParameterError, TensorSpec
from tritonkit_runtime.programs import Program

Start = Callable[..., Instance]


def merged(said: str) -> tuple[int, int]:
    """Batches of instances, and as how many they were run."""
    words = said.split(" ends with the last instance; ")[1].replace(",", "").split()
    return int(words[0]), int(words[-1])


def test_answers_are_those_of_the_engine_alone_to_the_bit(spins: Spin) -> None:
    work = spins.work()
    alone = load_alone("onnxruntime", spins.path, work.inputs, work.outputs, work.buckets, gpu=None, slots=2)
    shared = spins.load()
    for items in (1, 2, 3, 5, 8, 1):
        asked = batch(items, items)
        found, expected = shared.ring.run(asked), alone.ring.run(asked)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    with pytest.raises(ShapeError, match="a batch of 9 items has no bucket"):
        shared.ring.run(batch(9, 0))
    shared.close()
    alone.close()


def test_batches_of_several_instances_are_merged_and_everyone_gets_the_own_answer(
    spins: Spin, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = [spins.load(4) for _ in range(4)]

    def ask(number: int) -> bool:
        lot = np.random.default_rng(number)
        ring = loaded[number].ring
        for turn, items in enumerate(lot.integers(1, 5, size=60).tolist()):
            asked = batch(items, 1000 * number + turn, spins=200)
            if not right(asked, ring.run(asked)):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
    for one in loaded:
        one.close()
    jobs, batches = merged(capfd.readouterr().err)
    assert jobs == 240
    assert batches < 160, f"{jobs} batches were run as {batches}"


def test_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    save_spins(tmp_path / "one.onnx", batched=False)
    work = work_of(tmp_path / "one.onnx", batched=False, buckets=(1,))
    loaded = [worker.load(work, 1) for _ in range(2)]
    asked = {"x": np.arange(4, dtype=np.float32), "spins": np.array([3])}
    for one in loaded:
        answer = one.ring.run(asked)
        assert (answer["doubled"].tolist(), answer["sums"].tolist()) == ([0, 2, 4, 6], [6])
        one.close()
    assert ended(tmp_path)


def test_one_engine_process_however_many_start_at_once_and_none_after_the_last(spins: Spin, instance: Start) -> None:
    instances = [instance() for _ in range(8)]
    assert [one.heard() for one in instances] == [{"ready": True}] * 8
    assert len(spins.processes) == 1
    process = psutil.Process(spins.processes[0])
    for number, one in enumerate(instances):
        one.say(seed=number, items=1 + number, spins=100, batches=5)
    assert [one.heard() for one in instances] == [{"done": 5}] * 8
    for one in instances[:7]:
        one.close()
    assert process.is_running()
    assert instances[7].asked(seed=1, items=3, spins=0, batches=3) == {"done": 3}
    instances[7].close()
    assert ended(spins.path.parent)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE  # whose starter was gone before it


def test_no_zombie_stays_where_the_starter_lives(spins: Spin) -> None:
    for _ in range(3):
        spins.load().close()
    assert ended(spins.path.parent)
    mine = psutil.Process()
    assert wait_until(lambda: not [one for one in mine.children() if one.status() == psutil.STATUS_ZOMBIE])


def test_what_the_last_one_gives_back_is_back_when_it_has_left(spins: Spin) -> None:
    first, second = spins.load(), spins.load()
    process = psutil.Process(spins.processes[0])
    first.close()
    second.close()
    assert wait_until(lambda: not process.is_running()), "it ends with the connection, or just after"


def test_a_file_that_was_replaced_gets_an_engine_of_its_own(spins: Spin) -> None:
    old = spins.load()
    save_spins(spins.path.with_name("new"), factor=3.0)
    spins.path.with_name("new").replace(spins.path)
    new = spins.load()
    assert len(spins.processes) == 2
    asked = batch(5, 0)
    assert right(asked, old.ring.run(asked))
    assert right(asked, new.ring.run(asked), factor=3.0)
    [of_new] = set(spins.processes) - {spins.processes[0]}
    old.close()
    assert wait_until(lambda: len(spins.processes) == 1)
    assert spins.processes == [of_new] or right(asked, new.ring.run(asked), factor=3.0)
    new.close()


@pytest.mark.parametrize("what", ["missing", "broken", "other tensors", "other types", "no room"])
def test_why_it_cannot_be_loaded_is_told_to_everyone_and_no_process_stays(tmp_path: Path, what: str) -> None:
    path, fields = tmp_path / "spins.onnx", dict[str, Any]()
    save_spins(path)
    sentence = "ONNX Runtime cannot load .*spins.onnx"
    if what == "missing":
        path, sentence = tmp_path / "none.onnx", "model spins on the CPU cannot be reached: .*none.onnx"
    elif what == "broken":
        path.write_bytes(b"\x00\x01")
    elif what == "other tensors":
        fields, sentence = {"inputs": (TensorSpec("y", "FP32", (4,)),)}, "has an input 'x' that is not declared"
    elif what == "other types":
        fields = {"outputs": (TensorSpec("doubled", "FP16", (4,)),)}
        sentence = "output 'doubled' of the ONNX file spins.onnx: "
    elif what == "no room":
        fields, sentence = {"buckets": (1, 1 << 40)}, "spins.onnx cannot be made ready on the CPU: .*"

    def refused(_: int) -> str:
        with pytest.raises(ParameterError, match=sentence) as caught:
            worker.load(work_of(path, **fields), 8)
        return str(caught.value)

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(refused, range(3)))) == 1
    assert ended(tmp_path)


def test_outputs_of_any_shape_are_refused(tmp_path: Path) -> None:
    save_spins(tmp_path / "spins.onnx")
    work = work_of(tmp_path / "spins.onnx", outputs=(TensorSpec("doubled", "FP32", (-1,)),))
    with pytest.raises(ParameterError, match=r"doubled FP32 \[-1\] has a length of -1"):
        worker.load(work, 8)
    assert engine_processes(tmp_path) == []


def test_a_batch_that_the_engine_refuses_fails_alone(tmp_path: Path) -> None:
    make, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "i"], ["row"])], "g",
        [make("i", kinds.INT64, ["n"])], [make("row", kinds.FLOAT, ["n", 2])],
        [onnx.helper.make_tensor("table", kinds.FLOAT, [3, 2], [0, 1, 2, 3, 4, 5])],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "g.onnx")
    work = work_of(
        tmp_path / "g.onnx", inputs=(TensorSpec("i", "INT64", ()),), outputs=(TensorSpec("row", "FP32", (2,)),)
    )
    loaded = worker.load(work, 8)
    [process] = engine_processes(tmp_path)
    with pytest.raises(
        BatchError, match=r"^the batch was not run: ONNX Runtime could not run the ONNX file g\.onnx: "
    ):
        loaded.ring.run({"i": np.array([1, 7])})
    assert loaded.ring.run({"i": np.array([1, 2])})["row"].tolist() == [[2, 3], [4, 5]]
    assert engine_processes(tmp_path) == [process]
    loaded.close()
    assert ended(tmp_path)


def program(folder: Path, document: Callable[..., dict[str, Any]], most: int, **buffers: Any) -> Program:
    """A model of this engine, as the server would load it."""
    tensors = [
        {"name": tensor.name, "dtype": tensor.dtype, "dims": list(tensor.dims)}
        for tensor in (X, SPINS, DOUBLED, SUMS)
    ]
    engine = {
        "kind": "engine", "engine": "onnxruntime", "file": "spins.onnx", "intra_op_threads": 1,
        "buffers": {"slots": 2, "copies": "auto", **buffers},
    }  # fmt: skip
    text = document(model="spun", inputs=tensors[:2], outputs=tensors[2:], max_batch_size=most, program=engine)
    return Program(parameters.parse(text), folder, print, None)


def test_a_model_runs_in_it_with_buckets_beyond_its_largest_batch(
    spins: Spin, document: Callable[..., dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = spins.path.parent
    loaded = program(folder, document, 4, buckets=[1, 4, 64], process="shared")
    assert len(spins.processes) == 1
    loaded.close()
    assert ended(folder)
    assert "engine process of model spun on the CPU: ready" in capfd.readouterr().err
    for buckets, process in (([1, 2], "shared"), ([1, 4, 64], "own")):
        with pytest.raises(ParameterError, match=f"buckets ends at {buckets[-1]}, and the largest batch is 4"):
            program(folder, document, 4, buckets=buckets, process=process)
    spins.path.unlink()
    with pytest.raises(ParameterError, match=r"the engine's file .*/spins\.onnx does not exist: build or render"):
        program(folder, document, 4, buckets=[1, 4], process="shared")


def test_ctrl_c_and_the_servers_group_leave_it_alone(spins: Spin, instance: Start) -> None:
    one = instance()
    one.heard()
    [process] = spins.processes
    assert os.getpgid(process) == process != os.getpgid(one.process.pid)
    os.kill(process, signal.SIGINT)
    assert one.asked(seed=0, items=2, spins=0, batches=2) == {"done": 2}
    assert spins.processes == [process]


def test_the_engine_process_is_told_nothing_but_its_own(spins: Spin, instance: Start) -> None:
    """No descriptor of the server's comes with it, and its modules are the runtime's wherever it is started."""
    one = instance()
    one.heard()
    [process] = map(psutil.Process, spins.processes)
    fds = Path(f"/proc/{process.pid}/fd")
    links = [str(fd.readlink()) for fd in fds.iterdir()]
    assert str((fds / "0").readlink()) == "/dev/null"
    assert not [link for link in links if link.startswith("pipe:")][2:], links
    assert not [link for link in links if link.startswith("/memfd")][1:], "one mapping holds it"


def test_it_waits_as_long_as_the_engine_takes(spins: Spin, instance: Start) -> None:
    began = time.perf_counter()
    slow = [instance(buckets=(1, 2, 4, 8, 16, 32)) for _ in range(2)]
    assert [one.heard() for one in slow] == [{"ready": True}] * 2
    assert time.perf_counter() - began < 60
