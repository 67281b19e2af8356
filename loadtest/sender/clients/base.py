"""What a client of the sender is given, and what it has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from loadtest.sender.ledger import Ledger
from loadtest.sender.orders import Orders

GIVEN_UP = "no answer before the run was stopped"
OPENED_BEFORE = 32  # connections that are opened before the start (fewer if fewer are allowed), the rest on demand
CANCEL_AFTER_NS = 500_000  # so long after it was sent is a request cancelled, if its answer has not come by then


@dataclass
class Work:
    """What is to be sent. `due_ns`, `pipeline`, `payload` are [requests]; `cancel` too, or None if none is.

    `start_ns` is the instant of CLOCK_MONOTONIC from which everything counts; it is set when it is known.
    `kept` takes the answers by request, or is None when nobody asks for them.
    """

    orders: Orders
    ledger: Ledger
    due_ns: memoryview
    pipeline: memoryview
    payload: memoryview
    cancel: memoryview | None = None
    start_ns: int = 0
    kept: dict[int, Any] | None = None


class Client(Protocol):
    """Sends requests and records how they went. Everything is called from one thread."""

    in_flight: int
    connections_opened: int
    waited_for_connection: int

    @property
    def most_in_flight(self) -> int:
        """How many requests may be unanswered at once before others wait; 0: any number."""

    def open(self) -> None:
        """Connects. Raises OSError when it cannot."""

    def send(self, index: int) -> None:
        """Sends a request of the schedule now, or as soon as there is a connection. Never waits, never raises."""

    def wait(self, timeout_s: float) -> None:
        """Takes answers; returns after the first ones, or after the time."""

    def expire(self, now_ns: int) -> None:
        """Ends what is past its deadline and what is to be cancelled. Time counts from the start."""

    def give_up(self) -> None:
        """Records whatever is still under way as a timeout: the run ends without its answer."""

    def close(self) -> None:
        """Closes every connection."""
