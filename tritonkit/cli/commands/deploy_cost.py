"""`tritonkit deploy cost`: what a million inferences cost, and what tuning saves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.commands.deploy_values import PRICE
from tritonkit.cli.parameters import MOST_PODS, Between

if TYPE_CHECKING:
    from deploy.operations.cost import Cost
    from deploy.operations.measured import Interval

_COLUMNS = ("", "load test", "setting", "verdict", "inferences/s", "a million cost")


@click.command("cost")
@click.option("--tuned", required=True, multiple=True, metavar="FOLDER", type=click.Path(path_type=Path),
              help="A load test of what is deployed; of a sweep the setting that it chose. Runs at several rates: "
              "several times.")  # fmt: skip
@click.option("--baseline", multiple=True, metavar="FOLDER", type=click.Path(path_type=Path),
              help="The same of what there was before; of a sweep its first point.")  # fmt: skip
@click.option("--gpu-price-per-hour", "price", type=PRICE, required=True, metavar="X", help="Of one GPU.")
@click.option("--gpus", type=click.IntRange(1, 64), default=1, show_default=True, help="GPUs of one pod.")
@click.option("--replicas", type=click.IntRange(1, MOST_PODS), metavar="N",
              help="Pods that are paid for, whatever their load.")  # fmt: skip
@click.option("--rate", type=Between("rate", 1e-6, 1e9), metavar="RPS",
              help="Requests/s that those pods carry together; else what the objective promises.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    tuned: tuple[Path, ...], baseline: tuple[Path, ...], price: float, gpus: int, replicas: int | None,
    rate: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what a million inferences cost at the throughput that was measured, and what is saved against a baseline.

    Only a load test whose verdict is `pass` shows what a pod carries at its objective: of any other the command says
    why there is no cost, and ends with 1. Intervals are those of the measurements.
    """
    from deploy.operations.cost import cost_of, problems_of, saving
    from tritonkit import deploy_measured
    from tritonkit.cli.output import print_json, show_problems

    if rate is not None and replicas is None:
        raise click.UsageError("--rate is what the pods of --replicas carry together: say how many there are")
    rows = {"tuned": cost_of(deploy_measured.tuned(tuned), price, gpus)}
    if baseline:
        rows["baseline"] = cost_of(deploy_measured.baseline(baseline), price, gpus)
    deploy_measured.check_same([cost.load for cost in rows.values()])
    saved = saving(rows["tuned"], rows["baseline"]) if "baseline" in rows else None
    running = _running(rows["tuned"], replicas, rate, price, gpus)
    show_problems(list(problems_of([cost.load for cost in rows.values()])))
    if as_json:
        print_json(_plain(rows, saved, running, price, gpus))
    else:
        _show(rows, saved, running)
    if any(cost.per_million is None for cost in rows.values()):
        click.get_current_context().exit(1)


def _running(tuned: Cost, replicas: int | None, rate: float | None, price: float, gpus: int) -> dict[str, Any] | None:
    """What the pods cost as they run, where it was asked for. Raises UserError when nobody says what they carry."""
    from dataclasses import asdict

    from deploy.operations.cost import deployed
    from generator.problems import UserError

    if replicas is None or tuned.per_million is None:
        return None
    carried = rate or tuned.load.promised_rps
    if carried is None:
        raise UserError(
            f"{tuned.load.source}: its objective promises no throughput", "say with --rate what they carry"
        )
    able = replicas * tuned.load.carries_rps.low
    if carried > able:
        raise UserError(
            f"{replicas} pods carry {able:,.0f} requests/s, not {carried:,.0f}",
            f"say --replicas {-(-carried // tuned.load.carries_rps.low):.0f} or more",
        )
    return asdict(deployed(tuned.load, replicas, carried, price, gpus))


def _show(rows: dict[str, Cost], saved: Interval | None, running: dict[str, Any] | None) -> None:
    from loadtest.report.words import number
    from tritonkit.cli.output import make_table, print_line, print_table, say

    cells = [
        (name, cost.load.source, cost.load.of, cost.load.verdict, _between(cost.inferences_per_s),
         _at_most(cost.per_million) if cost.is_bound else _between(cost.per_million))
        for name, cost in rows.items()
    ]  # fmt: skip
    print_table(
        make_table(_COLUMNS, cells, right={"inferences/s", "a million cost"}, breaks={"load test", "setting"})
    )
    if saved is not None:
        print_line(_saving(saved, is_bound=rows["tuned"].is_bound))
    if running is not None:
        print_line(
            f"as deployed: {running['pods']} pods cost {number(running['per_hour'])} an hour, a million inferences "
            f"{number(running['per_million'])} at {number(running['rate_rps'])} requests/s"
        )
    for name, cost in rows.items():
        if cost.per_million is None:
            say(f"{name}: no cost. {cost.why}")
        elif cost.is_bound:
            then = "" if name == "tuned" else ", and what is saved is not known"
            say(f"{name}: what it carries at most was not found, so it costs this at most{then}: "
                "`tritonkit load sweep --find-max`, or a run at a rate that fails, tells")  # fmt: skip


def _saving(saved: Interval, *, is_bound: bool) -> str:
    if is_bound:
        return f"saved: at least {saved.low:.1%}"
    if not saved.is_known:
        return f"saved: {saved.value:.1%}; nothing says how far that may be off"
    return f"saved: {saved.value:.1%} ({saved.low:.1%} to {saved.high:.1%}, at {saved.confidence:.1%} confidence)"


def _at_most(found: Interval | None) -> str:
    from loadtest.report.words import number

    return "-" if found is None else f"at most {number(found.high)}"


def _between(found: Interval | None) -> str:
    from loadtest.report.words import number

    if found is None:
        return "-"
    if not found.is_known:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def _plain(
    rows: dict[str, Cost], saved: Interval | None, running: dict[str, Any] | None, price: float, gpus: int
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "gpu_price_per_hour": price,
        "gpus": gpus,
        **{
            name: {
                "source": cost.load.source, "pipeline": cost.load.pipeline, "setting": cost.load.of,
                "verdict": cost.load.verdict, "why": cost.why, "is_bound": cost.is_bound,
                "inferences_per_s": asdict(cost.inferences_per_s) if cost.inferences_per_s else None,
                "per_million": asdict(cost.per_million) if cost.per_million else None,
            }
            for name, cost in rows.items()
        },
        "saving": asdict(saved) if saved else None,
        "deployed": running,
    }  # fmt: skip
