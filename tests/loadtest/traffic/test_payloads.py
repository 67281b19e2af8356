"""What is sent are the bytes that Triton's own clients send, made of the specs' own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc._utils import _get_inference_request

from generator.gate_set import read_gate_set
from generator.plan import EnsemblePlan, Places, Plan, TargetPlan, Tensor
from generator.problems import ProblemsError, UserError
from generator.project import EMBEDDED, Project
from generator.spec.pipeline import Limits
from generator.workspace import open_workspace
from loadtest.raw_http import JSON_BYTES
from loadtest.traffic import payloads as module
from loadtest.traffic.payloads import from_wire, payloads_of, wire

CLONE = Path(__file__).parents[3]
NAMES = ("digits", "photos", "canvas", "detector")
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    project = Project(CLONE)
    work = open_workspace(project, [project.specs / f"{name}.yaml" for name in NAMES], EMBEDDED)
    work.stop_on_errors()
    return {plan.name: plan for plan in work.plans[EMBEDDED]} | {"embeddings": embeddings()}


def made(inputs: tuple[Tensor, ...], batch: int = 4, data: str | None = None) -> Plan:
    ensemble = EnsemblePlan("p", inputs, (), batch, ())
    return Plan(
        "p", TargetPlan("embedded", "24.10", None, frozenset()), "p.yaml", None, Limits(), (), ensemble, data, None,
        Places("p.yaml"),
    )  # fmt: skip


def embeddings() -> Plan:
    """What a client of specs/embeddings.yaml sends: its model is not part of the project, its texts are."""
    return made((Tensor("text", "STRING", (1,)),), 32, "data/embeddings-gate.npz")


EVERY = (
    Tensor("text", "STRING", (1,)), Tensor("image", "STRING", (1,), encoded=True), Tensor("x", "FP32", (3, 2)),
    Tensor("half", "FP16", (5,)), Tensor("wide", "FP64", (1,)), Tensor("ids", "INT64", (-1,)),
    Tensor("small", "INT8", (2,)), Tensor("pixels", "UINT8", (2, 2)), Tensor("flag", "BOOL", (1,)),
)  # fmt: skip


# The bytes -------------------------------------------------------------------------------------------------


def of_triton_http(request: Any, **parameters: Any) -> tuple[bytes, int]:
    """The body of tritonclient, and how many bytes of it are JSON."""
    inputs = [
        triton_http.InferInput(name, list(array.shape), dtype).set_data_from_numpy(array)
        for name, (dtype, array) in request.items()
    ]
    body, length = triton_http.InferenceServerClient.generate_request_body(inputs, **parameters)
    return bytes(body), length


def of_triton_grpc(request: Any, model: str, **parameters: Any) -> Any:
    inputs = [
        triton_grpc.InferInput(name, list(array.shape), dtype).set_data_from_numpy(array)
        for name, (dtype, array) in request.items()
    ]
    nothing = dict.fromkeys(
        ["outputs", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "parameters"]
    )
    asked = {**nothing, "sequence_id": 0, "priority": 0, "model_version": "", "request_id": "", **parameters}
    return _get_inference_request(model_name=model, inputs=inputs, **asked)


@pytest.mark.parametrize("name", [*NAMES, "embeddings", "every type", "no batch axis"])
def test_the_bytes_are_those_of_tritonclient(plans: dict[str, Plan], name: str) -> None:
    plan = {"every type": made(EVERY), "no batch axis": made(EVERY, 0), **plans}[name]
    found = payloads_of(plan, CLONE, 1, (1, 3) if plan.max_batch_size else (1,))
    over_http, over_grpc = found.http("127.0.0.1:8000", plan.name), found.grpc(plan.name)
    assert len(over_http) == len(over_grpc) == len(found) == len(found.items) == len(found.bytes_)
    for request, sent, message, size in zip(found.requests, over_http, over_grpc, found.bytes_, strict=True):
        body, length = of_triton_http(request)
        head, _, rest = sent.partition(b"\r\n\r\n")
        assert rest == body
        lines = head.decode().split("\r\n")
        assert lines[:2] == [f"POST /v2/models/{plan.name}/infer HTTP/1.1", "Host: 127.0.0.1:8000"]
        assert f"Content-Length: {len(body)}" in lines
        assert f"{JSON_BYTES}: {length}" in lines
        assert size == len(body) - length
        expected = of_triton_grpc(request, plan.name)
        assert message == expected.SerializeToString(deterministic=True)
        assert size == sum(map(len, expected.raw_input_contents))


def test_parameters_and_headers() -> None:
    found = payloads_of(made(EVERY), CLONE, 1)
    [sent, *_] = found.http("[::1]:80", "a b", priority=3, timeout_us=2500, headers={"X-Key": "1", "X-Other": "2"})
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/a%20b/infer HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert head.endswith(b"\r\nX-Key: 1\r\nX-Other: 2")
    expected, length = of_triton_http(found.requests[0], priority=3, timeout=2500)
    assert body == expected
    assert json.loads(body[:length])["parameters"] == {"priority": 3, "timeout": 2500, "binary_data_output": True}
    [message, *_] = found.grpc("a b", priority=3, timeout_us=2500)
    both = of_triton_grpc(found.requests[0], "a b", priority=3, timeout=2500)
    assert message == both.SerializeToString(deterministic=True)


def test_bf16_is_rounded_to_the_nearest() -> None:
    values = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)
    values[0] = [1 + 2**-8, 1 + 3 * 2**-8, -np.inf]  # the first two are half-way, and go to the even one
    exact = values.astype(ml_dtypes.bfloat16)
    assert wire("BF16", values) == wire("BF16", exact) == exact.tobytes()
    assert (from_wire("BF16", [7, 3], wire("BF16", values)) == exact.astype(np.float32)).all()
    found = payloads_of(made((Tensor("x", "BF16", (3,)),)), CLONE, 1, (2,))
    assert set(found.bytes_) == {12}


def test_an_array_of_no_simple_order_and_one_of_nothing() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert wire("FP32", turned) == np.array([0, 3, 1, 4, 2, 5], np.float32).tobytes()
    assert wire("BYTES", np.zeros((0, 1), np.object_)) == b""
    assert from_wire("BYTES", [0, 1], b"").shape == (0, 1)


# What is in them -------------------------------------------------------------------------------------------


def test_every_item_is_sent_in_each_size(plans: dict[str, Plan]) -> None:
    digits = read_gate_set(CLONE / "data/digits-gate.npz", plans["digits"].inputs)
    found = payloads_of(plans["digits"], CLONE, 1, (1, 4))
    assert found.source == "256 items of data/digits-gate.npz"
    assert found.items == (1,) * 256 + (4,) * 256
    ones = [request["image"][1][0, 0] for request in found.requests[:256]]
    assert len(set(ones)) > 250
    assert set(ones) <= {item["image"] for item in digits.items}
    fours = [value for request in found.requests[256:] for value in request["image"][1][:, 0]]
    assert sorted(fours) == sorted(ones * 4)


def test_photos_differ_and_are_drawn_from_the_seed(plans: dict[str, Plan]) -> None:
    one, again, other = (payloads_of(plans["photos"], CLONE, seed).http("h:1", "m") for seed in (1, 1, 2))
    assert one == again
    assert len(set(one)) == 16
    assert not set(one) & set(other)


def test_a_size_given_twice_is_sent_twice_as_often(plans: dict[str, Plan]) -> None:
    found = payloads_of(plans["canvas"], CLONE, 1, (1, 1, 8))
    assert found.items.count(1) == 2 * found.items.count(8) == 180


def test_no_more_than_the_sender_can_hold(plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = payloads_of(plans["digits"], CLONE, 1, (1, 8))
    monkeypatch.setattr(module, "MOST_BYTES", sum(whole.bytes_) // 4)
    found = payloads_of(plans["digits"], CLONE, 1, (1, 8))
    assert found.items == (1,) * 64 + (8,) * 64
    assert len(set(found.http("h:1", "m"))) > 120
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    assert payloads_of(plans["digits"], CLONE, 1, (1, 8)).items == (1, 8)


@pytest.mark.parametrize(("sizes", "said"), [
    ((33,), "a request of 33 items is refused: `batching.max_batch_size` of `digits` is 32"),
    ((1, 0), "a request of 0 items is refused"),
    ((-1,), "a request of -1 items is refused"),
    ((), "no size of a request is given"),
])  # fmt: skip
def test_sizes_that_a_pipeline_does_not_take(plans: dict[str, Plan], sizes: tuple[int, ...], said: str) -> None:
    with pytest.raises(ProblemsError) as error:
        payloads_of(plans["digits"], CLONE, 1, sizes)
    [found] = error.value.problems
    assert (found.code, found.place.file) == ("TK859", "--batch")
    assert found.message.startswith(said)
    assert found.hint == "give sizes from 1 to 32"


def test_a_pipeline_without_a_batch_axis_takes_one_item() -> None:
    assert payloads_of(made(EVERY, 0), CLONE, 1).requests[0]["x"][1].shape == (3, 2)
    with pytest.raises(
        ProblemsError, match=r"a request of 2 items is refused: `batching.max_batch_size` of `p` is 1"
    ):
        payloads_of(made(EVERY, 0), CLONE, 1, (2,))


def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        payloads_of(embeddings(), tmp_path, 1)
