"""Load through Locust, open loop and timed from when requests are due: `locust -f loadtest/locustfile.py`.

    tritonkit serve &
    locust -f loadtest/locustfile.py --headless --spec specs/digits.yaml --rate 300 --duration 30 --url 127.0.0.1:8000

Locust starts it, spreads it over workers, and shows it; sender processes of ours send, because what shares a process
with an event loop and a statistics table leaves late. The arrivals are those of `tritonkit load run` with the same
seed, and so are the files that stay: run.json and samples.bin. Users of Locust do nothing here: one is enough.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust import User, events, task
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtest.locust_driver import options, precise
from loadtest.locust_driver.coordinator import Coordinator
from loadtest.locust_driver.owner import end_with_owner
from loadtest.locust_driver.worker import Worker

precise.install()


class Watcher(User):
    """Locust wants a user. The load does not depend on how many there are."""

    @task
    def watch(self) -> None:
        """Nothing."""
        gevent.sleep(1)


def _options(parser: Any) -> None:
    options.add_to(parser)


def _roles(environment: Any, **_: Any) -> None:
    """A coordinator, a worker, or both in one process."""
    if isinstance(environment.runner, WorkerRunner | LocalRunner):
        Worker(environment)
    if isinstance(environment.runner, MasterRunner | LocalRunner):
        Coordinator(environment)
    end_with_owner(environment)


events.init_command_line_parser.add_listener(_options)  # type: ignore[no-untyped-call]
events.init.add_listener(_roles)  # type: ignore[no-untyped-call]
