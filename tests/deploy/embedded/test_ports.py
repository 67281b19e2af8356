from __future__ import annotations

import os
import socket

import pytest

from deploy.embedded import processes
from deploy.embedded.ports import Ports, PortTakenError, choose, is_free


def test_free_ports_are_three_different_ones() -> None:
    chosen = choose(Ports())
    assert len(chosen.numbers()) == 3
    assert all(is_free(port) for port in chosen.numbers())


def test_a_named_port_is_kept(listening: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert choose(Ports(grpc=port)).grpc == port


def test_a_taken_port_names_its_holder(listening: int) -> None:
    with pytest.raises(PortTakenError) as caught:
        choose(Ports(http=listening))
    assert f"port {listening}, wanted for http, is taken by process {os.getpid()} (" in caught.value.message
    assert f"kill {os.getpid()}" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Ports(http=70000), "70000, wanted for http, is no TCP port"),
        (Ports(metrics=-1), "-1, wanted for metrics, is no TCP port"),
        (Ports(http=9000, grpc=9000), "^port 9000 is wanted for http and grpc, and each service needs its own$"),
    ],
)
def test_impossible_ports(wanted: Ports, sentence: str) -> None:
    with pytest.raises(PortTakenError, match=sentence):
        choose(wanted)


def test_listeners_are_told_apart(listening: int) -> None:
    assert processes.listens_on(os.getpid(), {listening})
    assert not processes.listens_on(os.getppid(), {listening})
    assert processes.port_holder(listening) == os.getpid()


def test_a_process_is_its_id_and_its_start() -> None:
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    assert processes.lives(os.getpid(), ticks)
    assert not processes.lives(os.getpid(), ticks + 1)
    assert processes.start_ticks(2**22 + 1) is None
    assert processes.command_line(2**22 + 1) == ""
