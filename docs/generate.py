"""Writes the reference pages from the code: docs/reference/{chart-values,cli,codes,rules,spec}.md.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 if they are not what the code says
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from generator.codes import PAGES
from generator.lint import explain
from generator.spec import Spec
from tritonkit.cli.group import COMMANDS, tritonkit
from tritonkit.codes import STAGES

REFERENCE = Path(__file__).parent / "reference"
CHART = Path(__file__).parents[1] / "deploy" / "charts" / "triton"
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
            page += _help(command, name, context)
    return page


def _help(command: click.Command, name: str, parent: click.Context, level: int = 2) -> str:
    """A command's help under a heading, and that of the commands in it."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    text = f"\n{'#' * level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            text += _help(found, inner, context, level + 1) if found is not None else ""
    return text


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
        page += "".join(f"| {code} | {title}{_more(code)} |\n" for code, title in sorted(codes.items()))
    return page


def _more(code: str) -> str:
    """A link to the page that tells more of it."""
    return f" ([more](../{PAGES[code]}))" if code in PAGES else ""


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


def chart_page() -> str:
    """Every value of the chart, as its schema describes it and with what it is when nothing is said."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    page = HEAD + "# Values of the chart\n\n"
    page += (
        "`deploy/charts/triton/values.schema.json` says the same to Helm, which refuses what is not here. `tritonkit "
        "deploy values` writes those that follow from specs. `[]` stands for each entry of a list.\n"
    )
    parts = {name: part for name, part in schema["properties"].items() if name != "global"}
    alone = [name for name, part in parts.items() if not _has_fields(part)]
    page += _values_table("For the whole release", "", [(name, parts[name], defaults[name]) for name in alone])
    for name, part in parts.items():
        if name not in alone:
            page += _values_table(f"`{name}`", part["description"], list(_values_in(name, part, defaults[name])))
    return page


def _has_fields(part: dict[str, Any]) -> bool:
    """Of our own: what is in Kubernetes' words leaves the rest to it."""
    inner = part.get("items", part)
    return "properties" in inner and "additionalProperties" in inner


def _values_in(path: str, part: dict[str, Any], default: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every field below a part: its path, its schema and its default."""
    if "items" in part:
        path, part, default = f"{path}[]", part["items"], None
    for name, field in part.get("properties", {}).items():
        said = default.get(name) if isinstance(default, dict) else None
        if "properties" not in field:
            yield f"{path}.{name}", field, said
        if _has_fields(field):
            yield from _values_in(f"{path}.{name}", field, said)


def _values_table(title: str, description: str, rows: list[tuple[str, dict[str, Any], Any]]) -> str:
    text = f"\n## {title}\n\n" + (f"{description}\n\n" if description else "")
    text += "| value | type | default | meaning |\n|---|---|---|---|\n"
    for path, field, default in rows:
        shown = "" if default is None or "[]" in path else f"`{json.dumps(default)}`"
        meaning = field["description"].replace("|", "\\|").replace("<", "&lt;")
        text += f"| `{path}` | {_type_of_value(field)} | {shown} | {meaning} |\n"
    return text


def _type_of_value(field: dict[str, Any]) -> str:
    if isinstance(field["type"], list):
        return " or ".join("null" if kind == "null" else _type({"type": kind}) for kind in field["type"])
    inner = field.get("items", field)
    if inner["type"] != "object":
        return _type(field)
    if "additionalProperties" not in inner:
        return "list, as in Kubernetes" if "items" in field else "as in Kubernetes"
    return "list of fields" if "items" in field else _type(field)


def main() -> int:
    """Writes or checks all pages."""
    pages = {
        "chart-values.md": chart_page(), "cli.md": cli_page(), "spec.md": spec_page(), "codes.md": codes_page(),
        "rules.md": rules_page(),
    }  # fmt: skip
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
