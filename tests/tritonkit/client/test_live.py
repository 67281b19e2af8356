"""The client against a real tritonserver: equal answers by every way, each item's own error, order, streams."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit import (
    Answer,
    AsyncPipeline,
    Contract,
    ContractError,
    Pipeline,
    ServerUnreachableError,
    TensorContract,
    UnknownPipelineError,
    UnknownVersionError,
)

pytestmark = pytest.mark.server


def as_data(answer: Answer) -> tuple[Any, ...]:
    outputs = {name: (str(value.dtype), value.tolist()) for name, value in answer.outputs.items()}
    return answer.index, answer.source, outputs, answer.error


def test_each_item_has_its_own_answer_or_error(server: Any, caller: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"\0in a file")
    items = [b"one", b"bad item", file, str(tmp_path / "none"), np.zeros(3), b"", b"x" * 3_000_000]
    answers = caller.infer("echo", server.addresses[caller.protocol], items)
    assert [a.index for a in answers] == list(range(7))
    assert [a.source for a in answers] == ["", "", str(file), str(tmp_path / "none"), "", "", ""]
    codes = [a.error.code if a.error else None for a in answers]
    assert codes == [None, "invalid_argument", None, "unreadable_file", "invalid_argument", None, None]
    assert answers[1].error.message == "cannot decode bad item: not an image"
    assert (answers[0].text.tolist(), answers[0].size.tolist()) == (["one"], [3])
    assert answers[0].score.dtype == np.float32
    assert answers[0].score.tolist() == [3.0, 0.5, -1.0]
    assert answers[2].text.tolist() == ["\0in a file"]
    assert answers[6].size.tolist() == [3_000_000]
    assert [a.latency_us > 0 for a in answers] == [True, True, True, False, False, True, True]


def test_all_four_ways_give_equal_answers(server: Any, callers: list[Any]) -> None:
    items = [b"%d" % i if i % 7 else b"bad%d" % i for i in range(50)]
    found = [[as_data(a) for a in c.infer("echo", server.addresses[c.protocol], items)] for c in callers]
    assert found[0] == found[1] == found[2] == found[3]
    assert sum(error is not None for *_, error in found[0]) == 8


@pytest.mark.parametrize("model", ["echo", "wrapped"])
@pytest.mark.parametrize(
    ("item", "code", "message"),
    [
        (b"bad1", "invalid_argument", "cannot decode bad1: not an image"),
        (b"crash", "internal", "ValueError: the model met an item that it cannot bear"),
    ],
)
def test_errors_are_alike_by_both_protocols_and_inside_an_ensemble(
    server: Any, caller: Any, model: str, *, item: bytes, code: str, message: str
) -> None:
    (answer,) = caller.infer(model, server.addresses[caller.protocol], [item])
    assert (answer.error.code, answer.error.message) == (code, message)
    assert message in answer.error.raw


def test_500_items_keep_their_order(server: Any, caller: Any) -> None:
    items = (b"%d" % i for i in range(500))
    answers = caller.infer("echo", server.addresses[caller.protocol], items, in_flight=16)
    assert [a.text.tolist() for a in answers] == [[str(i)] for i in range(500)]
    assert [a.index for a in answers] == list(range(500))


def test_no_items(server: Any, caller: Any) -> None:
    assert caller.infer("echo", server.addresses[caller.protocol], []) == []


@pytest.mark.alone  # it tells waiting from not waiting by time
def test_in_flight_is_the_most_that_is_sent_at_once(server: Any, caller: Any) -> None:
    # Four instances that take 0.2 s each: of five items sent at once, one has to wait for another's end.
    items = [np.array([0.2], np.float32)] * 5
    address = server.addresses[caller.protocol]
    one = caller.infer("slow", address, items, in_flight=1)
    assert max(a.latency_us for a in one) < 390_000
    five = caller.infer("slow", address, items, in_flight=5)
    assert max(a.latency_us for a in five) >= 390_000


def test_several_inputs(server: Any, caller: Any) -> None:
    matrix, counts = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2, 3, 4], np.int32)
    items = [
        {"matrix": matrix, "counts": counts},
        {"matrix": matrix, "counts": counts, "words": [b"ab", b"\0"], "half": np.ones(2, np.float16)},
        {"matrix": matrix},
        {"matrix": matrix.astype(np.float64), "counts": counts},
        {"matrix": matrix, "counts": counts.reshape(2, 2)},
    ]
    answers = caller.infer("numeric", server.addresses[caller.protocol], items)
    np.testing.assert_array_equal(answers[0].twice, matrix * 2)
    assert [a.total.tolist() for a in answers[:2]] == [[10], [13]]
    assert answers[2].error.message.startswith("no value for input 'counts'; inputs: matrix (FP32 [2, 3]), ")
    assert answers[3].error.message == "input 'matrix' takes FP32 [2, 3], found FP64 [2, 3]: use .astype('float32')"
    assert answers[4].error.message == "input 'counts' takes INT32 [-1], found INT32 [2, 2]"


def test_a_deadline_is_one_items_error(server: Any, caller: Any) -> None:
    items = [np.array([seconds], np.float32) for seconds in (0.0, 0.9, 0.0)]
    start = time.monotonic()
    answers = caller.infer("slow", server.addresses[caller.protocol], items, deadline_s=0.4)
    assert time.monotonic() - start < 0.85
    assert [a.ok for a in answers] == [True, False, True]
    assert (answers[1].error.code, answers[1].error.message) == ("deadline_exceeded", "no answer within 0.4 s")


def test_an_unknown_pipeline_names_the_likeliest(server: Any, caller: Any) -> None:
    address = server.addresses[caller.protocol]
    with pytest.raises(UnknownPipelineError) as caught:
        caller.infer("ecco", address, [b"x"])
    expected = (
        f"the server at {address} has no model 'ecco'; it has: echo, numeric, slow, wrapped; did you mean 'echo'?"
    )
    assert str(caught.value) == expected


def test_one_version_of_a_pipeline(server: Any, caller: Any) -> None:
    address = server.addresses[caller.protocol]
    [answer] = caller.infer("echo", address, [b"x"], version="1")
    assert answer.ok
    with pytest.raises(UnknownVersionError) as caught:
        caller.infer("echo", address, [b"x"], version="7")
    assert str(caught.value) == f"the server at {address} does not serve version 7 of 'echo'; it serves: 1"
    with pytest.raises(UnknownPipelineError, match="has no model 'ecco'"):
        caller.infer("ecco", address, [b"x"], version="7")
    for wrong in ("0", "01", "-1", "x", "", "1.0"):
        with pytest.raises(ValueError, match="give a number from 1 on as text"):
            caller.infer("echo", address, [b"x"], version=wrong)


def test_the_other_protocols_port(server: Any, caller: Any) -> None:
    other = {"grpc": "http", "http": "grpc"}[caller.protocol]
    with pytest.raises(ServerUnreachableError, match="or give its address for this protocol"):
        caller.infer("echo", server.addresses[other], [b"x"], deadline_s=5.0)


def test_a_contract_is_compared_at_first_use(server: Any, caller: Any) -> None:
    address = server.addresses[caller.protocol]
    data, text = TensorContract("data", "STRING", (1,)), TensorContract("text", "STRING", (1,))
    good = Contract("echo", (data,), (text,), 32)
    (answer,) = caller.infer("echo", address, [b"x"], contract=good)
    assert list(answer.outputs) == ["text"]
    bad = Contract("echo", (TensorContract("image", "STRING", (1,)),), (TensorContract("text", "FP32", (3,)),), 8)
    with pytest.raises(ContractError) as caught:
        caller.infer("echo", address, [b"x"], contract=bad)
    assert caught.value.differences == (
        "the server has no input 'image'; its inputs: 'data'",
        "the server also wants input 'data' (STRING [1])",
        "output 'text' is FP32 [3] here and STRING [1] on the server",
    )


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_contract_of_the_server(server: Any, protocol: Any) -> None:
    with Pipeline("numeric", server.addresses[protocol], protocol=protocol) as pipeline:
        assert pipeline.contract == Contract(
            "numeric",
            (
                TensorContract("matrix", "FP32", (2, 3)),
                TensorContract("counts", "INT32", (-1,)),
                TensorContract("half", "FP16", (2,), optional=True),
                TensorContract("words", "STRING", (2,), optional=True),
            ),
            (TensorContract("twice", "FP32", (2, 3)), TensorContract("total", "INT32", (1,))),
            4,
        )


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_one_pipeline_serves_several_threads(server: Any, protocol: Any) -> None:
    found: dict[int, list[Any]] = {}
    with Pipeline("echo", server.addresses[protocol], protocol=protocol, in_flight=4) as pipeline:

        def use(number: int) -> None:
            answers = pipeline.infer([b"%d-%d" % (number, i) for i in range(60)])
            found[number] = [a.text.tolist()[0] for a in answers]

        threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: [f"{n}-{i}" for i in range(60)] for n in range(4)}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_failing_source_of_items_raises_and_leaves_the_pipeline_usable(server: Any, protocol: Any) -> None:
    def items() -> Iterator[bytes]:
        yield from (b"a", b"b")
        raise KeyError("source")

    with Pipeline("echo", server.addresses[protocol], protocol=protocol) as pipeline:
        with pytest.raises(KeyError, match="source"):
            pipeline.infer(items())
        assert pipeline.infer_one(b"c").text.tolist() == ["c"]

    async def call() -> None:
        async with AsyncPipeline("echo", server.addresses[protocol], protocol=protocol) as pipeline:
            with pytest.raises(KeyError, match="source"):
                await pipeline.infer(items())
            assert (await pipeline.infer_one(b"c")).text.tolist() == ["c"]

    asyncio.run(call())


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_stream_answers_while_items_come(server: Any, protocol: Any) -> None:
    async def call() -> list[str]:
        answered: asyncio.Queue[str] = asyncio.Queue()
        found = []

        async def items() -> AsyncIterator[bytes]:
            for i in range(5):
                yield b"%d" % i
                assert await asyncio.wait_for(answered.get(), 10) == str(i)  # the next comes after this answer

        async with AsyncPipeline("echo", server.addresses[protocol], protocol=protocol) as pipeline:
            async for answer in pipeline.stream(items()):
                found.append(answer.text.tolist()[0])
                answered.put_nowait(found[-1])
        return found

    assert asyncio.run(call()) == ["0", "1", "2", "3", "4"]


def test_a_stream_reads_only_a_little_ahead_and_can_be_left(server: Any) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"%d" % read

    async def call() -> int:
        async with AsyncPipeline("echo", server.addresses["grpc"], in_flight=2) as pipeline:
            stream = pipeline.stream(endless())
            first = [await anext(stream) for _ in range(20)]
            await stream.aclose()
            assert [a.text.tolist()[0] for a in first] == [str(i + 1) for i in range(20)]
        return len(asyncio.all_tasks())

    assert asyncio.run(call()) == 1
    assert 20 <= read <= 20 + 2 * 4 + 2


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_no_thread_and_no_connection_is_left(server: Any, protocol: Any) -> None:
    def use() -> None:
        with Pipeline("echo", server.addresses[protocol], protocol=protocol) as pipeline:
            assert pipeline.infer_one(b"x").ok
        forgotten = Pipeline("echo", server.addresses[protocol], protocol=protocol)
        assert forgotten.infer_one(b"x").ok

    use()  # threads that libraries start once for the whole process
    settle(stable_s=0.3)
    before = census()
    for _ in range(5):
        use()
    deadline = time.monotonic() + 10
    while any(now > then for now, then in zip(census(), before, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(now <= then for now, then in zip(census(), before, strict=True)), (before, census())


def census() -> tuple[int, int, int]:
    """Threads of Python, threads of the process, sockets."""
    sockets = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            sockets += "socket" in str(entry.readlink())
    return threading.active_count(), len(list(Path("/proc/self/task").iterdir())), sockets


def settle(stable_s: float) -> None:
    """Waits until the figures have not changed for a while."""
    deadline, last, since = time.monotonic() + 10, census(), time.monotonic()
    while time.monotonic() - since < stable_s and time.monotonic() < deadline:
        time.sleep(0.02)
        if (now := census()) != last:
            last, since = now, time.monotonic()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    server: Any, caller: Any, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    address = server.addresses[caller.protocol].replace("127.0.0.1", host)
    [answer] = caller.infer("echo", address, [b"one"])
    assert answer.text.tolist() == ["one"]
