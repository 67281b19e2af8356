"""Rates, the comparison of answers under load, and what is asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.http as triton

from generator.plan import Places, Plan, TargetPlan, Tensor
from generator.problems import UserError
from generator.spec.pipeline import Limits
from loadtest.layouts.answers import AnswersDifferError
from loadtest.layouts.data import MADE_ITEMS, data_of, made_items, requests_of, tensors_of
from loadtest.layouts.turn import Checker, Mode, Served, in_turns, rate, rows
from loadtest.raw_http import Reply

MODE = Mode("capacity", 2, 4)


# Rates -----------------------------------------------------------------------------------------------------


def test_a_steady_stream_has_its_rate() -> None:
    assert rate(list(range(1000, 1_200_000, 1000)), 1.0, 1) == pytest.approx(1000, rel=1e-6)


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_batches_that_come_at_once_do_not_round_it(seconds: float) -> None:
    """32 answers every 0.13 s are 246 a second; counting them within the second gives 224 or 256."""
    times = [moment for moment in range(130_000, 1_200_000, 130_000) for _ in range(32)]
    assert rate(times, seconds, 32) == pytest.approx(32 / 0.13, rel=1e-6)


@pytest.mark.parametrize("done", [[], [5000], [900_000], [5000, 5000], [900_000, 900_000], [1_100_000, 1_200_000]])
def test_too_few_answers(done: list[int]) -> None:
    with pytest.raises(UserError, match="too few") as error:
        rate(done, 1.0, 1)
    assert error.value.hint == "give more --seconds"
    with pytest.raises(UserError, match="with 4 requests in flight saw 3 answers"):
        rate([500_000, 600_000, 700_000], 1.0, 4)


def test_every_layout_has_a_turn_in_every_mode_a_round() -> None:
    served = [one("ensemble"), one("fused")]
    found = list(in_turns(5, served, [MODE, Mode("latency", 1, 1)], 3))
    assert len(found) == 5 * 4
    orders = set()
    for number in range(1, 6):
        of_round = tuple((s.layout, mode.name) for n, s, mode in found if n == number)
        assert len(set(of_round)) == 4
        orders.add(of_round)
    assert len(orders) > 1


# Answers under load ----------------------------------------------------------------------------------------


def one(layout: str, *, batched: bool = True) -> Served:
    requests = {"capacity": [(0, 1), (1, 2)], "single": [(0,), (1,), (2,)]}
    return Served(layout, layout, (layout,), True, batched, {}, requests)


def reply(payload: int, scores: list[list[float]], status: int = 200) -> Reply:
    """As Triton answers in its binary extension."""
    tensor = triton.InferInput("score", [len(scores), len(scores[0])], "FP32")
    tensor.set_data_from_numpy(np.array(scores, np.float32))
    body, length = triton.InferenceServerClient.generate_request_body([tensor])
    # An answer has the same form with `outputs` in the place of `inputs`, and one letter more.
    body = bytes(body).replace(b'"inputs"', b'"outputs"')
    head = f"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {length + 1}\r\n".encode()
    return Reply(payload, 0, 1, status, head, body)


EXPECTED = [{"score": np.array([index, 1.0], np.float32)} for index in range(3)]


def test_answers_under_load_are_compared_with_those_to_single_items() -> None:
    checker = Checker("ensemble", EXPECTED, 1e-5)
    checker.check(one("fused"), MODE, [reply(0, [[0, 1], [1, 1]]), reply(1, [[1, 1], [2, 1.00001]])])
    assert 0 < checker.largest["score"] < 2e-5
    with pytest.raises(AnswersDifferError, match=r"item 2, output `score`\[0\]: 2 in ensemble, 3 in fused at 4 in f"):
        checker.check(one("fused"), MODE, [reply(0, [[0, 1], [1, 1]]), reply(1, [[1, 1], [3, 1]])])


def test_an_answer_to_another_item_is_wrong_though_it_was_right_before() -> None:
    checker = Checker("ensemble", EXPECTED, 1e-5)
    right = reply(0, [[0, 1], [1, 1]])
    checker.check(one("fused"), MODE, [right])
    with pytest.raises(AnswersDifferError, match="item 1, output `score`"):
        checker.check(one("fused"), MODE, [Reply(1, 0, 1, 200, right.head, right.body)])


def test_an_error_is_told_with_the_servers_words() -> None:
    failed = Reply(1, 0, 1, 400, b"HTTP/1.1 400 Bad Request\r\n", b'{"error":"no such image"}')
    with pytest.raises(UserError, match=r"layout fused does not answer items 1 to 2: status 400: .*no such image"):
        rows(one("fused"), (1, 2), failed)
    with pytest.raises(UserError, match="layout fused does not answer item 7"):
        rows(one("fused"), (7,), failed)


def test_rows_of_a_batch_and_of_none() -> None:
    batch = reply(0, [[0, 1], [2, 3]])
    assert [row["score"].tolist() for row in rows(one("fused"), (0, 1), batch)] == [[0, 1], [2, 3]]
    assert rows(one("fused", batched=False), (0,), batch)[0]["score"].shape == (2, 2)


# What is asked ---------------------------------------------------------------------------------------------


def plan(inputs: tuple[Tensor, ...], batch: int = 4, data: str | None = None) -> Plan:
    from generator.plan import EnsemblePlan

    ensemble = EnsemblePlan("p", inputs, (), batch, ())
    return Plan(
        "p", TargetPlan("embedded", "24.10", None, frozenset()), "p.yaml", None, Limits(), (), ensemble, data, None,
        Places("p.yaml"),
    )  # fmt: skip


def test_every_item_is_in_equally_many_requests() -> None:
    found = requests_of(5, 2)
    assert found == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]
    assert requests_of(1, 3) == [(0, 0, 0)]


def test_made_items_repeat_with_their_seed_and_can_be_read() -> None:
    inputs = (
        Tensor("image", "STRING", (1,), encoded=True), Tensor("text", "STRING", (1,)), Tensor("x", "FP16", (3, -1)),
        Tensor("ids", "INT64", (2,)), Tensor("pixels", "UINT8", (4, 4)), Tensor("flag", "BOOL", (1,)),
    )  # fmt: skip
    first, again, other = made_items(inputs, 1), made_items(inputs, 1), made_items(inputs, 2)
    assert len(first) == MADE_ITEMS
    assert [item["image"] for item in first] == [item["image"] for item in again]
    assert first[0]["image"] not in {item["image"] for item in (*other, *first[1:])}
    assert cv2.imdecode(np.frombuffer(first[0]["image"], np.uint8), cv2.IMREAD_COLOR).shape == (375, 500, 3)
    assert first[0]["text"].decode().split()
    dtypes = {name: str(value.dtype) for name, value in first[0].items() if not isinstance(value, bytes)}
    assert dtypes == {"x": "float16", "ids": "int64", "pixels": "uint8", "flag": "bool"}
    assert first[0]["x"].shape == (3, 16)
    assert "16 random images" in data_of(plan(inputs), Path(), 1).source


def test_tensors_of_a_request() -> None:
    inputs = (Tensor("text", "STRING", (1,)), Tensor("x", "FP32", (2,)))
    items = [{"text": b"a", "x": np.zeros(2, np.float32)}, {"text": b"b", "x": np.ones(2, np.float32)}]
    found = tensors_of(plan(inputs), items)
    assert (found["text"][0], found["text"][1].tolist()) == ("BYTES", [[b"a"], [b"b"]])
    assert (found["x"][0], found["x"][1].shape) == ("FP32", (2, 2))
    alone = tensors_of(plan(inputs, batch=0), items[:1])
    assert (alone["text"][1].tolist(), alone["x"][1].shape) == ([b"a"], (2,))


def test_a_gate_set_is_taken_evenly(tmp_path: Path) -> None:
    np.savez(tmp_path / "gate.npz", x=np.arange(1000, dtype=np.float32)[:, None])
    found = data_of(plan((Tensor("x", "FP32", (1,)),), data="gate.npz"), tmp_path, 1)
    assert found.source == "256 items of gate.npz"
    steps = np.diff([item["x"][0] for item in found.items])
    assert set(steps) == {3.0, 4.0}
    np.savez(tmp_path / "gate.npz", x=np.zeros((0, 1), np.float32))
    with pytest.raises(UserError, match="has no items"):
        data_of(plan((Tensor("x", "FP32", (1,)),), data="gate.npz"), tmp_path, 1)
