"""The report's rules of what the runtime copies, against the runtime itself: pointers, and bytes on a fake device."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.copies import Report, Sizes, copies_of
from generator.plan import EngineProgram
from generator.workspace import open_workspace
from generator_projects import SHORT, make_project
from still_engine import StillEngine
from tritonkit_runtime.batch import Joined, concatenate
from tritonkit_runtime.buffered.placing import Placed
from tritonkit_runtime.buffered.requests import run_joined
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.engine_process.memory import Shared, aligned
from tritonkit_runtime.engine_process.worker import SLOTS
from tritonkit_runtime.parameters import parse
from tritonkit_runtime.placed import OnDevice
from tritonkit_runtime.programs import Program, runners

sys.path.insert(0, str(Path(__file__).parents[2] / "python_backend" / "buffered"))
from fake_device import FakeDevice

FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")


class Counted(FakeDevice):
    """A fake device that adds up the bytes of its copies."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: Counter[str] = Counter()

    def copy_in(self, pointer: int, host: int, size_bytes: int, stream: int) -> None:
        self.copied["buffer-in"] += size_bytes
        super().copy_in(pointer, host, size_bytes, stream)

    def copy_out(self, host: int, pointer: int, size_bytes: int, stream: int) -> None:
        self.copied["buffer-out"] += size_bytes
        super().copy_out(host, pointer, size_bytes, stream)


class Still(StillEngine):
    """Whose batches are not recorded: the fake device has no recordings."""

    recordable = False


@pytest.fixture(scope="module")
def ring_and_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ring, Counted, Report]:
    """A ring for the engine of a fused pipeline, and what the report says of two requests of three items each."""
    work = open_workspace(make_project(tmp_path_factory.mktemp("p") / "p", {"small": FUSED}), target="production")
    [plan] = work.plans["production"]
    [(_, part, program)] = plan.engines()
    assert isinstance(program, EngineProgram)
    assert program.buffers is not None
    device = Counted()
    engine = Still(*(tuple(Fixed(t.name, t.dtype, t.dims) for t in side) for side in (part.inputs, part.outputs)))
    ring = Ring(device, engine, program.buffers.buckets, slots=2, copies="beside")
    return ring, device, copies_of(plan, "http", Sizes(items=3, requests=2))


def said(report: Report, rule: str) -> int:
    """Bytes that are copied by a rule."""
    return sum(hop.copied_bytes for hop in report.hops if hop.rule == rule)


def test_to_and_from_the_gpu_go_the_bytes_of_the_report(ring_and_report: tuple[Ring, Counted, Report]) -> None:
    ring, device, report = ring_and_report
    requests = [{"pixels": np.full((3, *ring.engine.inputs[0].item), value, np.float32)} for value in (5, 7)]
    before, waits = device.copied.copy(), device.counts["wait_for"]
    answer = run_joined(ring, Joined(requests))
    done = device.copied - before
    assert (done["buffer-in"], done["buffer-out"]) == (6 * 64 * 4, 6 * 10 * 4)
    for rule in ("buffer-in", "buffer-out"):
        assert done[rule] == said(report, rule)
    assert said(report, "staged-in") == done["buffer-in"]
    assert said(report, "staged-out") == sum(array.nbytes for array in answer.values())
    gpu_waits = sum(hop.waits for hop in report.hops if hop.rule == "buffer-out")
    assert device.counts["wait_for"] - waits == gpu_waits == 1


def test_a_batch_is_put_into_pinned_memory_and_its_answer_out_of_it(
    ring_and_report: tuple[Ring, Counted, Report],
) -> None:
    ring, _, _ = ring_and_report
    pixels = np.full((3, *ring.engine.inputs[0].item), 9, np.float32)
    answer = run_joined(ring, Joined([{"pixels": pixels}, {"pixels": pixels}]))
    staged = [array for lane in ring.lanes for array in lane.slot.staged.values()]
    assert any((array[:6] == 9).all() for array in staged)
    assert not any(np.shares_memory(array, pixels) for array in staged)
    assert not any(np.shares_memory(array, out) for array in staged for out in answer.values())


def test_an_instance_puts_rows_into_shared_memory_and_takes_answers_out_of_it(
    ring_and_report: tuple[Ring, Counted, Report],
) -> None:
    """`shared-in` and `shared-out`, with an engine that is another process's."""
    own, _, _ = ring_and_report
    inputs, outputs = own.engine.inputs, own.engine.outputs
    memory = Shared(SLOTS * sum(aligned(tensor.bytes_of(8)) for tensor in (*inputs, *outputs)))
    ring = Ring(memory, Still(inputs, outputs), range(1, 9), slots=SLOTS)
    pixels = np.full((3, *inputs[0].item), 9, np.float32)
    answer = run_joined(ring, Joined([{"pixels": pixels}, {"pixels": pixels}]))
    begin, end = memory.mapped.address, memory.mapped.address + memory.mapped.size_bytes
    staged = [array for lane in ring.lanes for array in lane.slot.staged.values()]
    assert all(begin <= array.ctypes.data and array.ctypes.data + array.nbytes <= end for array in staged)
    assert any((array[:6] == 9).all() for array in staged)
    assert not any(np.shares_memory(array, other) for array in staged for other in (pixels, *answer.values()))
    ring.close()
    memory.close()


def test_the_engine_process_copies_each_instances_rows_and_all_answers_at_once(tmp_path: Path) -> None:
    """`shared-to-gpu` and `merged-out`: two instances hand over three items each."""
    spec = FUSED.replace("net.onnx}", "net.onnx, buffers: {process: shared}}")
    work = open_workspace(make_project(tmp_path / "p", {"small": spec}), target="production")
    [plan] = work.plans["production"]
    [(_, part, _)] = plan.engines()
    report = copies_of(plan, "http", Sizes(items=3, instances=2))
    device = Counted()
    engine = Still(*(tuple(Fixed(t.name, t.dtype, t.dims) for t in side) for side in (part.inputs, part.outputs)))
    ring = Ring(device, engine, [8, 32], slots=2, copies="beside", direct=True, awake=False)
    tensor, memory = engine.inputs[0], device.pinned(2 * engine.inputs[0].bytes_of(3))
    placed = []
    for instance in range(2):
        pointer = memory + instance * tensor.bytes_of(3)
        lies = OnDevice(pointer, tensor.shape(3, batched=True), tensor.dtype, device)
        placed.append(Placed(tensor.name, 3 * instance, 3, lies, on_host=True))
    before, calls = device.copied.copy(), device.counts.copy()
    lane = ring.take()
    ring.start(lane, 6, placed=placed)
    answers = ring.finish(lane)
    done = device.copied - before
    assert done["buffer-in"] == said(report, "shared-to-gpu") == 6 * 64 * 4
    assert done["buffer-out"] == said(report, "merged-out") == 6 * 10 * 4
    assert said(report, "rows-out") == sum(array.nbytes for array in answers.values())
    times, did = {hop.rule: hop.times for hop in report.hops}, device.counts - calls
    assert (did["copy_in"], did["copy_out"]) == (times["shared-to-gpu"], times["merged-out"]) == (2, 1)
    assert did["wait_for"] == report.waits == 1
    ring.give_back(lane)


def test_the_requests_of_an_execution_become_one_array_and_a_single_one_stays_what_it_is() -> None:
    first, second = {"x": np.ones((2, 4))}, {"x": np.zeros((1, 4))}
    joined = concatenate([first, second]).tensors["x"]
    assert not np.shares_memory(joined, first["x"])
    assert not np.shares_memory(joined, second["x"])
    assert concatenate([first]).tensors["x"] is first["x"]


CODE = """
import numpy as np

SEEN = []

class Class:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        SEEN.append(tensors["x"])
        return {"y": tensors["x"] + 1}
"""


def test_a_stage_takes_the_same_array_and_a_class_of_ones_own_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """given -> class (own-copy) -> chain of steps (in-process); what each was given is remembered."""
    (tmp_path / "code.py").write_text(CODE)
    tensor: dict[str, Any] = {"dtype": "FP32", "dims": [4]}

    def stage(name: str, source: str, to: str, program: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": name, "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}],
            "takes": {"x": source}, "gives": {"y": to}, "program": program,
        }  # fmt: skip

    own = {"kind": "python", "class": "Class", "file": "code.py", "parameters": {}}
    steps = {"kind": "steps", "steps": [{"step": "softmax"}]}
    document = {
        "format": 1, "pipeline": "p", "model": "p", "max_batch_size": 8,
        "inputs": [{"name": "a", **tensor}], "outputs": [{"name": "c", **tensor}],
        "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {"kind": "flow", "stages": [stage("one", "a", "b", own), stage("two", "b", "c", steps)]},
    }  # fmt: skip
    seen: dict[str, list[np.ndarray[Any, Any]]] = {"class": [], "steps": [], "made": []}
    run_class, run_steps = runners.PythonRunner.run, runners.StepsRunner.run

    def of_class(self: runners.PythonRunner, batch: Any) -> Any:
        seen["class"].append(batch.tensors["x"])
        answer = run_class(self, batch)
        seen["made"].append(answer["y"])
        return answer

    def of_steps(self: runners.StepsRunner, batch: Any) -> Any:
        seen["steps"].append(batch.tensors["x"])
        return run_steps(self, batch)

    monkeypatch.setattr(runners.PythonRunner, "run", of_class)
    monkeypatch.setattr(runners.StepsRunner, "run", of_steps)
    program = Program(parse(document), tmp_path, lambda _: None)
    given = np.arange(8, dtype=np.float32).reshape(2, 4)
    program.run(concatenate([{"a": given}]))
    program.close()
    [own_input], [steps_input], [made] = seen["class"], seen["steps"], seen["made"]
    assert not np.shares_memory(own_input, given)
    assert np.shares_memory(steps_input, made)
