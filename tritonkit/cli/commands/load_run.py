"""`tritonkit load run`: load on a pipeline, and the verdict on its objective."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Seconds

if TYPE_CHECKING:
    from loadtest.results.run import Run

KINDS = ("poisson", "constant", "trace", "burst", "ramp", "diurnal")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("run")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=_FILE)
@click.option(
    "--rate", type=float, metavar="RPS", help="Requests a second. [default: the objective's throughput_rps]"
)
@click.option("--duration", type=Seconds(), help="Of sending. [default: 30, or the whole trace]")
@click.option("--p99-ms", type=click.FloatRange(0, min_open=True), help="The bound to judge, in place of the spec's.")
@click.option("--protocol", type=click.Choice(["http", "grpc"]), default="http", show_default=True)
@click.option("--client", type=click.Choice(["raw", "tritonclient"]), default="raw", show_default=True,
              help="raw: prebuilt bytes, for load; tritonclient: as applications send.")  # fmt: skip
@click.option("--arrivals", "kind", type=click.Choice(KINDS), help="How they come. [default: poisson]")
@click.option("--trace", type=_FILE, help="Arrivals from a file: a time in seconds a line.")
@click.option(
    "--shape", metavar="NAME=X,...", help="Settings of burst, ramp and diurnal, such as times=5,every_s=10."
)
@click.option("--mix", metavar="A=0.7,B=0.3", help="Shares of several pipelines. [default: as their throughput_rps]")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of arrivals and payloads.")
@click.option("--senders", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that send.")
@click.option("--connections", type=click.IntRange(1, 16_384), help="At most, of each sender. [default: as needed]")
@click.option("--deadline-ms", type=click.FloatRange(0, 3_600_000, min_open=True),
              help="Later is a timeout. [default: 10 times the bound, a second at least]")  # fmt: skip
@click.option("--batch", "sizes", metavar="N,N", default="1", show_default=True, help="Items a request, in turn.")
@click.option("--priority", type=click.IntRange(0, 2**64 - 1), default=0, help="Triton's request priority.")
@click.option("--server-timeout-us", type=click.IntRange(0, 2**63 - 1), default=0, help="Triton's request timeout.")
@click.option("--cancel", type=click.FloatRange(0, 1), default=0.0, help="Share of requests that are cancelled.")
@click.option("--shared-memory", is_flag=True, help="Send tensors through shared memory.")
@click.option("--streaming", is_flag=True, help="Send over one gRPC stream a channel.")
@click.option("--until-decided", is_flag=True, help="Go on until the verdict is decided or the budget ends.")
@click.option("--budget", "budget_s", type=Seconds(), help="Of --until-decided. [default: 300]")
@click.option("--lag-bound-ms", type=click.FloatRange(0, min_open=True),
              help="How late the latest of 100 may leave. [default: 1, or 5 % of the bound]")  # fmt: skip
@click.option("--url", metavar="HOST:PORT", help="A running server's HTTP. [default: a server of its own]")
@click.option("--grpc-url", metavar="HOST:PORT", help="Its gRPC. [default: the port after]")
@click.option("--allow-remote", "allowed", metavar="HOST", multiple=True, help="Load may go to this other machine.")
@click.option("--target", default="embedded", show_default=True,
              help="What the specs are rendered for; with --url, what should be served there.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: build/load/...]")
@click.option("--web/--headless", default=False, help="Through Locust, with its web page on this machine.")
@click.option("--workers", type=click.IntRange(0, 64), default=0, help="Through Locust, with so many workers.")
@click.option("--json", "as_json", is_flag=True, help="Print run.json.")
@click.pass_context
def command(context: click.Context, /, as_json: bool, **options: Any) -> int:
    """Send load to the pipelines of SPEC... and judge their objective.

    Arrivals are drawn before; each request leaves when it is due, whatever became of those before, and its latency
    counts from then. Errors and timeouts count as the deadline. A run whose senders were late is invalid, and tells
    no percentile. Without --url the test brings a server of its own.

    Exit status: 0 the objective holds, 1 it fails, is undecided, or the run is invalid, 2 ours, 130 interrupted.
    """
    from loadtest.run.prepare import prepare, wanted_of
    from tritonkit.cli.load_output import kept, seldom_counted, show
    from tritonkit.cli.output import progress
    from tritonkit.cli.signals import terminate_as_interrupt
    from tritonkit.load_run import run

    told = {**options, "command": command_of(context)}
    wanted = wanted_of(told)
    with terminate_as_interrupt():
        with progress("reading the specs") as now:
            prepared = prepare(wanted, now)

            def at_once(found: Run) -> None:
                if wanted.web:  # the page stays, and so does the command
                    show(found, prepared.folder, as_json=as_json)

            try:
                found = run(wanted, prepared, told, seldom_counted(now), at_once)
            except KeyboardInterrupt:
                kept(prepared.folder)
                raise
        if not wanted.web:
            show(found, prepared.folder, as_json=as_json)
    return 0 if found.judgement.verdict == "pass" and not found.stopped else 1


def command_of(context: click.Context) -> str:
    """The line that repeats it: what was given, and the seed."""
    import shlex

    words = ["tritonkit", "load", "run"]
    for parameter in context.command.params:
        name = parameter.name or ""
        value, source = context.params.get(name), context.get_parameter_source(name)
        if isinstance(parameter, click.Argument):
            words += [str(spec) for spec in value or ()]
        elif name in {"out", "as_json"} or (source is not click.core.ParameterSource.COMMANDLINE and name != "seed"):
            continue
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        elif isinstance(parameter, click.Option) and parameter.multiple:
            words += [word for one in value or () for word in (parameter.opts[0], str(one))]
        else:
            words += [parameter.opts[0], _text(value)]
    return shlex.join(words)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)
