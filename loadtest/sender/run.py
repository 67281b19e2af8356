"""What the sending process does, from its orders to its report."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from generator.problems import ProblemsError
from loadtest.samples.file import SampleWriter
from loadtest.sender.answers import write_answers
from loadtest.sender.clients.base import Client, Work
from loadtest.sender.clients.choose import client_of
from loadtest.sender.codes import mistake
from loadtest.sender.files import (
    SAMPLES,
    read_orders,
    read_requests,
    read_schedule,
    write_report,
)
from loadtest.sender.ledger import Ledger
from loadtest.sender.orders import NOT_KEPT, Orders, SenderReport
from loadtest.sender.pace import Pace
from loadtest.sender.watch import Watch, clock_resolution_ns, exact_timers, real_time
from loadtest.traffic.schedule import Schedule

_LOOK_S = 0.1


def main(folder: Path) -> int:
    """Sends the schedule of the folder; 0 when the report is told, 1 when it could not begin."""
    orders, keep_answers = read_orders(folder)
    schedule = read_schedule(folder)
    meta = {**asdict(orders), "headers": sorted(orders.headers)}  # their values may be secrets
    with SampleWriter(folder / SAMPLES, {"drawn": schedule.drawn, "orders": meta}) as samples:
        views = (_view(schedule.due_ns), _view(schedule.pipeline), _view(schedule.payload))
        cancel = _to_cancel(orders, schedule)
        ledger = Ledger(samples.append, *views, cancel=cancel, deadline_ns=orders.deadline_us * 1000)
        work = Work(orders, ledger, *views, cancel, kept={} if keep_answers else None)
        client: Client | None = None
        try:
            client = client_of(work, [read_requests(folder, index) for index in range(len(orders.pipelines))])
            _open(client, orders)
            report = _send(work, client)
            if work.kept is not None:
                write_answers(folder, work.kept)
        except ProblemsError as error:
            [problem] = error.problems
            _tell(mistake=[problem.code, problem.field, problem.message, problem.hint])
            return 1
        finally:
            if client is not None:
                client.close()
    with contextlib.suppress(OSError):  # on a full disk the report is told all the same
        write_report(folder, report)
    _tell(report=asdict(report))
    return 0


def _view(array: Any) -> memoryview:
    return np.ascontiguousarray(array).data


def _to_cancel(orders: Orders, schedule: Schedule) -> memoryview | None:
    """Which requests are cancelled, drawn from the orders' seed."""
    if not orders.cancel:
        return None
    return _view(np.random.default_rng(orders.seed).random(len(schedule)) < orders.cancel)


def _open(client: Client, orders: Orders) -> None:
    try:
        client.open()
    except OSError as error:
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        message = f"no server answers at {orders.address} ({orders.protocol}): {words}"
        raise mistake("TK861", "address", message, "start the server first, or mend the address") from error


def _send(work: Work, client: Client) -> SenderReport:
    resolution_ns = clock_resolution_ns()
    exact_timers()
    # tritonclient's threads, which take turns with this one, would have to be of the same kind, and take whole cores.
    alone = work.orders.client == "raw" and real_time(wanted=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Watch(real_time=alone) as watch:

        def tell(sent: int) -> None:
            watch.look()
            with contextlib.suppress(OSError):
                seconds = (time.monotonic_ns() - work.start_ns) / 1e9
                _tell(sent=sent, done=work.ledger.done, seconds=round(seconds, 3))

        pace = Pace(work, client, tell)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: pace.stop(f"stopped by {signal.Signals(number).name}"))
        _tell(ready=True)
        work.start_ns = _start(pace)
        if not work.start_ns:
            pace.stop("the process that started it is gone")
        threading.Thread(target=_stop_with_parent, args=(pace,), daemon=True).start()
        started_unix_ns = time.time_ns() + work.start_ns - time.monotonic_ns()
        os.set_blocking(sys.stdout.fileno(), False)
        try:
            pace.run()
            work.ledger.finish()
        except OSError as error:
            pace.stopped = f"{NOT_KEPT}: {error.strerror}"
        wall_s = max(0.0, (time.monotonic_ns() - work.start_ns) / 1e9) if work.start_ns else 0.0
        os.set_blocking(sys.stdout.fileno(), True)
    return SenderReport(
        pid=os.getpid(), started_unix_ns=started_unix_ns, wall_s=wall_s, cpu_s=watch.cpu_s,
        busiest_core=watch.busiest_core, gc_pauses=watch.gc_pauses, gc_longest_us=watch.gc_longest_ns // 1000,
        clock_resolution_ns=resolution_ns, connections_opened=client.connections_opened,
        waited_for_connection=client.waited_for_connection, stopped=pace.stopped, errors=work.ledger.errors,
        real_time=watch.real_time, most_in_flight=client.most_in_flight,
    )  # fmt: skip


def _start(pace: Pace) -> int:
    """The instant that is told on standard input; 0 when it is closed, or a signal comes first."""
    while pace.stopped is None:
        if select.select([sys.stdin], (), (), _LOOK_S)[0]:
            return int(sys.stdin.readline() or 0)
    return 0


def _stop_with_parent(pace: Pace) -> None:
    """Standard input ends when the process that started this one does, however it does."""
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    pace.stop("the process that started it is gone")


def _tell(**what: Any) -> None:
    """One line on standard output."""
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")
