"""The server's tensors through a model's program: from wherever they lie, each request by itself, and back by DLPack."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest
from exchange_models import KEEP_STEP, TOTAL, K, Load, X, Y, engine, halved, model, of, request, right, stage
from fake_device import POISON
from fake_server import Answer, Given, Request, TritonError

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.exchange import Exchange
from tritonkit_runtime.device import dlpack
from tritonkit_runtime.device.dlpack import CUDA
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.programs.direct import Direct, direct


@pytest.mark.parametrize("document", [model(engine(inputs="device")), halved(inputs="device")], ids=["one", "flow"])
def test_every_mix_of_places_in_one_execution(load: Load, document: dict[str, Any]) -> None:
    loaded = load(document)
    tensors = [of(items, items) for items in (1, 2, 1, 3)]
    blocks = len(loaded.device.live)
    for places in ((0, 0, 0, 0), (1, 2, 3, 0), (3, 3, 3, 3), (0, 1, 0, 2)):
        requests = [request(loaded, x, k, where) for (x, k), where in zip(tensors, places, strict=True)]
        for (x, k), response in zip(tensors, loaded.execute(*requests), strict=True):
            assert response.error is None
            [first] = [tensor for tensor in response.output_tensors if tensor.name in ("y", "half")]
            np.testing.assert_array_equal(first.read(), right(x, k).astype(first.read().dtype))
        requests.clear()
        assert (len(loaded.device.live), dlpack.lent()) == (blocks, 0), "inputs are held no longer than the execution"
    loaded.model.finalize()
    assert loaded.device.held() == (0, 0, 0, 0)


def test_a_request_that_cannot_be_taken_costs_itself_alone(load: Load) -> None:
    loaded = load(model(engine(inputs="device")))
    device = loaded.device
    x, k = of(2, 0)
    numbers = Given("k", k)
    bad = {
        Given("x", x, device, device_id=1): "input 'x' lies on GPU 1, and this instance runs on GPU 0",
        Given(
            "x", x, device, kind=10
        ): "input 'x' lies in memory of DLPack's kind 10; valid are a GPU's and the host's",
        Given("x", x.astype(np.float64), device): "input 'x' is float64 [2, 3], expected FP32 [items, 3]",
        Given("x", x[:, :2], device): "input 'x' is float32 [2, 2], expected FP32 [items, 3]",
        Given("x", x[0], device): "input 'x' is float32 [3], expected FP32 [items, 3]",
        Strided("x", x, device): "input 'x' is [2, 3] with strides [4, 1]: it has gaps, or another order than C's; "
        "copy it",
    }
    good = request(loaded, x, k, 1)
    responses = loaded.execute(good, *(Request([tensor, numbers]) for tensor in bad), good)
    for response in (responses[0], responses[-1]):
        np.testing.assert_array_equal(response.output_tensors[0].read(), right(x, k))
    for response, sentence in zip(responses[1:-1], bad.values(), strict=True):
        assert response.error == TritonError(sentence, TritonError.INVALID_ARG)
    bad.clear()
    assert dlpack.lent() == 0


class Strided(Given):
    """One whose rows have a gap behind them."""

    def to_dlpack(self) -> object:
        capsule = super().to_dlpack()
        tensor = list(dlpack._lent.values())[-1][0]
        self._strides = (ctypes.c_int64 * 2)(4, 1)
        tensor.strides = self._strides
        return capsule


def test_a_model_that_takes_its_inputs_from_the_host_says_how_that_is_had(load: Load) -> None:
    loaded = load(model(engine(outputs="device")))
    x, k = of(2, 0)
    first, second = loaded.execute(request(loaded, x, k, 1), request(loaded, x, k, 0))
    assert first.error is not None
    assert first.error.message == (
        "input 'x' lies in a GPU's memory, and this model takes it from the host: its parameter "
        'FORCE_CPU_ONLY_INPUT_TENSORS must not be "no"'
    )
    np.testing.assert_array_equal(second.output_tensors[0].read(), right(x, k))
    for tensor in second.output_tensors:
        tensor.let_go()


def test_answers_stay_on_the_device_until_the_server_lets_go_of_them(load: Load) -> None:
    loaded = load(model(engine(inputs="device", outputs="device")))
    tensors = [of(items, items) for items in (2, 1, 4)]
    before = loaded.device.counts.copy()
    responses = loaded.execute(*(request(loaded, x, k, 3) for x, k in tensors))
    assert (loaded.device.counts - before)["copy_out"] == 0
    assert (loaded.device.counts - before)["wait_for"] == 1, "the host waits once, before it hands capsules out"
    for (x, k), response in zip(tensors, responses, strict=True):
        y = response.output_tensors[0]
        assert y.lent is not None
        assert (y.lent.device_type, y.lent.device_id, y.lent.shape) == (CUDA, 0, x.shape)
        np.testing.assert_array_equal(y.read(), right(x, k))
    assert loaded.free_lanes() == 1
    x, k = of(8, 9)
    [later] = loaded.execute(request(loaded, x, k, 0))  # the other lane
    for (x, k), response in zip(tensors, responses, strict=True):
        np.testing.assert_array_equal(response.output_tensors[0].read(), right(x, k))
        for tensor in response.output_tensors:
            assert loaded.free_lanes() == 0
            tensor.let_go()
    assert loaded.free_lanes() == 1
    for tensor in later.output_tensors:
        tensor.let_go()
    assert (loaded.free_lanes(), dlpack.lent()) == (2, 0)
    loaded.model.finalize()
    assert loaded.device.held() == (0, 0, 0, 0)


def test_outputs_that_nobody_wants_hold_nothing(load: Load) -> None:
    loaded = load(model(engine(outputs="device")))
    x, k = of(2, 0)
    [response] = loaded.execute(Request([Given("x", x), Given("k", k)], wanted=("total",)))
    assert [tensor.name for tensor in response.output_tensors] == ["total"]
    response.output_tensors[0].let_go()
    assert loaded.free_lanes() == 2
    loaded.execute(Request([Given("x", x), Given("k", k)], wanted=()))
    assert loaded.free_lanes() == 2


BF16 = [{"name": "x", "dtype": "BF16", "dims": [3]}], [{"name": "y", "dtype": "BF16", "dims": [3]}]


@pytest.mark.parametrize("outputs", ["host", "device"])
def test_bf16_goes_in_and_out_as_its_bits(load: Load, outputs: str) -> None:
    loaded = load(model(engine(inputs="device", outputs=outputs), inputs=BF16[0], outputs=BF16[1]))
    bits = np.random.default_rng(0).integers(0, 1 << 16, (4, 3)).astype(np.uint16)
    requests = [
        Request([Given("x", bits[:1], bfloat16=True)]),
        Request([Given("x", bits[1:], loaded.device, bfloat16=True)]),
    ]
    responses = loaded.execute(*requests)
    for rows, response in zip((bits[:1], bits[1:]), responses, strict=True):
        [y] = response.output_tensors
        assert y.lent is not None
        tensor = dlpack.ManagedTensor.from_address(y.lent._address)
        assert (tensor.code, tensor.bits, y.lent.on_host) == (4, 16, outputs == "host")
        np.testing.assert_array_equal(y.read(), rows ^ 0x8000)
        y.let_go()
    requests.clear()
    gc.collect()
    assert dlpack.lent() == 0


def test_a_model_without_a_batch_axis(load: Load) -> None:
    document = model(engine(buckets=[1], inputs="device", outputs="device"), max_batch_size=0)
    loaded = load(document)
    x, k = np.array([1, 2, 3], np.float32), np.array(5)
    for where in range(4):
        [response] = loaded.execute(request(loaded, x, k, where))
        np.testing.assert_array_equal(response.output_tensors[0].read(), 2 * x + 5)
        for tensor in response.output_tensors:
            tensor.let_go()


def test_batches_one_after_the_other_while_all_that_is_let_go_of_is_poisoned(load: Load) -> None:
    """200 executions; answers are let go of late, inputs at once, and what is freed or given back is poison."""
    loaded = load(model(engine(inputs="device", outputs="device")))
    ring = loaded.model._program._runner._loaded.ring
    real = ring.give_back

    def give_back(lane: Any) -> None:
        for output in lane.slot.engine.outputs:
            ctypes.memset(lane.slot.addresses[output.name], POISON, output.bytes_of(8))
        real(lane)

    ring.give_back = give_back
    lot = np.random.default_rng(4)
    waiting: list[tuple[Array, Answer]] = []
    for number in range(200):
        while not ring.free or (waiting and lot.random() < 0.3):
            wanted, answer = waiting.pop(int(lot.integers(len(waiting))))
            np.testing.assert_array_equal(answer.read(), wanted)
            answer.let_go()
        tensors = [of(int(items), 1000 * number + i) for i, items in enumerate(lot.integers(1, 4, size=2))]
        responses = loaded.execute(*(request(loaded, x, k, int(lot.integers(4))) for x, k in tensors))
        for (x, k), response in zip(tensors, responses, strict=True):
            y, total = response.output_tensors
            total.let_go()
            waiting.append((right(x, k), y))
    for wanted, answer in waiting:
        np.testing.assert_array_equal(answer.read(), wanted)
        answer.let_go()
    assert (ring.free, dlpack.lent()) == (2, 0)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (model(engine()), Direct()),
        (model(engine(inputs="device")), Direct(frozenset({"x", "k"}))),
        (model(engine(outputs="device")), Direct(outputs=frozenset({"y", "total"}))),
        (halved(inputs="device"), Direct(frozenset({"x", "k"}))),
    ],
)
def test_what_may_lie_there(document: dict[str, Any], found: Direct) -> None:
    told = direct(parameters.parse(document))
    assert told == found
    assert bool(told) == (found != Direct())


def test_parameters_that_contradict_each_other() -> None:
    before = stage("before", KEEP_STEP, [{**X, "name": "raw"}], [{**X, "dtype": "FP16"}])
    later = {
        "kind": "flow",
        "stages": [before, stage("engine", engine(inputs="device"), [{**X, "dtype": "FP16"}, K], [Y, TOTAL])],
    }
    bad: list[tuple[dict[str, Any], str]] = [
        (model(later, inputs=[{**X, "name": "raw"}, K]), "stage engine takes inputs from the GPU, and is not the first"),
        (halved(outputs="device"), "stage engine leaves its outputs on the GPU, and is not alone: render"),
        (
            model({"kind": "flow", "stages": [stage("e", engine(inputs="device"), [X, K], [Y, TOTAL])]},
                  outputs=[Y, TOTAL, X]),
            "stage e takes inputs from the GPU, and is not the first and only one to",
        ),
        (model(engine(inputs="gpu")), "program.buffers.inputs is 'gpu'; valid are host, device"),
        (model(engine(outputs=1)), "program.buffers.outputs is 1; it must be a string"),
        (model(engine(lengths=[4], inputs="device")), "program.buffers.lengths is given, and tensors with an open axis"),
        (model({**engine(), "buffers": None} | {"kind": "steps", "steps": [{"step": "cast", "to": "fp16"}]},
               inputs=BF16[0]), "numpy has no BF16"),
    ]  # fmt: skip
    for document, sentence in bad:
        with pytest.raises(ParameterError, match=sentence):
            direct(parameters.parse(document))


def test_the_usual_model_asks_no_tensor_where_it_lies(load: Load) -> None:
    loaded = load(model(engine()))
    assert loaded.model._exchange is None
    x, k = of(2, 1)
    [response] = loaded.execute(request(loaded, x, k, 0))
    np.testing.assert_array_equal(response.output_tensors[0].read(), right(x, k))


def test_text_and_what_no_engine_takes_comes_as_ever() -> None:
    exchange = Exchange(Direct(), [], batched=True, gpu=0)
    array = np.array([b"a"], object)
    text = np.array([b"b"], object)
    [given] = exchange.answers([[Given("text", text)]], list)
    assert isinstance(given, dict)
    np.testing.assert_array_equal(given["text"], text)
    assert exchange.made("text", array, Answer) == Answer("text", array)
