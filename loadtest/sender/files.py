"""The folder of one sender: what it is told, what it sends, what it has seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.sender.orders import Orders, SenderReport
from loadtest.traffic.schedule import Schedule

ORDERS, SCHEDULE, SAMPLES, REPORT, ANSWERS = (
    "orders.json",
    "schedule.npz",
    "samples.bin",
    "report.json",
    "answers.json",
)
LOG = "sender.log"


def write_orders(folder: Path, orders: Orders, *, keep_answers: bool = False) -> None:
    """What the sender is told. `keep_answers` has it write each answer to `ANSWERS`, by request: for tests."""
    told = {"orders": asdict(orders), "keep_answers": keep_answers}
    (folder / ORDERS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def read_orders(folder: Path) -> tuple[Orders, bool]:
    """The orders, and whether answers are kept."""
    told = json.loads((folder / ORDERS).read_bytes())
    orders = {**told["orders"], "pipelines": tuple(told["orders"]["pipelines"])}
    return Orders(**orders), told["keep_answers"]


def write_schedule(folder: Path, schedule: Schedule) -> None:
    """The arrivals that this sender sends."""
    drawn = np.array(json.dumps(schedule.drawn))
    with (folder / SCHEDULE).open("wb") as file:
        np.savez(file, due_ns=schedule.due_ns, pipeline=schedule.pipeline, payload=schedule.payload, drawn=drawn)


def read_schedule(folder: Path) -> Schedule:
    """The arrivals that this sender sends."""
    with np.load(folder / SCHEDULE) as found:
        return Schedule(found["due_ns"], found["pipeline"], found["payload"], json.loads(str(found["drawn"])))


def write_requests(folder: Path, pipeline: int, requests: Sequence[bytes]) -> None:
    """The bytes of every payload of a pipeline, and where each of them ends."""
    np.save(folder / f"ends-{pipeline}.npy", np.cumsum([len(request) for request in requests], dtype=np.int64))
    with (folder / f"requests-{pipeline}.bin").open("wb") as file:
        file.writelines(requests)


def read_requests(folder: Path, pipeline: int) -> list[bytes]:
    """The bytes of every payload of a pipeline."""
    data = (folder / f"requests-{pipeline}.bin").read_bytes()
    ends = np.load(folder / f"ends-{pipeline}.npy").tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def forget_orders(folder: Path) -> None:
    """Removes what the sender was told, once it has read it: headers may be secrets, and requests are large."""
    for path in (folder / ORDERS, folder / SCHEDULE, *folder.glob("ends-*.npy"), *folder.glob("requests-*.bin")):
        path.unlink(missing_ok=True)


def report_of(told: dict[str, Any]) -> SenderReport:
    """A report from its JSON."""
    return SenderReport(**told)


def write_report(folder: Path, report: SenderReport) -> None:
    """Raises OSError when the disk is full."""
    (folder / REPORT).write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
