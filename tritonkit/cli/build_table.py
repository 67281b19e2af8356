"""What `tritonkit build` says of the engines that it tried, as a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.engine.build.outcome import Outcome, Row

_FIGURES = ("accuracy", "of FP32", "batch 1", "largest batch", "size", "")
_RIGHT = ("batch 1", "largest batch", "largest", "size")


def show_tried(outcomes: Sequence[Outcome]) -> None:
    """A line for every engine that was judged; in a narrow terminal below the name of its model."""
    from tritonkit.cli.output import fits, make_table, print_table

    tried = [
        (outcome, [(row.choice.title, *_cells(outcome, row)) for row in outcome.rows if row.verdict is not None])
        for outcome in outcomes
    ]  # fmt: skip
    tried = [(outcome, rows) for outcome, rows in tried if rows]
    if not tried:
        return
    wide = make_table(
        ("target", "model", "engine", *_FIGURES),
        [(outcome.job.plan.target.name, _model(outcome), *row) for outcome, rows in tried for row in rows],
        right=_RIGHT,
    )  # fmt: skip
    if fits(wide):
        print_table(wide)
        return
    columns = ("engine", *(name.replace("largest batch", "largest") for name in _FIGURES))
    for outcome, rows in tried:
        title = f"{outcome.job.plan.target.name}: {_model(outcome)}"
        print_table(make_table(columns, rows, right=_RIGHT, breaks=("engine", ""), title=title))


def _model(outcome: Outcome) -> str:
    job = outcome.job
    return f"{job.model.name} {job.version}" if len(job.model.version_numbers()) > 1 else job.model.name


def _cells(outcome: Outcome, row: Row) -> tuple[str, ...]:
    """Accuracy, that of FP32, the latency of one item and of the largest batch, the file's size, and what became of
    it."""
    from generator.engine.inspect.words import size

    assert row.verdict is not None  # noqa: S101  (for the type checker: the caller has looked)
    metric = row.verdict.facts.get("metric")
    accuracy = ("", "") if metric is None else (f"{metric['name']} {metric['value']:.4f}", f"{metric['fp32']:.4f}")
    times = [f"{value['median_us']:,.0f} µs" for value in row.latency.values()] or [""]
    state = "passed" if row.verdict.passed else "FAILED"
    if outcome.status == "installed" and row.choice == outcome.chosen:
        state = "installed"
    elif row.verdict.passed and not row.choice.served:
        state = "passed; nothing serves it yet"
    return (*accuracy, times[0], times[-1], size(row.size_bytes), state)
