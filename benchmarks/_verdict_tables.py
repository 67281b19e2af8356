"""The tables of benchmarks/verdicts.md, put where the page says `<!-- table: NAME -->`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from _verdict_runs import EXACT, HIGHER, LOWER

from generator.whole_file import write_whole

Row = Sequence[str]


def put_tables(page: Path, result: dict[str, Any]) -> None:
    """Replaces every table of the page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for name, (head, rows) in tables(result).items():
        mark = lines.index(f"<!-- table: {name} -->")
        last = mark + 1
        while last < len(lines) and lines[last].startswith("|"):
            last += 1
        lines[mark + 1 : last] = [_line(row) for row in (head, ["---"] * len(head), *rows)]
    write_whole(page, "\n".join(lines) + "\n")


def tables(result: dict[str, Any]) -> dict[str, tuple[Row, list[Row]]]:
    """Name -> head and rows."""
    made: dict[str, tuple[Row, Callable[[dict[str, Any]], Row]]] = {
        "queues": (
            ["queue", "20,000 are worth", "an ideal test needs", "passes wrongly", "fails wrongly",
             "p99 10 % under: passes", "p99 10 % over: fails", "median requests",
             "the binomial rule alone passes wrongly"],
            _queue,
        ),
        "longer": (
            ["queue", "runs", "160,000 are worth", "passes wrongly", "fails wrongly", "p99 10 % under: passes",
             "p99 10 % over: fails", "median requests"], _longer,
        ),
        "coverage": (["queue", "runs", "order statistics", "block bootstrap", "width of the first"], _coverage),
        "comparisons": (
            ["queue", "runs a side", "runs differ by", "false alarms", "10 % slower: seen"], _comparison,
        ),
        "warm_ups": (
            ["the start of the run", "requests", "true", "found in", "where: median (5 % to 95 %)", "never settles"],
            _warm_up,
        ),
    }  # fmt: skip
    return {name: (head, [row(one) for one in result[name]]) for name, (head, row) in made.items()}


def _queue(one: dict[str, Any]) -> Row:
    row = [*_longer(one)]
    del row[1]
    return [
        f"{one['name']}{' †' if one['moderate'] else ''}", row[1], f"{one['ideal_needs']:,.0f}", *row[2:],
        percent(one["binomial_alone_false_pass"]),
    ]  # fmt: skip


def _longer(one: dict[str, Any]) -> Row:
    runs, bounds = one["runs"], one["bounds"]
    passed, failed = ([sum(point[key]) / runs for point in bounds] for key in ("pass_at", "fail_at"))
    return [
        one["name"], f"{runs:,}", f"{one['worth']:,.0f}", percent(passed[EXACT]), percent(failed[EXACT]),
        percent(passed[LOWER]), percent(failed[HIGHER]),
        f"{bounds[LOWER]['median_requests']:,.0f}, {bounds[HIGHER]['median_requests']:,.0f}",
    ]  # fmt: skip


def _coverage(one: dict[str, Any]) -> Row:
    return [one["name"], f"{one['runs']:,}", percent(one["order"]), percent(one["blocks"]), percent(one["width"])]


def _comparison(one: dict[str, Any]) -> Row:
    sides = f"{one['runs_a_side']} of {one['requests']:,}"
    return [one["name"], sides, percent(one["noise"]), percent(one["false_alarms"]), percent(one["slower_seen"])]


def _warm_up(one: dict[str, Any]) -> Row:
    where = f"{one['index_50']:,} ({one['index_5']:,} to {one['index_95']:,})"
    true = "none" if one["true"] == 0 else "–" if one["true"] is None else f"{one['true']:,}"
    return [one["series"], f"{one['requests']:,}", true, percent(one["found"]), where, percent(one["unsettled"])]


def percent(share: float) -> str:
    """A share to two places where it is small, so that 0.95 % is not 1 %."""
    return f"{share:.2%}".replace("%", " %") if share < 0.1 else f"{share:.1%}".replace("%", " %")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("| ---", "|---").replace("--- |", "---|")
