"""Tensors with an open axis: padded to the next length, cut back for each request, in memory for the largest alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_device import FakeDevice
from fake_engine import FakeEngine
from fake_words import Words
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Batch, Joined, Tensors, concatenate
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.buffered.requests import begin, run_joined
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.shapes import Size
from tritonkit_runtime.parameters import ParameterError, TensorSpec
from tritonkit_runtime.programs import Program, ProgramError, flow

SIZES, LENGTHS = (1, 2, 4), (3, 8, 16)


def request(items: int, length: int, lot: np.random.Generator) -> Tensors:
    shape = (items, length)
    return {"ids": lot.integers(1, 99, shape).astype(np.int32), "mask": np.ones(shape, np.int32)}


def check(tensors: Tensors, answer: object, lengths: Sequence[int] = LENGTHS) -> None:
    """The answer of the request by itself, which nobody padded."""
    assert isinstance(answer, dict), answer
    ids = tensors["ids"]
    np.testing.assert_array_equal(answer["tokens"], np.stack([2 * ids, ids * ids], axis=-2).astype(np.float32))
    assert answer["tokens"].flags.c_contiguous
    np.testing.assert_array_equal(answer["mean"], ids.mean(-1, keepdims=True).astype(np.float32))
    assert answer["width"].ravel().tolist() == [min(n for n in lengths if n >= ids.shape[-1])] * len(answer["width"])


REQUESTS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 18)), max_size=8)


@settings(max_examples=30)
@given(
    st.lists(REQUESTS, min_size=1, max_size=4), st.sampled_from(("inside", "beside")), st.booleans(),
    st.integers(0, 999),
)  # fmt: skip
def test_requests_of_any_lengths_are_answered_as_if_each_were_alone(
    groups: list[list[tuple[int, int]]], copies: Copies, graphs: bool, seed: int
) -> None:
    device, lot = FakeDevice(seed), np.random.default_rng(seed)
    ring = Ring(device, Words(device), SIZES, slots=2, copies=copies, graphs=graphs, lengths=LENGTHS)
    for shapes in groups:
        requests = [request(items, length, lot) for items, length in shapes]
        for (items, length), given_, answer in zip(shapes, requests, begin(ring, requests).answers(), strict=True):
            if items <= SIZES[-1] and length <= LENGTHS[-1]:
                check(given_, answer)
            else:
                assert isinstance(answer, ShapeError)
    assert ring.free == 2
    ring.close()
    assert device.held() == (0, 0, 0, 0)


def test_what_has_no_bucket_is_told_which_there_are() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, Words(device), SIZES, lengths=LENGTHS)
    with pytest.raises(ShapeError, match="a batch of length 17 has no bucket; there are 3, 8, 16: send shorter ones"):
        ring.run(request(1, 17, lot))
    with pytest.raises(ShapeError, match="a batch of length 0 cannot be run"):
        ring.run(request(1, 0, lot))
    with pytest.raises(ShapeError, match="the inputs of a request differ in their length: ids has 4, mask has 5"):
        ring.run({"ids": request(1, 4, lot)["ids"], "mask": request(1, 5, lot)["mask"]})
    with pytest.raises(ShapeError, match=r"input 'ids' is int32 \[1, 2, 2\], expected INT32 \[items, any\]"):
        ring.run({"ids": np.zeros((1, 2, 2), np.int32), "mask": np.zeros((1, 2), np.int32)})


def test_every_size_is_warm_in_every_length_the_largest_first() -> None:
    device = FakeDevice()
    engine = Words(device)
    Ring(device, engine, SIZES, slots=2, lengths=LENGTHS)
    wanted = [Size(items, length) for items, length in product(reversed(SIZES), reversed(LENGTHS))]
    assert engine.sizes == wanted * 2
    assert device.counts["launch"] == 2 * len(wanted)


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_after_it_is_warm_nothing_is_allocated_whatever_the_length(copies: Copies) -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, Words(device), SIZES, slots=3, copies=copies, lengths=LENGTHS)
    before, held, count = device.counts.copy(), device.held(), 60
    for _ in range(count):
        tensors = request(int(lot.integers(1, 5)), int(lot.integers(1, 17)), lot)
        check(tensors, ring.run(tensors))
    done = device.counts - before
    made = ("allocate", "pinned", "free", "free_pinned", "stream", "event", "begin_capture", "end_capture", "wait")
    assert [done[name] for name in made] == [0] * len(made)
    assert (done["wait_for"], done["launch"]) == (count, count)
    assert device.held() == held


def test_memory_is_that_of_the_largest_alone() -> None:
    taken = {}
    for lengths in (LENGTHS, LENGTHS[-1:]):
        device = FakeDevice()
        Ring(device, Words(device), SIZES, slots=2, lengths=lengths)
        taken[len(lengths)] = sorted((block.size, block.pinned) for block in device.live.values())
    assert taken[3] == taken[1]
    items, length = SIZES[-1], LENGTHS[-1]
    slot = items * (4 * length + 4 * length + 2 * 4 * length + 4 + 8)
    assert sum(size for size, pinned in taken[3] if pinned) == 2 * slot


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_a_short_batch_after_a_long_one_finds_nothing_of_it(copies: Copies) -> None:
    """The engine itself asserts that padding is zeros; lengths alternate in each slot."""
    for seed in range(10):
        device, lot = FakeDevice(seed), np.random.default_rng(seed)
        ring = Ring(device, Words(device), SIZES, slots=2, copies=copies, lengths=LENGTHS)
        for items, length in [(4, 16), (4, 16), (1, 2), (3, 1), (3, 8), (4, 7), (3, 15), (1, 16), (3, 3), (4, 1)]:
            tensors = request(items, length, lot)
            check(tensors, ring.run(tensors))


def test_a_long_request_makes_no_other_one_long() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, Words(device), SIZES, slots=3, lengths=LENGTHS)
    before = device.counts["launch"]
    requests = [request(1, length, lot) for length in (2, 16, 3, 9, 1, 7)]
    for given_, answer in zip(requests, begin(ring, requests).answers(), strict=True):
        check(given_, answer)
    assert device.counts["launch"] - before == 3, "one batch for each length"


@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_joined_requests_of_one_length_are_one_batch(length: int) -> None:
    device, lot = FakeDevice(), np.random.default_rng(length)
    ring = Ring(device, Words(device), SIZES, slots=2, lengths=LENGTHS)
    run_joined(ring, Joined([request(2, 16, lot), request(2, 16, lot)]))
    joined = Joined([request(2, length, lot), request(1, length, lot)])
    check(dict(joined), run_joined(ring, joined))
    with pytest.raises(ShapeError, match="the requests differ in their length: 2, 3"):
        run_joined(ring, Joined([request(1, 3, lot), request(1, 2, lot)]))
    assert ring.free == 2


def test_without_a_batch_axis() -> None:
    device = FakeDevice()
    ring = Ring(device, Words(device, batched=False), [1], lengths=LENGTHS)
    for length in (16, 5, 1):
        ids = np.arange(1, length + 1, dtype=np.int32)
        found = ring.run({"ids": ids, "mask": np.ones_like(ids)})
        np.testing.assert_array_equal(found["tokens"], np.stack([2 * ids, ids * ids]))


def test_lengths_are_for_an_open_axis_and_an_open_axis_for_lengths() -> None:
    device = FakeDevice()
    told = "ids has an axis of any length"
    for engine, lengths, sentence in (
        (Words(device), (), told), (FakeEngine(device), LENGTHS, "no input has an axis of any length"),
        (Words(device), (4, 4), "lengths holds a size twice: 4, 4"), (Words(device), (0,), "lengths holds 0; a length"),
    ):  # fmt: skip
        made: BufferedEngine = engine
        with pytest.raises(ParameterError, match=sentence):
            Ring(device, made, SIZES, lengths=lengths)
    assert device.held() == (0, 0, 0, 0)


# ONNX Runtime, on the CPU ------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """ids, mask [n, tokens] INT64 -> the mean of the ids where the mask is 1, and each id as a float, [n, tokens]."""
    whole = ["n", "tokens"]
    nodes = [
        helper.make_node("Cast", ["ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "weights"], ["tokens"]),
        helper.make_node("ReduceSum", ["tokens", "last"], ["sum"]),
        helper.make_node("ReduceSum", ["weights", "last"], ["count"]),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
    ]
    graph = helper.make_graph(
        nodes, "words",
        [helper.make_tensor_value_info(name, TensorProto.INT64, whole) for name in ("ids", "mask")],
        [
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, whole),
        ],
        [helper.make_tensor("last", TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    path = tmp_path / "words.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


INPUTS = [TensorSpec("ids", "INT64", (-1,)), TensorSpec("mask", "INT64", (-1,))]
OUTPUTS = [TensorSpec("mean", "FP32", (1,)), TensorSpec("tokens", "FP32", (-1,))]


def loaded(path: Path, outputs: Sequence[TensorSpec] = OUTPUTS, lengths: Sequence[int] = LENGTHS) -> Loaded:
    return load("onnxruntime", path, INPUTS, outputs, (1, 4), gpu=None, slots=2, lengths=lengths)


def test_a_graph_with_an_open_axis(words: Path) -> None:
    ready, lot = loaded(words), np.random.default_rng(0)
    for items, length in ((4, 16), (1, 1), (3, 5), (2, 8), (4, 3)):
        mask = np.tril(np.ones((items, length), np.int64))
        ids = lot.integers(1, 99, (items, length)) * mask
        found = ready.ring.run({"ids": ids, "mask": mask})
        np.testing.assert_allclose(found["mean"], ids.sum(1, keepdims=True) / mask.sum(1, keepdims=True), rtol=1e-6)
        np.testing.assert_array_equal(found["tokens"], ids)
    ready.close()


def test_an_output_whose_open_axis_is_another_is_refused_at_start(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info("both", TensorProto.INT64, ["n", "twice"])
    node = helper.make_node("Concat", ["ids", "mask"], ["both"], axis=1)
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [output]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "both.onnx")
    with pytest.raises(ParameterError, match=r"the ONNX file both\.onnx cannot run a batch of 4 of length 16"):
        loaded(tmp_path / "both.onnx", [TensorSpec("both", "INT64", (-1,))])


def test_two_open_axes_are_one_too_many(words: Path) -> None:
    with pytest.raises(ParameterError, match=r"tokens FP32 \[-1, -1\] has two axes of any length"):
        loaded(words, [TensorSpec("tokens", "FP32", (-1, -1))])


def test_what_tritonkit_json_says_of_lengths() -> None:
    fields = {"buckets": [1, 4], "slots": 2, "copies": "auto"}
    assert parameters._buffers(fields, "b.").lengths == ()
    assert parameters._buffers({**fields, "lengths": [16, 32]}, "b.").lengths == (16, 32)
    with pytest.raises(ParameterError, match=r"b\.lengths is \[32, 16\]; it must hold lengths that rise"):
        parameters._buffers({**fields, "lengths": [32, 16]}, "b.")


@pytest.mark.parametrize("lengths", [[8, 16], [16]])
def test_a_program_with_lengths_answers_as_one_without_buffers(words: Path, lengths: list[int]) -> None:
    """Requests of one execution, as the server's batcher makes it: of one shape, and several of them."""

    def program(buffers: dict[str, object] | None) -> Program:
        engine = {"kind": "engine", "engine": "onnxruntime", "file": words.name, "intra_op_threads": 1}
        document = {
            "format": 1, "pipeline": "words", "model": "words", "max_batch_size": 4,
            "inputs": [{"name": name, "dtype": "INT64", "dims": [-1]} for name in ("ids", "mask")],
            "outputs": [{"name": "mean", "dtype": "FP32", "dims": [1]}, {"name": "tokens", "dtype": "FP32", "dims": [-1]}],
            "limits": {"max_bytes": 1, "max_pixels": 1},
            "program": engine if buffers is None else {**engine, "buffers": buffers},
        }  # fmt: skip
        return Program(parameters.parse(document), words.parent, lambda _: None)

    usual = program(None)
    ring = program({"buckets": [1, 2, 4], "slots": 2, "copies": "auto", "lengths": lengths})
    lot = np.random.default_rng(3)
    for counts, length in (((1,), 3), ((2, 1), 8), ((1, 1, 1), 9), ((4,), 16), ((1, 2), 1)):
        requests = [
            {"ids": lot.integers(1, 99, (items, length)), "mask": np.ones((items, length), np.int64)}
            for items in counts
        ]
        expected, found = (made.run(concatenate(requests)) for made in (usual, ring))
        for name, wanted in expected.items():
            np.testing.assert_array_equal(found[name], wanted)
    too_long = {name: np.ones((1, 17), np.int64) for name in ("ids", "mask")}
    with pytest.raises(ProgramError, match=r"a batch of length 17 has no bucket; there are .*16: send shorter ones"):
        ring.run(concatenate([too_long]))
    usual.close()
    ring.close()


class Padded:
    """A runner in the place of `tokenize`: texts of so many tokens, each request padded to its own bucket."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        self.widths = widths

    def run(self, batch: Batch) -> Tensors:
        widest = max(self.widths)
        ids, mask = np.zeros((batch.size, widest), np.int64), np.zeros((batch.size, widest), np.int64)
        row = 0
        for count, width in zip(batch.counts, self.widths, strict=True):
            for own in range(row, row + count):
                ids[own, :width], mask[own, :width] = np.arange(1, width + 1) + own, 1
            row += count
        batch.lengths.update(dict.fromkeys(("input_ids", "attention_mask"), self.widths))
        return {"input_ids": ids, "attention_mask": mask}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("widths", "batches"), [((3, 16, 8), [8, 3, 16]), ((3, 3, 3), [3]), ((16, 16, 8), [8, 16])])
def test_texts_of_a_flow_are_run_in_their_own_lengths(
    words: Path, monkeypatch: pytest.MonkeyPatch, widths: tuple[int, ...], batches: list[int]
) -> None:
    """The engine calls its inputs otherwise than the steps before it call what they give."""
    started: list[int] = []
    start = Ring.start

    def noted(self: Ring, lane: Lane, items: int, length: int = 0, **more: Any) -> None:
        started.append(length)
        start(self, lane, items, length, **more)

    def stage(name: str, inputs: list[Any], outputs: list[Any], takes: Any, gives: Any, program: Any) -> Any:
        return {
            "name": name,
            "inputs": inputs,
            "outputs": outputs,
            "takes": takes,
            "gives": gives,
            "program": program,
        }

    text = {"name": "text", "dtype": "STRING", "dims": [1]}
    tokens = [{"name": name, "dtype": "INT64", "dims": [-1]} for name in ("input_ids", "attention_mask")]
    inside = [{**tensor, "name": name} for tensor, name in zip(tokens, ("ids", "mask"), strict=True)]
    mean = {"name": "mean", "dtype": "FP32", "dims": [1]}
    buffers = {"buckets": [1, 2, 4, 8], "slots": 2, "copies": "auto", "lengths": [3, 8, 16]}
    engine = {
        "kind": "engine",
        "engine": "onnxruntime",
        "file": words.name,
        "intra_op_threads": 1,
        "buffers": buffers,
    }
    resize = {"kind": "steps", "steps": [{"step": "decode", "to": "gray"}]}
    document = {
        "format": 1, "pipeline": "p", "model": "p", "max_batch_size": 8, "inputs": [text], "outputs": [mean],
        "limits": {"max_bytes": 99, "max_pixels": 1},
        "program": {"kind": "flow", "stages": [
            stage("texts", [text], tokens, {"text": "text"}, {"input_ids": "a", "attention_mask": "b"}, resize),
            stage("engine", inside, [mean], {"ids": "a", "mask": "b"}, {"mean": "mean"}, engine),
        ]},
    }  # fmt: skip
    real = flow.single_runner

    def runner(program: Any, *rest: Any) -> Any:
        return Padded(widths) if isinstance(program, parameters.StepsProgram) else real(program, *rest)

    monkeypatch.setattr(flow, "single_runner", runner)
    made = Program(parameters.parse(document), words.parent, lambda _: None)
    monkeypatch.setattr(Ring, "start", noted)
    counts = (2, 1, 2)
    requests = [{"text": np.full((count, 1), b"", np.object_)} for count in counts]
    found = made.run(concatenate(requests))["mean"]
    wanted = [
        own + (width + 1) / 2
        for own, width in zip(
            range(5), [w for w, n in zip(widths, counts, strict=True) for _ in range(n)], strict=True
        )
    ]
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-6)
    assert sorted(started) == sorted(batches)
    made.close()
