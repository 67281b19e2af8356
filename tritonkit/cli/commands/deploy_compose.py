"""`tritonkit deploy compose`: a server, Prometheus with the chart's rules and a load generator on one machine."""

from __future__ import annotations

from pathlib import Path

import click

from tritonkit.cli.parameters import Given, GivenFolder

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("compose")
@click.argument("specs", nargs=-1, metavar="[SPEC]...", type=_FILE)
@click.option("--target", type=Given(), help="What is rendered. [default: the only one beside `embedded`]")
@click.option("--embedded", is_flag=True, help="The embedded server on Debian: no GPU, for laptops and CI.")
@click.option("-o", "--out", "folder", required=True, type=GivenFolder(), help="Where the files go.")
@click.option("--image", default="", metavar="NAME", help="The server's. [default: what `image build` calls it]")
@click.option("--load-image", default="", metavar="NAME", help="[default: what `image build --load` calls it]")
@click.option(
    "--prometheus-image", default="", metavar="NAME[@sha256:...]", help="[default: prom/prometheus of a tag]"
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is not as it would be written.")
@click.option("--allow-vulnerable", is_flag=True, help="Take a Triton release that is refused for its known holes.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written, or differs, as JSON.")
def command(
    specs: tuple[Path, ...], target: str | None, embedded: bool, folder: Path, image: str, load_image: str,
    prometheus_image: str, check: bool, allow_vulnerable: bool, as_json: bool,
) -> int:  # fmt: skip
    """Write compose.yaml, prometheus.yml and rules.yml for SPECs (default: all that have the target)."""
    from deploy.compose.files import PROMETHEUS, Images, differences, files_of, write
    from deploy.docker.base import parse
    from deploy.docker.request import prepare
    from deploy.tools.helm import Helm
    from generator.project import Project
    from tritonkit.cli.output import print_json, say, show_problems, shown_path

    for option, name in (("--image", image), ("--load-image", load_image), ("--prometheus-image", prometheus_image)):
        if name:  # what is none would be read as something else by compose: `${...}`, a line break
            parse(name, option)
    request = prepare(Project.find(), specs, target=target, embedded=embedded, allow_vulnerable=allow_vulnerable)
    show_problems(request.notes)
    images = Images(image or request.name, load_image or request.load_name, prometheus_image or PROMETHEUS)
    files = files_of(request, images, Helm.found())
    stale = differences(files, folder) if check else write(files, folder)
    if as_json:
        images_of = {"server": images.server, "load": images.load, "prometheus": images.prometheus}
        changed = [str(folder / name) for name in stale]
        print_json({"folder": str(folder), "files": sorted(files), "changed": changed, "written": not check,
                    "images": images_of})  # fmt: skip
    else:
        for name in stale:
            click.echo(f"{'changed ' if check else ''}{shown_path(folder / name)}")
    if not check:
        return 0
    if stale:
        say(f"`tritonkit deploy compose -o {folder}` brings it up to date")
    return 1 if stale else 0
