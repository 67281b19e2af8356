"""`tritonkit serve`: a model repository on the embedded server, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.parameters import Seconds

if TYPE_CHECKING:
    from deploy.embedded.flags import ServerNeeds
    from deploy.embedded.server import EmbeddedServer
    from deploy.embedded.stubs import Watch
    from generator.project import Project

LOOK_S = 1.0  # how often it looks for Python processes that ended


@click.command("serve")
@click.argument("specs", nargs=-1, metavar="")
@click.option("--target", default="embedded", show_default=True, help="What the specs are rendered for first.")
@click.option("--repository", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Serve this repository as it is, and render nothing.")  # fmt: skip
@click.option("--http-port", default=8000, show_default=True, help="0: any free port.")
@click.option("--grpc-port", default=8001, show_default=True, help="0: any free port.")
@click.option("--metrics-port", default=8002, show_default=True, help="0: any free port.")
@click.option(
    "--updatable",
    is_flag=True,
    help="Let `update` and `rollback` load models while it serves. Anyone who may run processes on this "
    "machine could do so too: they can read the key in the server's command line.",
)
@click.option("--ready-timeout", "ready_timeout_s", type=Seconds(), default=120.0, show_default=True,
              help="When it gives up.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def command(
    specs: tuple[str, ...], target: str, repository: Path | None, http_port: int, grpc_port: int, metrics_port: int,
    updatable: bool, ready_timeout_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Render the specs and serve them on loopback; Ctrl-C drains and stops."""
    import contextlib
    from dataclasses import replace

    from deploy.embedded import state
    from deploy.embedded.needs import for_updates
    from deploy.embedded.ports import Ports
    from deploy.embedded.server import EmbeddedServer
    from deploy.embedded.stubs import Watch
    from generator.project import NoProjectError, Project
    from tritonkit.cli import servers
    from tritonkit.cli.output import progress, say
    from tritonkit.cli.signals import forget_interrupt, terminate_as_interrupt

    _no_specs(specs)
    if repository is not None and updatable:
        raise click.UsageError("--updatable is for a server of the specs: a --repository has none to be updated to")
    if repository is None:
        project = Project.find()
        served, needs, files = _render(project, target)
        runs = project.root / servers.RUNS
    else:
        served, needs, files = repository.resolve(), _lint(repository), {}
        try:
            runs = Project.find().root / servers.RUNS
        except NoProjectError:
            runs = Path.cwd() / servers.RUNS
    if updatable:
        needs = for_updates(needs)
    ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
    with terminate_as_interrupt():
        with progress("starting the server") as update:
            server = EmbeddedServer(served, needs, ports=ports, ready_timeout_s=ready_timeout_s, on_progress=update)
            server.start()
        try:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(state.recorded(runs, replace(server.record(target), files=files)))
                except OSError as error:
                    say(f"{runs} cannot be written ({error.strerror}): other commands will need --address")
                watch = Watch(server.pid)
                try:
                    _announce(server, as_json)
                    _wait(server, watch)
                except KeyboardInterrupt:
                    forget_interrupt()
                    say("stopping: requests in flight finish first")
                if server.failure is not None:
                    raise server.failure
        finally:
            server.stop()


def _no_specs(specs: tuple[str, ...]) -> None:
    """Raises UsageError: it is what many try first."""
    if specs:
        raise click.UsageError(
            f"serve takes no arguments, and `{specs[0]}` is one: it serves all specs of the project. For some of "
            f"them: `tritonkit render {' '.join(specs)} --out FOLDER`, then `tritonkit serve --repository FOLDER`"
        )


def _render(project: Project, target: str) -> tuple[Path, ServerNeeds, dict[str, str]]:
    """Renders every spec of the target; the repository, what its server needs, and the hashes of its files."""
    from deploy.embedded import shared_memory
    from deploy.embedded.changes import hashes
    from deploy.embedded.needs import needs_of
    from deploy.embedded.refresh import render_for
    from tritonkit.cli.output import say, show_problems

    made = render_for(project, target)
    report = made.write()
    show_problems([*made.work.problems, *report.warnings])
    needs = needs_of(made.plans)
    if told := shared_memory.shortage(needs.shm_full_bytes):
        say(told)
    return report.root, needs, hashes(made.tree.files)


def _lint(repository: Path) -> ServerNeeds:
    """Stops at what the server would refuse anyway; what a repository without specs needs."""
    from deploy.embedded.machine import here
    from deploy.embedded.needs import needs_of_repository
    from generator.lint.files import DiskFolder
    from generator.lint.server import EMBEDDED
    from generator.lint.specs import checked_tree
    from generator.problems import UserError
    from tritonkit.cli.output import show_problems

    if not any(repository.glob("*/config.pbtxt")):
        raise UserError(
            f"there is no model in {repository}", "a repository holds a directory a model, with a config.pbtxt in it"
        )
    server = here(EMBEDDED)
    show_problems(checked_tree([DiskFolder(repository)], server).problems)
    return needs_of_repository(repository, len(server.machine or ()))


def _wait(server: EmbeddedServer, watch: Watch) -> None:
    """Returns when the server has ended; says meanwhile which Python processes of it did."""
    from tritonkit.cli.output import say
    from tritonkit.cli.signals import raise_again

    while True:
        raise_again()
        try:
            server.wait(LOOK_S)
            return
        except TimeoutError:
            for stub in watch.ended():
                say(
                    f"model `{stub.model}`: its Python process {stub.instance} has ended, and Triton does not start "
                    "it again; requests that reach it fail until you restart the server"
                )


def _announce(server: EmbeddedServer, as_json: bool) -> None:
    """The addresses, once it is ready: data, so on standard output."""
    import json

    addresses = {"http": server.http_address, "grpc": server.grpc_address, "metrics": server.metrics_address}
    if as_json:
        click.echo(json.dumps({"ready": True, **addresses, "pid": server.pid, "log": str(server.log_path)}))
        return
    for name, address in addresses.items():
        click.echo(f"{name:8}{address}")
    click.echo("ready; Ctrl-C stops it", err=True)
