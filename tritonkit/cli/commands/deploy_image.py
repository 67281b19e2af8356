"""`tritonkit deploy image`: a server and its repository as one image, built and run with a Docker engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.parameters import Given, GivenFolder, Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.docker.base import Base
    from deploy.docker.container import Running
    from deploy.docker.request import Request

_FILE = click.Path(path_type=Path, dir_okay=False)
_SPECS = click.argument("specs", nargs=-1, metavar="[SPEC]...", type=_FILE)
_TARGET = click.option("--target", type=Given(), help="What is rendered. [default: the only one beside `embedded`]")
_EMBEDDED = click.option(
    "--embedded", is_flag=True, help="The embedded server on Debian: no GPU, for laptops and CI."
)
_VULNERABLE = click.option(
    "--allow-vulnerable", is_flag=True, help="Take a Triton release that is refused for its known holes."
)
_LOOK_S = 0.5


@click.group("image")
def command() -> None:
    """Images that hold a server and its repository: production on NVIDIA's Triton, or embedded on Debian."""


@command.command("build")
@_SPECS
@_TARGET
@_EMBEDDED
@click.option("--load", is_flag=True, help="The load generator for the target's pipelines, and no server.")
@click.option("--base", metavar="IMAGE@sha256:...", help="What it is built on. [default: the target's, of no digest]")
@click.option("--allow-unpinned", is_flag=True, help="Take a base without a digest; the image's labels say so.")
@click.option("--tag", metavar="NAME", default="", help="[default: tritonkit/PIPELINES:TARGET]")
@click.option("--sbom", type=_FILE, help="Write the bill of materials there, as CycloneDX.")
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option("--context", type=GivenFolder(),
              help="Write the build's context into this new folder, and build nothing.")  # fmt: skip
@_VULNERABLE
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def build(
    specs: tuple[Path, ...], target: str | None, embedded: bool, load: bool, base: str | None,
    allow_unpinned: bool, tag: str, sbom: Path | None, no_cache: bool, context: Path | None, allow_vulnerable: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Build an image of SPECs (default: all that have the target).

    The base has to be pinned by its digest. Packages are fetched by this machine's pip and checked by their hashes;
    in the build nothing but Debian's packages (of --embedded) comes from a network.
    """
    from deploy.docker.base import parse
    from deploy.docker.context import check_new
    from deploy.docker.engine import connected
    from deploy.docker.image import Wanted, checked_name
    from deploy.docker.image import build as build_image
    from tritonkit.cli.output import print_json, progress, say
    from tritonkit.cli.signals import terminate_as_interrupt

    wanted = Wanted(
        parse(base) if base else None, checked_name(tag) if tag else "", sbom, no_cache, allow_unpinned
    )  # what is no name is told before anything is rendered
    if context is not None:
        check_new(context)
    with terminate_as_interrupt(), progress("rendering") as now:
        request = _prepared(specs, target, embedded=embedded, load=load, allow_vulnerable=allow_vulnerable)
        if context is not None:
            on = wanted.base or request.default_base()
            _write_context(request, on, context, now)
            arguments = on.arguments() | ({} if on.digest else {"DIGEST": "sha256:..."})
            said = " ".join(f"--build-arg {name}={value}" for name, value in arguments.items())
            say(f"the context is in {context}; build it with {said}")
            return
        with connected() as engine:
            built = build_image(request, wanted, engine, now)
    if as_json:
        print_json({
            "image": built.name, "id": built.id, "base": str(built.base), "pinned": bool(built.base.digest),
            "target": request.target, "server": request.release, "pipelines": [plan.name for plan in request.plans],
            "components": built.components, "sbom": str(sbom) if sbom else None, "labels": request.labels(built.base),
        })  # fmt: skip
        return
    click.echo(f"{built.name} {built.id}")
    if not load:
        repository, _, label = built.name.rpartition(":")
        say(f"the chart takes it with --set image.repository={repository} --set image.tag={label}")
        listing = f"docker image inspect --format '{{{{.RepoDigests}}}}' {built.name}"
        say(
            f"after its push, `{listing}` prints NAME@sha256:...: that pins it, with --set image.repository=NAME "
            "--set image.digest=sha256:..."
        )
    if not built.base.digest:
        say(f"its base {built.base} is not pinned: the same build may give another image tomorrow")


@command.command("run")
@_SPECS
@_TARGET
@_EMBEDDED
@click.option("--image", "name", metavar="NAME", default="", help="[default: what `build` calls it]")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free port.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free port.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=8002, show_default=True,
              help="0: any free port.")  # fmt: skip
@click.option("--ready-timeout", "ready_timeout_s", type=Seconds(), default=600.0, show_default=True,
              help="When it gives up.")  # fmt: skip
@_VULNERABLE
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def run(
    specs: tuple[Path, ...], target: str | None, embedded: bool, name: str, http_port: int, grpc_port: int,
    metrics_port: int, ready_timeout_s: float, allow_vulnerable: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run the image of SPECs on this machine's loopback; Ctrl-C drains, stops and removes it.

    The container has a read-only root, no capability and no way to more privileges. The key of the restricted APIs is
    taken from TRITON_RESTRICTED_KEY; without it they are closed to everybody.
    """
    from deploy.docker.base import parse
    from deploy.docker.container import Ports, key_of_environment, running
    from deploy.docker.engine import connected
    from tritonkit.cli.output import printable, say
    from tritonkit.cli.signals import forget_interrupt, raise_again, terminate_as_interrupt

    if name:
        parse(name, "--image")
    with terminate_as_interrupt():
        say("rendering")
        request = _prepared(specs, target, embedded=embedded, allow_vulnerable=allow_vulnerable)
        name = name or request.name
        with connected() as engine:
            found = engine.image(name)
            _look_at(None if found is None else found.labels, request, name)
            ports = Ports(http_port, grpc_port, metrics_port)
            with running(
                engine, request, name, ports, key=key_of_environment(), ready_timeout_s=ready_timeout_s,
                on_line=lambda line: click.echo(printable(line), err=True),
            ) as there:  # fmt: skip
                try:
                    _announce(there, as_json)
                    status = _wait(there, raise_again)
                except KeyboardInterrupt:
                    forget_interrupt()
                    say("stopping: requests in flight finish first")
                    return 0
    say(f"the server ended by itself, with status {status}")
    return 1


def _prepared(
    specs: tuple[Path, ...], target: str | None, *, embedded: bool, allow_vulnerable: bool, load: bool = False
) -> Request:
    from deploy.docker.request import prepare
    from generator.project import Project
    from tritonkit.cli.output import show_problems

    request = prepare(
        Project.find(), specs, target=target, embedded=embedded, load=load, allow_vulnerable=allow_vulnerable
    )
    show_problems(request.notes)
    return request


def _write_context(request: Request, base: Base, folder: Path, now: Callable[[str], None]) -> None:
    from deploy.docker.context import write_folder
    from deploy.docker.image import context_of

    with context_of(request, base, now) as files:
        write_folder(files, folder)


def _look_at(labels: dict[str, str] | None, request: Request, name: str) -> None:
    """Raises UserError where there is no such image of ours; says it where it has other models than the specs."""
    from generator.problems import UserError
    from tritonkit.cli.output import say

    if labels is None:
        raise UserError(
            f"there is no image `{name}` on this engine", "build it first: `tritonkit deploy image build`"
        )
    if "io.tritonkit.repository" not in labels:
        raise UserError(
            f"`{name}` is no image that `tritonkit deploy image build` has made",
            "build one: `tritonkit deploy image build`",
        )
    if labels["io.tritonkit.repository"] != f"sha256:{request.repository_hash()}":
        say(f"`{name}` was built of other specs than they are now: `tritonkit deploy image build` brings it there")


def _announce(there: Running, as_json: bool) -> None:
    """The addresses, once it is ready: data, so on standard output."""
    import json

    if as_json:
        click.echo(json.dumps({"ready": True, **there.addresses, "container": there.container.id}))
        return
    for name, address in there.addresses.items():
        click.echo(f"{name:8}{address}")
    click.echo("ready; Ctrl-C stops it", err=True)


def _wait(there: Running, heed: Callable[[], None]) -> int:
    """Until the server ends by itself; its status."""
    import time

    while True:
        heed()
        status = there.status()
        if status is not None:
            return status
        time.sleep(_LOOK_S)
