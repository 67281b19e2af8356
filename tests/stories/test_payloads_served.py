"""The prebuilt requests of a load test, sent as they are: a real server answers them as it answers its own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from story_tools import CLONE, Running, make_project, render_to, running
from tritonclient.grpc import service_pb2

from loadtest.raw_http import ClosedLoop, triton_answer
from loadtest.traffic.payloads import Payloads, payloads_of

pytestmark = pytest.mark.server

NAMES = ("digits", "photos", "canvas", "detector")
INFER = "/inference.GRPCInferenceService/ModelInfer"
Answers = list[dict[str, Any]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("payloads")
    project = make_project(folder / "project", copied=[f"{name}.yaml" for name in NAMES])
    with running(render_to(folder / "repository", project)) as found:
        yield found


def over_raw_http(served: Running, model: str, payloads: Payloads) -> Answers:
    address = served.address("http")
    with ClosedLoop(address, 1) as loop:
        replies = loop.run(payloads.http(address, model, headers={"X-Load": "1"}), range(len(payloads)), 60)
    return [triton_answer(reply) for reply in replies]


def over_raw_grpc(served: Running, model: str, payloads: Payloads) -> Answers:
    found = []
    with grpc.insecure_channel(served.address("grpc")) as channel:
        infer = channel.unary_unary(INFER, response_deserializer=service_pb2.ModelInferResponse.FromString)
        for request in payloads.grpc(model):
            result = triton_grpc.InferResult(infer(request, timeout=30))
            found.append({output.name: result.as_numpy(output.name) for output in result.get_response().outputs})
    return found


def by_tritonclient(served: Running, model: str, payloads: Payloads) -> Answers:
    found = []
    with triton_http.InferenceServerClient(served.address("http")) as client:
        for request in payloads.requests:
            inputs = [
                triton_http.InferInput(name, list(array.shape), dtype).set_data_from_numpy(array)
                for name, (dtype, array) in request.items()
            ]
            result = client.infer(model, inputs)
            found.append({one["name"]: result.as_numpy(one["name"]) for one in result.get_response()["outputs"]})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_all_ways_get_the_same_answers(served: Running, name: str) -> None:
    whole = payloads_of(served.rendered.plans[name], Path(CLONE), 1, (1, 3))
    some = range(0, len(whole), max(1, len(whole) // 12))
    payloads = Payloads(whole.source, tuple(whole.requests[at] for at in some), tuple(whole.items[at] for at in some))
    assert set(payloads.items) == {1, 3}
    expected = by_tritonclient(served, name, payloads)
    for way in (over_raw_http, over_raw_grpc):
        answers = way(served, name, payloads)
        assert len(answers) == len(payloads)
        for answer, wanted, items in zip(answers, expected, payloads.items, strict=True):
            assert answer.keys() == wanted.keys()
            for output, value in wanted.items():
                assert len(value) == items
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(answer[output], value, rtol=1e-4, atol=1e-4)
                else:
                    assert answer[output].tolist() == value.tolist()
