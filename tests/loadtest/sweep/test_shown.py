"""What `load sweep` prints: the choice first, every point with its bar, nothing wider than a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_bench import SimulatedBench, swept

from loadtest.results.run import Objective
from loadtest.results.sweep import Sweep
from tritonkit.cli.sweep_output import BARS, show

COLUMNS = 80


def shown(sweep: Sweep, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(sweep, folder, folder / "report.html")
    return capsys.readouterr().out.splitlines()


def table(lines: list[str]) -> list[str]:
    """The rows under the head of the table."""
    head = next(place for place, line in enumerate(lines) if line.strip().startswith("delay µs"))
    return lines[head + 1 : lines.index("", head)]


def test_the_choice_and_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = swept(tmp_path, ["max_queue_delay_us=0,1000,5000"])
    lines = shown(sweep, tmp_path, capsys)
    assert lines[0] == f"toy: {sweep.choice.why}"
    rows = table(lines)
    assert [row.split()[0] for row in rows] == ["0", "*", "5000"]
    assert [row.split()[-1] for row in rows] == [point.judgement.verdict for point in sweep.points]
    bars = [row.count("#") for row in rows]
    assert bars[2] == max(bars) == BARS[1]
    assert bars[1] == min(bars) > 0
    for row, point in zip(rows, sweep.points, strict=True):
        assert point.p99_ms is not None
        assert f" {point.p99_ms.value:.2f}  {point.p99_ms.low:.2f}-{point.p99_ms.high:.2f} " in row
        assert f" {100 * point.p99_ms.confidence:.0f} % " in row
    assert "for the spec:" in lines
    assert "  max_queue_delay_us: 1000" in lines
    assert lines[-2].split()[0] == "report"
    assert lines[-1].split()[:2] == ["repeat", "tritonkit"]


def test_all_axes_fit_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = ["max_queue_delay_us=0,10000", "instances=1,2", "preferred=none,8/16/32", "layout=ensemble,fused",
            "max_batch_size=32"]  # fmt: skip
    sweep = swept(tmp_path, over, rounds=2)
    rows = table(shown(sweep, tmp_path, capsys))
    assert len(rows) == 16
    assert all(
        row.split()[3:5] in (["ensemble", "32"], ["fused", "32"])
        for row in [r.removeprefix("*").removeprefix("=") for r in rows]
    )
    assert max(map(len, rows)) <= COLUMNS


def test_rates_have_their_bracket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = swept(tmp_path, ["max_queue_delay_us=0,1000"], find_max=True, rate_rps=2000,
                  objective=Objective(p99_ms=8), seconds=3.0)  # fmt: skip
    rows = table(shown(sweep, tmp_path, capsys))
    assert max(map(len, rows)) <= COLUMNS
    for row, point in zip(rows, sweep.points, strict=True):
        assert point.max_rate is not None
        assert f"{point.max_rate.value:.4g}" in row


def test_what_cannot_be_believed_has_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = SimulatedBench(broken=lambda setting, times: "it was late" if setting.delay_us else None)
    sweep = swept(tmp_path, ["max_queue_delay_us=0,1000"], bench)
    lines = shown(sweep, tmp_path, capsys)
    [row] = [row for row in table(lines) if "1000" in row]
    assert row.split() == ["1000", "-", "-", "-", "-", "3", "invalid"]
    assert any(line.startswith("warning: 3 of 3 turns of 1000 µs count for nothing: it was late") for line in lines)
