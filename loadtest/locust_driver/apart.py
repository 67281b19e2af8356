"""Work in a thread of gevent's, beside which the other greenlets go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def apart(work: Callable[[], Found]) -> Found:
    """What `work` returns, or raises: Locust's heart has to beat meanwhile.

    gevent prints the traceback of whatever a thread of its pool raises, a user's mistake too. So nothing leaves the
    thread that way: it is handed over as a value, and raised here.
    """
    import gevent

    def done() -> tuple[Found | None, Exception | None]:
        try:
            return work(), None
        except Exception as error:  # noqa: BLE001 — raised again by who waits for it
            return None, error

    found, error = gevent.get_hub().threadpool.apply(done)
    if error is not None:
        raise error
    result: Found = found
    return result
