"""A Locust process that `tritonkit load run` has started ends with it, however that ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import gevent
from gevent.os import tp_read

OWNED = "TRITONKIT_LOCUST_OWNED"  # set where standard input is a pipe that the owner holds open


def end_with_owner(environment: Any) -> None:  # noqa: ARG001  (the same for all)
    """Ends this process when its owner has closed standard input, by dying if need be."""
    if os.environ.get(OWNED):
        gevent.spawn(_watch)


def _watch() -> None:
    while tp_read(0, 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
