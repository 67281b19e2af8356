"""Requests packed into batches: everyone gets the own answer, and a bad one costs itself alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_engine import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonkit_runtime.batch import Joined, Tensors
from tritonkit_runtime.buffered.errors import BatchError, ShapeError
from tritonkit_runtime.buffered.requests import Pending, begin, run_joined
from tritonkit_runtime.buffered.ring import Copies, Ring

SIZES = (1, 2, 4, 8)
Spoil = Callable[[Tensors], Tensors]


def request(items: int, lot: np.random.Generator) -> Tensors:
    return {"x": lot.normal(size=(items, 3)).astype(np.float32), "k": lot.integers(0, 9, items)}


def check(tensors: Tensors, answer: object) -> None:
    assert isinstance(answer, dict), answer
    np.testing.assert_array_equal(answer["y"], 2 * tensors["x"] + tensors["k"][:, None].astype(np.float32))


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 11), max_size=9), min_size=1, max_size=5),
    st.sampled_from(("inside", "beside")),
    st.integers(0, 1000),
)
def test_any_requests_in_any_number(groups: list[list[int]], copies: Copies, seed: int) -> None:
    device, lot = FakeDevice(seed), np.random.default_rng(seed)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies=copies)
    for counts in groups:
        requests = [request(items, lot) for items in counts]
        answers = begin(ring, requests).answers()
        assert len(answers) == len(requests)
        for items, given_, answer in zip(counts, requests, answers, strict=True):
            if items <= SIZES[-1]:
                check(given_, answer)
            else:
                assert isinstance(answer, ShapeError)
                assert str(answer).startswith(f"a batch of {items} items has no bucket")
    assert ring.free == 2


def test_as_few_batches_as_keep_requests_whole() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    before = device.counts["launch"]
    requests = [request(items, lot) for items in (3, 4, 1, 5, 3, 8)]
    for given_, answer in zip(requests, begin(ring, requests).answers(), strict=True):
        check(given_, answer)
    assert device.counts["launch"] - before == 3


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"x": np.zeros((2, 3), np.float32)}, "the inputs are k, x; the request has x"),
        ({}, "the inputs are k, x; the request has none"),
        (
            {"x": np.zeros((2, 4), np.float32), "k": np.zeros(2, np.int64)},
            r"input 'x' is float32 \[2, 4\], expected FP32 \[items, 3\]",
        ),
        (
            {"x": np.zeros((2, 3)), "k": np.zeros(2, np.int64)},
            r"input 'x' is float64 \[2, 3\], expected FP32 \[items, 3\]",
        ),
        (
            {"x": np.zeros((2, 3), np.float32), "k": np.array(7)},
            r"input 'k' is int64 \[\], expected INT64 \[items\]",
        ),
        (
            {"x": np.zeros((2, 3), np.float32), "k": np.zeros(3, np.int64)},
            "the inputs of a request differ in their number of items: x has 2, k has 3",
        ),
        ({"x": np.zeros((0, 3), np.float32), "k": np.zeros(0, np.int64)}, "a batch of 0 items cannot be run"),
    ],
)
def test_a_bad_request_costs_itself_alone(bad: Tensors, sentence: str) -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES)
    good = [request(2, lot), request(1, lot)]
    first, refused, second = begin(ring, [good[0], bad, good[1]]).answers()
    check(good[0], first)
    check(good[1], second)
    assert isinstance(refused, ShapeError)
    with pytest.raises(ShapeError, match=sentence):
        raise refused
    with pytest.raises(ShapeError, match=sentence):
        ring.run(bad)


def test_arrays_that_are_not_contiguous_are_taken() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES)
    wide = lot.normal(size=(6, 6)).astype(np.float32)
    tensors: Tensors = {"x": wide[::2, ::-2], "k": np.arange(6)[::2]}
    check(tensors, ring.run(tensors))


def test_answers_are_the_callers_own() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    kept = [(given_, ring.run(given_)) for given_ in (request(8, lot) for _ in range(6))]
    ring.close()
    for given_, answer in kept:
        check(given_, answer)


def test_the_next_requests_begin_before_the_last_are_answered() -> None:
    device, lot = FakeDevice(7), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=3, copies="beside")
    groups = [[request(4, lot), request(3, lot)] for _ in range(3)]
    pending = [begin(ring, group) for group in groups]
    assert ring.free == 0
    for group, started in zip(groups, pending, strict=True):
        for given_, answer in zip(group, started.answers(), strict=True):
            check(given_, answer)
    assert ring.free == 3


def test_threads_that_begin_and_answer_get_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(5)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    lock = threading.RLock()  # the fake's streams run in one thread at a time
    for name in ("_run", "_either"):
        real = getattr(device, name)

        def alone(*arguments: object, real: object = real) -> object:
            with lock:
                return real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(device, name, alone)
    wrong: list[str] = []

    def work(seed: int) -> None:
        lot = np.random.default_rng(seed)
        for _ in range(30):
            requests = [request(int(n), lot) for n in lot.integers(1, 9, size=3)]
            try:
                for given_, answer in zip(requests, begin(ring, requests).answers(), strict=True):
                    check(given_, answer)
            except AssertionError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert ring.free == 2


def test_an_output_whose_shape_depends_on_the_data() -> None:
    device = FakeDevice(2)
    ring = Ring(device, FakeEngine(device, recordable=False, data=True), (2, 4), slots=2)

    def of(x: list[float]) -> Tensors:
        return {"x": np.array(x, np.float32)[:, None].repeat(3, 1), "k": np.zeros(len(x), np.int64)}

    answers = begin(ring, [of([1, -1]), of([1, 2, -1, 3]), of([1, 1, 1]), of([-1, -1])]).answers()
    found = [answer["found"].tolist() if isinstance(answer, dict) else str(answer) for answer in answers]
    assert found[:2] == [[0], [0, 1, 3]]
    assert found[3] == []
    together = begin(ring, [of([1, -1]), of([-1, 1])]).answers()
    assert [answer["found"].tolist() for answer in together if isinstance(answer, dict)] == [[0], [1]]
    assert "a batch of 3 items has no bucket of its own, and outputs whose shape depends on the data" in str(found[2])


def test_batches_that_get_no_lane_yet_wait_for_those_that_have_one() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    held = ring.take()
    requests = [request(8, lot) for _ in range(3)]
    for given_, answer in zip(requests, begin(ring, requests).answers(), strict=True):
        check(given_, answer)
    ring.give_back(held)


def test_who_holds_a_lane_does_not_wait_for_anothers() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    requests = [[request(8, lot) for _ in range(3)] for _ in range(2)]
    first = begin(ring, requests[0][:1])
    second = begin(ring, requests[1])
    for given_, answer in zip(requests[1], second.answers(), strict=True):
        check(given_, answer)
    check(requests[0][0], first.answers()[0])


def test_no_lane_for_so_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritonkit_runtime.buffered.requests.PATIENCE_S", 0.01)
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    held: list[Pending] = [begin(ring, [request(1, lot)]) for _ in range(2)]
    [answer] = begin(ring, [request(1, lot)]).answers()
    assert isinstance(answer, BatchError)
    assert "all 2 slots are in use" in str(answer)
    assert all(isinstance(started.answers()[0], dict) for started in held)


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=5),
    st.sampled_from(("inside", "beside")),
    st.integers(0, 1000),
)
def test_joined_requests_are_one_batch(groups: list[list[int]], copies: Copies, seed: int) -> None:
    device, lot = FakeDevice(seed), np.random.default_rng(seed)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies=copies)
    answers: list[tuple[Joined, Tensors]] = []
    for counts in groups:
        joined = Joined([request(items, lot) for items in counts])
        if sum(counts) > SIZES[-1]:
            with pytest.raises(ShapeError, match="has no bucket"):
                run_joined(ring, joined)
            continue
        before = device.counts["launch"]
        answers.append((joined, run_joined(ring, joined)))
        assert device.counts["launch"] - before == 1
    for joined, answer in answers:  # a later batch has written over nothing
        check(dict(joined), answer)
        np.testing.assert_allclose(answer["total"], joined["x"].sum(), rtol=0, atol=1e-4)
    assert ring.free == 2


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda r: {"x": r["x"]}, "the inputs are k, x; the request has x"),
        (lambda r: {**r, "x": r["x"][:, :2]}, r"input 'x' is float32 \[2, 2\], expected FP32 \[items, 3\]"),
        (lambda r: {**r, "x": r["x"].astype(np.float64)}, r"input 'x' is float64 \[2, 3\], expected FP32"),
        (lambda r: {**r, "k": r["k"][:1]}, "the inputs of the requests differ in their number of items"),
    ],
)
def test_joined_requests_that_do_not_fit_are_told_and_the_ring_goes_on(spoil: Spoil, sentence: str) -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    requests = [request(2, lot), request(2, lot)]
    with pytest.raises(ShapeError, match=sentence):
        run_joined(ring, Joined([spoil(tensors) for tensors in requests]))
    assert ring.free == 2
    check(dict(joined := Joined(requests)), run_joined(ring, joined))


def test_a_type_by_another_name_is_the_same() -> None:
    """numpy has two of 64 bits, which are equal and not one object."""
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    tensors = request(2, lot)
    other = {**tensors, "k": tensors["k"].astype(np.longlong)}
    assert other["k"].dtype == tensors["k"].dtype
    assert other["k"].dtype is not tensors["k"].dtype
    check(tensors, run_joined(ring, other))
    check(tensors, run_joined(ring, Joined([other])))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"x": np.zeros((1, 3), np.float32)}, "the inputs are k, x; the request has x"),
        ({"x": np.zeros((1, 3), np.float32), "k": np.array(7)}, r"input 'k' is int64 \[\], expected INT64 \[items\]"),
        (
            {"x": np.zeros((1, 3), np.float32), "z": np.zeros(1, np.int64)},
            "the inputs are k, x; the request has x, z",
        ),
        ({"x": np.zeros((0, 3), np.float32), "k": np.zeros(0, np.int64)}, "a batch of 0 items cannot be run"),
        ({"x": np.zeros((9, 3), np.float32), "k": np.zeros(9, np.int64)}, "a batch of 9 items has no bucket"),
        ({"x": np.zeros((2, 3), np.float32), "k": np.zeros(3, np.int64)}, "differ in their number of items"),
    ],
)
def test_a_request_alone_that_does_not_fit_takes_no_lane(bad: Tensors, sentence: str) -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    before = device.counts["launch"]
    with pytest.raises(ShapeError, match=sentence):
        run_joined(ring, bad)
    assert (ring.free, device.counts["launch"]) == (2, before)


def test_a_joined_batch_that_fails_gives_its_lane_back() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    engine = FakeEngine(device)
    ring = Ring(device, engine, SIZES, slots=2, graphs=False)
    engine.refuses = 1
    with pytest.raises(BatchError, match="the made-up engine refuses"):
        run_joined(ring, Joined([request(1, lot), request(2, lot)]))
    assert ring.free == 2
