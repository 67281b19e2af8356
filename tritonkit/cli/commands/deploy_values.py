"""`tritonkit deploy values`: the chart's values that follow from specs, and what must not be said against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.parameters import MOST_PODS, Between, Given

if TYPE_CHECKING:
    from deploy.release.overrides import Overrides
    from deploy.values import Values
    from generator.problems import Problem


PRICE = Between("price", 1e-6, 1e9)
"""What a GPU costs in an hour, in any currency."""


@click.command("values")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option("--target", type=Given(), default="production", show_default=True, help="The target that is deployed.")
@click.option(
    "--measured", multiple=True, metavar="FOLDER", type=click.Path(path_type=Path),
    help="A load test of a pod (`load run`, `load sweep`), which replicas and autoscaling follow from.",
)  # fmt: skip
@click.option("--gpu-price-per-hour", "price", type=PRICE, metavar="X", help="Say what a million inferences cost.")
@click.option("--max-pods", type=click.IntRange(1, MOST_PODS), metavar="N", help="What the cluster has room for.")
@click.option("--allow-vulnerable", is_flag=True, help="Take a release that is refused for its known holes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there; else standard output.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the file of -o is not what follows.")
@click.option(
    "--values", "files", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
    help="Values of your own: say what in them contradicts the specs. Their gpu.count is what is counted with.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON.")
def command(
    specs: tuple[Path, ...], target: str, measured: tuple[Path, ...], price: float | None, max_pods: int | None,
    allow_vulnerable: bool, output: Path | None, check: bool, files: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Write the chart's values that follow from SPECs, each with a comment on where its number comes from.

    Several SPECs are served by one release. What is yours (ingress, labels, monitors) goes into a second file: `helm
    install -f derived.yaml -f yours.yaml`, and `--values yours.yaml` says whether it contradicts the specs.
    """
    from deploy.release.overrides import read_overrides
    from deploy.values import Options, values_of
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import print_json, show_problems
    from tritonkit.deploy_measured import measured_of

    if check and output is None:
        raise click.UsageError("--check compares with a file: name it with -o")
    project = Project.find()
    work = open_workspace(project, specs, target)
    work.stop_on_errors()
    overrides = read_overrides(files, ())
    options = Options(
        most_pods=max_pods, gpu_price_per_hour=price, allow_vulnerable=allow_vulnerable, gpus=overrides.gpus
    )  # fmt: skip
    found = values_of(work.plans[target], project, measured=measured_of(measured), options=options)
    show_problems([*work.problems, *found.problems, *_against(overrides, found)])
    if output is not None:
        _to_file(output, found.text(), check=check)
    if as_json:
        print_json(found.data)
    elif output is None:
        click.echo(found.text(), nl=False)


def _against(overrides: Overrides, found: Values) -> list[Problem]:
    """What values files, put over each other as a release has them, say against the specs: warnings.

    Raises ProblemsError where any of it is an error.
    """
    from generator.problems import ProblemsError, errors

    problems = overrides.against(found)
    if errors(problems):
        raise ProblemsError([*found.problems, *problems])
    return problems


def _to_file(output: Path, text: str, *, check: bool) -> None:
    """Writes the file, or compares it. A file that was not written by this command is left alone.

    A device or a pipe is written into: it has nothing to be compared with.
    """
    from deploy.values.made import HEADER
    from generator.problems import UserError
    from generator.whole_file import write_whole
    from tritonkit.cli.output import say

    if output.is_dir():
        raise UserError(f"{output} is a folder", f"name a file: -o {output / 'derived.yaml'}")
    if not output.parent.is_dir():
        raise UserError(
            f"{output} cannot be written: there is no folder {output.parent}", f"mkdir -p {output.parent}"
        )
    if check and output.exists() and not output.is_file():
        raise UserError(
            f"{output} is no file that can be compared", "name the file that was written: -o derived.yaml"
        )
    there = output.read_bytes() if output.is_file() else None
    if check:
        if there != text.encode():
            what = "is not there" if there is None else "is not what follows from the specs"
            raise UserError(f"{output} {what}", "the same command without --check brings it up to date")
    elif there == text.encode():
        say(f"{output}: unchanged")
    elif there and HEADER.encode() not in there:  # an empty one is nobody's: `-o /dev/stdout > new.yaml`
        raise UserError(
            f"{output} was not written by this command, and is left as it is",
            "write to another file, or remove it; values of your own go into a second file",
        )
    else:
        write_whole(output, text)
        say(f"{output}: written")
