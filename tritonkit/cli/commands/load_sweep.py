"""`tritonkit load sweep`: settings that compete on one server, and the one to take."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Seconds

if TYPE_CHECKING:
    from tritonkit.load_sweep import Options

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("sweep")
@click.argument("spec", type=_FILE)
@click.option("--over", multiple=True, metavar="NAME=VALUES",
              help="max_queue_delay_us=0:10000 (a range: points are chosen in it), instances=1,2,4, "
              "preferred=none,8/16/32, max_batch_size=16,32, layout=ensemble,fused. [default: the delay from 0 to "
              "10000]")  # fmt: skip
@click.option("--member", metavar="MODEL", help="The model to sweep, where several have batchers.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="RPS",
              help="Requests a second. [default: the objective's throughput_rps]")  # fmt: skip
@click.option("--find-max", is_flag=True, help="Search the highest rate whose p99 passes, beginning at --rate.")
@click.option("--p99-ms", type=click.FloatRange(0, min_open=True), help="The bound to judge, in place of the spec's.")
@click.option("--seconds", type=Seconds(), default=5.0, show_default=True, help="Of one turn that count.")
@click.option("--rounds", type=click.IntRange(2, 100), default=5, show_default=True,
              help="Turns of a setting, at most.")  # fmt: skip
@click.option("--budget", type=Seconds(), help="Of the whole sweep. [default: a fifth of a grid of 41 points]")
@click.option("--protocol", type=click.Choice(["http", "grpc"]), default="http", show_default=True)
@click.option("--senders", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that send.")
@click.option("--lag-bound-ms", type=click.FloatRange(0, min_open=True),
              help="How late the latest of 100 may leave. [default: 1, or 5 % of the bound]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=1, show_default=True,
              help="Of arrivals, payloads and the order.")  # fmt: skip
@click.option("--out", type=_FOLDER, help="[default: build/load/<pipeline>-sweep-<time>]")
@click.option("--resume", type=_FOLDER, metavar="FOLDER", help="Go on with an interrupted sweep.")
@click.option("--keep-samples", is_flag=True, help="Keep every turn's run and samples.")
@click.option("--write", is_flag=True, help="Put the choice into SPEC; comments stay.")
@click.option("--json", "as_json", is_flag=True, help="Print sweep.json.")
@click.pass_context
def command(context: click.Context, /, as_json: bool, **options: Any) -> int:
    """Find the settings of SPEC that meet its objective best, on a server of its own.

    Every round measures each setting that is still in question, in a new order and under the same arrivals; points
    are added where the curve may go lower, settings that are surely worse are dropped. It can be interrupted, and
    gone on with by --resume.

    Exit status: 0 a setting is chosen, 1 none passes (or yours to mend), 2 ours, 130 interrupted.
    """
    from generator.project import Project
    from tritonkit.cli.load_output import seldom_counted
    from tritonkit.cli.output import print_json, progress, say, shown_path
    from tritonkit.cli.signals import terminate_as_interrupt
    from tritonkit.cli.sweep_output import show
    from tritonkit.load_sweep import Options, prepare, put_into_spec, run_sweep, write_report

    for name in ("p99_ms", "lag_bound_ms"):
        if options[name] is not None and not math.isfinite(options[name]):  # click's range lets them through
            raise click.UsageError(f"--{name.replace('_', '-')} {options[name]} is not a number of milliseconds")
    asked = Options(**{**options, "over": tuple(options["over"]), "command": _command(context)})
    if asked.out is not None and asked.resume is not None:
        raise click.UsageError("--out is of a new sweep, and --resume goes on with one: give one of them")
    with terminate_as_interrupt(), ExitStack() as held:
        prepared = None
        try:
            with progress("reading the spec") as now:
                prepared = prepare(asked, Project.find(), held)
                if prepared.wanted.hopeless:
                    say(f"warning: {prepared.wanted.hopeless}")
                found = run_sweep(prepared, asked.seed, seldom_counted(now))
        except BaseException:
            if prepared is not None and not prepared.journal.seen:
                prepared.journal.forget()
            elif prepared is not None:
                say(f"{prepared.journal.kept}: go on with "
                    f"`{_going_on(asked, shown_path(prepared.folder), as_json=as_json)}`")  # fmt: skip
            raise
        report = write_report(prepared.folder)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            show(found, prepared.folder, report)
        if asked.write and put_into_spec(prepared, found):
            say(f"{shown_path(asked.spec)} has the choice now: `tritonkit render` brings the repository to it")
    return 0 if found.choice.settings is not None else 1


def _command(context: click.Context) -> str:
    """The line that repeats it: what was given, and the seed."""
    import shlex

    words = ["tritonkit", "load", "sweep", str(context.params["spec"])]
    for parameter in context.command.params:
        name = parameter.name or ""
        value, source = context.params.get(name), context.get_parameter_source(name)
        if isinstance(parameter, click.Argument) or name in {"out", "resume", "as_json", "write"}:
            continue
        if source is not click.core.ParameterSource.COMMANDLINE and name != "seed":
            continue
        if isinstance(parameter, click.Option) and parameter.is_flag:
            words += [parameter.opts[0]] if value else []
        else:
            each = value if isinstance(value, tuple) else [value]
            words += [word for one in each for word in (parameter.opts[0], _text(one))]
    return shlex.join(words)


def _going_on(asked: Options, folder: str, *, as_json: bool) -> str:
    """The line that finishes it: with what was to be done at its end, which measures nothing."""
    import shlex

    ends = [word for word, given in (("--write", asked.write), ("--json", as_json)) if given]
    return " ".join([asked.command, *ends, "--resume", shlex.quote(folder)])


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
