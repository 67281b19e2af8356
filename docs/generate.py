"""Writes the reference pages from the code: docs/reference/{cli,spec,codes,rules}.md.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 if they are not what the code says
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from generator.codes import STAGES
from generator.lint import explain
from generator.spec import Spec
from tritonkit.cli.group import COMMANDS, tritonkit

REFERENCE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py: change the code, then run `make render`. -->\n\n"


def cli_page() -> str:
    """Every command with its help."""
    page = HEAD + "# Command line\n\n"
    page += (
        "Standard output is data, standard error is everything else. Exit status: 0 fine, 1 yours to mend, 2 ours.\n"
    )
    context = click.Context(tritonkit, info_name="tritonkit", terminal_width=100, help_option_names=["-h", "--help"])
    for name in COMMANDS:
        command = tritonkit.get_command(context, name)
        if command is not None:
            inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
            page += f"\n## tritonkit {name}\n\n```text\n{command.get_help(inner)}\n```\n"
    return page


def spec_page() -> str:
    """Every field of a spec, by the model that holds it."""
    schema = Spec.model_json_schema()
    page = HEAD + "# Fields of a spec\n\n"
    page += "`docs/spec.schema.json` says the same to an editor. Unknown fields are errors.\n\n"
    page += _table("A spec", schema)
    for name, part in sorted(schema["$defs"].items()):
        page += _table(name, part)
    return page.rstrip("\n") + "\n"


def _table(title: str, schema: dict[str, Any]) -> str:
    text = f"## {title}\n\n{schema.get('description', '').strip()}\n\n"
    if not schema.get("properties"):
        return text
    required = set(schema.get("required", ()))
    text += "| field | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(field)
        meaning = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        text += f"| `{name}` | {_type(field)} | {default} | {meaning} |\n"
    return text + "\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return (
        ""
        if value is None or value in ([], {}, "")
        else f"`{value}`".replace("True", "true").replace("False", "false")
    )


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(f) for f in field["anyOf"] if f.get("type") != "null")
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(f"`{v}`" for v in field["enum"])
    if "const" in field:
        return f"`{field['const']}`".replace("True", "true")
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
        return f"{_type(inner[0])} by name" if isinstance(inner[0], dict) else "anything by name"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(field.get("type", ""), "anything")


def codes_page() -> str:
    """Every code of a problem."""
    page = HEAD + "# Codes of problems\n\nA code stays what it is from release to release; scripts may rely on it.\n"
    for stage, codes in STAGES.items():
        page += f"\n## {stage}\n\n| code | meaning |\n|---|---|\n"
        page += "".join(f"| {code} | {title} |\n" for code, title in sorted(codes.items()))
    return page


def rules_page() -> str:
    """Every rule of the linter with all that its docstring says, by family."""
    rules = [page for page in explain.pages() if page.is_rule]
    page = HEAD + "# Rules\n\n"
    page += (
        f"`tritonkit lint` has {len(rules)} rules; `tritonkit explain CODE` prints one of them. An *error* is what "
        "the server refuses at load, a *warning* what it accepts and is broken or slow, a *note* what is worth "
        "knowing. How to use them: [lint.md](../how-to/lint.md). All other codes: [codes.md](codes.md).\n"
    )
    stage = ""
    for rule in rules:
        if rule.stage != stage:
            stage = rule.stage
            page += f"\n## {stage}\n\n| code | | rule |\n|---|---|---|\n"
            page += "".join(_row(other) for other in rules if other.stage == stage)
        page += "\n" + rule.markdown(3)
    page += "\n## Read from source, not run\n\n"
    page += (
        "The other errors were compared with a live server of 24.10, in cases that it refuses and cases that it "
        "accepts (of a few the refused case cannot be run, because it ends the server); the other warnings and notes "
        "in cases that it accepts. These were not: they are about backends, GPUs or releases that it has not.\n\n"
    )
    not_run = sorted((rule for rule in rules if not rule.is_live), key=lambda rule: rule.code)
    return page + "".join(f"- {rule.code}: {rule.title} ({rule.source})\n" for rule in not_run)


def _row(rule: explain.Page) -> str:
    anchor = re.sub(r"[^\w\- ]", "", f"{rule.code}: {rule.title}".lower()).replace(" ", "-")
    return f"| [{rule.code}](#{anchor}) | {rule.severity} | {rule.title} |\n".replace("||", "\\|\\|")


def main() -> int:
    """Writes or checks all pages."""
    pages = {"cli.md": cli_page(), "spec.md": spec_page(), "codes.md": codes_page(), "rules.md": rules_page()}
    stale = [n for n, text in pages.items() if not (REFERENCE / n).is_file() or (REFERENCE / n).read_text() != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            sys.stderr.write(f"docs/reference/{name} is not what the code says: run `make render`\n")
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(pages[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
