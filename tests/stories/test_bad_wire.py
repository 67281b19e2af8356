"""Requests whose bytes lie about themselves: each gets an error or a closed connection, and nobody else notices."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile_files import digit
from hostile_requests import ask, images
from hostile_stream import Meanwhile, good_requests, right_labels
from hostile_wire import (
    Grpc,
    HttpReply,
    Tensor,
    exchange,
    grpc_request,
    http_request,
    lying_tensors,
    malformed_grpc,
    malformed_http,
    mutated,
    spoiling_tensors,
    strings,
)
from story_tools import Rendered, Running, running

pytestmark = pytest.mark.server

ANSWERED_S = 10.0  # a case takes some ms, and 0.3 s for 100 MB; this says that nothing hangs
BY_CHANCE, AT_ONCE = 150, 4
SEED = 20_000


@pytest.fixture(scope="module")
def server(rendered: Rendered) -> Iterator[Running]:
    """A server of these tests' own, so that no other suffers from it."""
    with running(rendered) as started:
        yield started


@pytest.fixture(scope="module")
def grpc(server: Running) -> Iterator[Grpc]:
    channel = Grpc(server.address("grpc"))
    yield channel
    channel.close()


@pytest.fixture(autouse=True)
def meanwhile(server: Running) -> Iterator[Meanwhile]:
    """Good requests over both protocols go on during each test."""
    with good_requests(server) as spoiled:
        yield spoiled


def test_what_is_put_together_by_hand_is_answered_where_it_does_not_lie(server: Running, grpc: Grpc) -> None:
    [[best, *_]] = right_labels(server.rendered, [digit()])
    tensor = Tensor(strings(digit()))
    reply = exchange(server.address("http"), http_request(tensor))
    assert reply.status == 200
    assert f'"data":["{best}",'.encode() in reply.body
    code, answer = grpc.send(grpc_request(tensor).SerializeToString())
    assert code == "ok"
    assert strings(best.encode()).decode() in answer


def check_both(server: Running, grpc: Grpc, tensor: Tensor, sentence: str) -> None:
    """The tensor gets that error, over both protocols alike."""
    start = time.monotonic()
    reply = exchange(server.address("http"), http_request(tensor))
    code, message = grpc.send(grpc_request(tensor).SerializeToString())
    assert time.monotonic() - start < ANSWERED_S
    assert reply.status == 400
    assert (code, message) == ("invalid_argument", reply.message)
    assert message.startswith(sentence)


@pytest.mark.parametrize("lie", lying_tensors())
def test_a_tensor_that_lies_gets_the_same_error_over_both_protocols(server: Running, grpc: Grpc, lie: str) -> None:
    check_both(server, grpc, *lying_tensors()[lie])


@pytest.mark.parametrize("lie", spoiling_tensors())
def test_a_string_that_is_cut_may_fail_its_batch_and_nothing_after_it(
    server: Running, grpc: Grpc, lie: str, meanwhile: Meanwhile
) -> None:
    tensor, meanwhile.spoiled = spoiling_tensors()[lie]
    check_both(server, grpc, tensor, meanwhile.spoiled)


@pytest.mark.parametrize("items", [0, 2**32])
def test_a_batch_axis_that_is_none_to_the_server(server: Running, grpc: Grpc, items: int) -> None:
    # Triton takes the size of a batch modulo 2^32, and 0 for a tensor without a batch axis. An ensemble then runs
    # its models with one item and answers without that axis; a model alone is given the tensor as it is.
    tensor = Tensor(strings(digit()), (items, 1))
    reply = exchange(server.address("http"), http_request(tensor))
    assert json.loads(reply.body)["outputs"][0]["shape"] == [3]
    preprocess = exchange(server.address("http"), http_request(tensor, path="/v2/models/digits_preprocess/infer"))
    code, message = grpc.send(grpc_request(tensor, model="digits_preprocess").SerializeToString())
    assert (preprocess.status, preprocess.message) == (400, message)
    assert (code, message) == (
        "invalid_argument",
        "input 'image' has a batch axis of length 0; a request holds at least one item",
    )


@pytest.mark.parametrize("fault", malformed_http())
def test_malformed_http(server: Running, fault: str) -> None:
    sent, status = malformed_http()[fault]
    start = time.monotonic()
    reply = exchange(server.address("http"), sent)
    assert time.monotonic() - start < ANSWERED_S
    assert reply.status == status
    if status:
        assert reply.message
    else:
        assert reply == HttpReply(0, b"")


@pytest.mark.parametrize("fault", malformed_grpc())
def test_malformed_grpc(grpc: Grpc, fault: str) -> None:
    sent, expected = malformed_grpc()[fault]
    start = time.monotonic()
    code, message = grpc.send(sent)
    assert time.monotonic() - start < ANSWERED_S
    assert code == expected, message
    assert message


def test_a_body_that_never_ends_keeps_only_its_own_client_waiting(server: Running) -> None:
    cut = http_request(Tensor(strings(digit())))[:-20]
    address = server.address("http")
    with pytest.raises(TimeoutError):
        exchange(address, cut, patience_s=0.5)
    assert exchange(address, cut, half_closed=True) == HttpReply(0, b"")
    host, _, port = address.partition(":")
    waiting = [socket.create_connection((host, int(port))) for _ in range(64)]  # many times its threads
    try:
        for connection in waiting:
            connection.sendall(cut)
        [right] = right_labels(server.rendered, [digit()])
        assert ask(address, "http", images([digit()])).labels == [right]
        waiting[0].sendall(http_request(Tensor(strings(digit())))[-20:])
        waiting[0].settimeout(ANSWERED_S)
        assert waiting[0].recv(100).startswith(b"HTTP/1.1 200 OK"), "and is answered once it does end"
    finally:
        for connection in waiting:
            connection.close()


def test_bytes_changed_by_chance_harm_nobody(server: Running, grpc: Grpc, meanwhile: Meanwhile) -> None:
    meanwhile.spoiled = "incomplete string data"  # chance may cut a string
    good = Tensor(strings(digit()))
    http_seeds = [http_request(good), *(sent for sent, _ in malformed_http().values() if len(sent) < 10_000)]
    grpc_seeds = [grpc_request(tensor).SerializeToString() for tensor, _ in lying_tensors().values()]

    def send(number: int) -> str:
        chance = random.Random(SEED + number)
        if number % 2:
            return grpc.send(mutated(chance, chance.choice(grpc_seeds)))[0]
        try:
            sent = mutated(chance, chance.choice(http_seeds))
            return str(exchange(server.address("http"), sent, half_closed=True).status)
        except (TimeoutError, OSError) as error:
            return type(error).__name__

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(send, range(2 * BY_CHANCE)))
    assert "deadline_exceeded" not in outcomes
    assert outcomes.count("TimeoutError") == 0, "a request that has ended is answered, or its connection closed"
    assert len(set(outcomes)) > 5, "chance was to find many ways to fail"
