"""`tritonkit init`: a commented starter spec."""

from __future__ import annotations

import click


@click.command("init")
@click.argument("name")
@click.option("--onnx", metavar="PATH", help="The model, from the project's root (default: models/NAME.onnx).")
@click.option("--force", is_flag=True, help="Replace a spec that is there.")
def command(name: str, onnx: str | None, force: bool) -> None:
    """Write specs/NAME.yaml, filled in from the ONNX file where it is there."""
    from pydantic import TypeAdapter, ValidationError

    from generator.problems import UserError
    from generator.project import Project
    from generator.spec.base import ModelName, ProjectPath
    from generator.starter import starter
    from generator.whole_file import write_whole
    from tritonkit.cli.output import say

    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError as error:
        raise UserError(
            f"`{name}` cannot be the name of a pipeline",
            "use at most 128 letters, digits, `_`, `-` and `.`, beginning with a letter or digit, and no `..`",
        ) from error
    project = Project.find()
    file = project.specs / f"{name}.yaml"
    if file.exists() and not force:
        raise UserError(f"specs/{name}.yaml is there already", "choose another name, or replace it with --force")
    onnx = f"models/{name}.onnx" if onnx is None else onnx
    try:
        TypeAdapter(ProjectPath).validate_python(onnx)
    except ValidationError as error:
        raise UserError(
            f"`{onnx}` is no path from the project's root", "put the file into the project, such as models/net.onnx"
        ) from error
    write_whole(file, starter(name, onnx, project))
    say(f"wrote specs/{name}.yaml")
    if not project.path(onnx).is_file():
        say(f"put your model at {onnx}, then set `inputs` and `outputs` to its tensors")
    say(f"next: tritonkit lint specs/{name}.yaml")
