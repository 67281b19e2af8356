"""What the server hands over and nobody can take: it costs its own request alone, and holds nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exchange_models import Load, X, engine, halved, model, of, request, right
from fake_device import FakeDevice
from fake_server import Given, Request, TritonError

from tritonkit_runtime.device import dlpack

PLAIN = {"kind": "steps", "steps": [{"step": "cast", "to": "fp16"}]}
HALF = {"name": "half", "dtype": "FP16", "dims": [3]}


@pytest.mark.parametrize(
    "document",
    [halved(), model(PLAIN, inputs=[X], outputs=[HALF])],
    ids=["an engine in buffers, then steps", "steps alone"],
)
def test_a_config_that_says_no_for_a_model_that_takes_nothing_from_the_gpu(
    load: Load, document: dict[str, Any]
) -> None:
    """Whoever wrote it: the server leaves tensors on the GPU then, and only the request concerned fails."""
    names = [tensor["name"] for tensor in document["inputs"]]
    (x, k), device = of(2, 0), FakeDevice()
    host = Request([{"x": Given("x", x), "k": Given("k", k)}[name] for name in names])
    lies = Request([Given("x", x, device), *host.tensors[1:]])
    first, second, third = load(document, says_no=True).model.execute([host, lies, host])
    assert second.error is not None
    assert second.error.message.startswith("input 'x' lies in a GPU's memory, and this model takes it from the host")
    for answer in (first, third):
        assert answer.error is None
        assert answer.output_tensors[0].read().shape == (2, 3)


class Refusing(Given):
    """One that the server itself cannot give."""

    def to_dlpack(self) -> object:
        raise RuntimeError("no such handle")


def test_a_tensor_that_the_server_cannot_give_costs_its_request_alone(load: Load) -> None:
    loaded = load(model(engine(inputs="device")))
    x, k = of(2, 0)
    blocks = len(loaded.device.live)
    bad = Request([Given("k", k, loaded.device), Refusing("x", x, loaded.device)])
    first, second = loaded.execute(request(loaded, x, k, 3), bad)
    np.testing.assert_array_equal(first.output_tensors[0].read(), right(x, k))
    sentence = "input 'x' could not be read: RuntimeError: no such handle"
    assert second.error == TritonError(sentence, TritonError.INTERNAL)
    bad.tensors.clear()
    assert dlpack.lent() == 0
    assert len(loaded.device.live) <= blocks + 2, "the memory of the first request's tensors alone"


def test_an_execution_never_waits_for_what_it_holds_itself(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients order their inputs as they like: one batch. Without a batch axis each request is one."""
    monkeypatch.setattr("tritonkit_runtime.programs.buffered.PATIENCE_S", 3600.0)
    loaded = load(model(engine(outputs="device")))
    x, k = of(2, 0)
    orders = [Request([Given("x", x), Given("k", k)]), Request([Given("k", k), Given("x", x)])] * 2
    responses = loaded.execute(*orders)
    assert loaded.free_lanes() == 1
    for response in responses:
        np.testing.assert_array_equal(response.output_tensors[0].read(), right(x, k))
        for tensor in response.output_tensors:
            tensor.let_go()
    loaded.model.finalize()
    alone = load(model(engine(outputs="device", buckets=[1]), max_batch_size=0))
    responses = alone.execute(*(Request([Given("x", x[0]), Given("k", k[0])]) for _ in range(3)))
    assert [response.error is None for response in responses] == [True, True, False]
    assert responses[2].error is not None
    assert "all 2 slots are in use" in responses[2].error.message
    for response in responses:
        for tensor in response.output_tensors:
            tensor.let_go()
    assert alone.free_lanes() == 2
