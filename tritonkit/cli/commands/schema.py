"""`tritonkit schema`: the JSON Schema of specs, for editors."""

from __future__ import annotations

from pathlib import Path

import click

SCHEMA_FILE = "docs/spec.schema.json"


@click.command("schema")
@click.option("--check", is_flag=True, help=f"Exit 1 if {SCHEMA_FILE} is not up to date.")
@click.option("--write", is_flag=True, help=f"Write {SCHEMA_FILE}.")
def command(check: bool, write: bool) -> None:
    """Print the JSON Schema of specs."""
    import json

    from generator.problems import UserError
    from generator.spec import json_schema
    from generator.whole_file import write_whole

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    file = Path(__file__).parents[3] / SCHEMA_FILE
    if write:
        write_whole(file, text)
    elif check:
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{SCHEMA_FILE} is not what the code says", "`tritonkit schema --write` brings it up to date"
            )
    else:
        click.echo(text, nl=False)
