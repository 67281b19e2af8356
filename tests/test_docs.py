"""What is written about the code is what the code says: schema, reference pages, codes, links."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from generator.lint.rule import RULES
from generator.load import load
from generator.spec import Spec, json_schema
from tritonkit.cli.group import COMMANDS
from tritonkit.codes import CODES, STAGES

CLONE = Path(__file__).parents[1]
PAGES = [
    page
    for page in [*CLONE.glob("*.md"), *sorted((CLONE / "docs").rglob("*.md")), *sorted((CLONE / "benchmarks").rglob("*.md"))]
    if page.is_file()
]  # fmt: skip
CODE_FOLDERS = ["generator", "deploy", "loadtest", "tritonkit", "tests"]


# Schema ----------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CLONE / "docs" / "spec.schema.json").read_text(encoding="utf-8"))
    return found


def test_the_schema_is_up_to_date() -> None:
    assert schema() == json_schema()


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    whole = schema()
    targets = {f"#/$defs/{name}" for name in whole["$defs"]}
    found = {value for part in _mappings(whole) for key, value in part.items() if key == "$ref"}
    assert found == targets, "and everything that is defined is used"


def test_the_schema_has_the_form_of_one() -> None:
    whole = schema()
    assert whole["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    objects = [whole, *whole["$defs"].values()]
    for part in objects:
        assert part["type"] == "object"
        assert part["additionalProperties"] is False, part["title"]
        assert set(part.get("required", [])) <= set(part["properties"])
    for part in _mappings(whole):
        if isinstance(part.get("pattern"), str):
            re.compile(part["pattern"])
        if isinstance(part.get("enum"), list):
            assert len(set(part["enum"])) == len(part["enum"]) > 0
        if isinstance(part.get("type"), str):
            assert part["type"] in {"object", "array", "string", "integer", "number", "boolean", "null"}


def test_the_schema_has_every_field_of_a_spec() -> None:
    whole = schema()
    assert set(whole["properties"]) == set(Spec.model_fields)
    assert {"name", "inputs", "outputs"} == set(whole["required"])


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mappings(inner)


# Reference pages -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate_docs", CLONE / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pages_that_are_not_up_to_date_are_named_and_written(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().err.count("is not what the code says") == 5
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 0
    for name in ("chart-values.md", "cli.md", "spec.md", "codes.md", "rules.md"):
        assert (tmp_path / "reference" / name).read_text() == (CLONE / "docs" / "reference" / name).read_text()


def test_the_page_of_the_chart_holds_every_value_with_its_default(generate: ModuleType) -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| .*? \| (.*?) \|", generate.chart_page(), re.MULTILINE))
    defaults = yaml.safe_load((CLONE / "deploy" / "charts" / "triton" / "values.yaml").read_text())
    shown: set[str] = set()

    def check(values: dict[str, Any], above: str) -> None:
        for name, value in values.items():
            path = f"{above}{name}"
            if path in rows:
                assert rows[path] == ("" if value is None else f"`{json.dumps(value)}`"), path
                shown.add(path)
            elif value not in ([], {}):  # its fields are there instead
                check(value, f"{path}.")

    check(defaults, "")
    assert len(shown) > 130
    fields_without_a_default = {
        f"resources.{kind}.{name}" for kind in ("requests", "limits") for name in ("cpu", "memory")
    }
    assert set(rows) - shown == fields_without_a_default


def test_the_pages_hold_every_command_field_and_code(generate: ModuleType) -> None:
    assert [line[13:] for line in generate.cli_page().splitlines() if line.startswith("## tritonkit ")] == list(
        COMMANDS
    )
    fields = {name for part in [schema(), *schema()["$defs"].values()] for name in part["properties"]}
    assert set(re.findall(r"^\| `(\w+)` \|", generate.spec_page(), re.MULTILINE)) == fields
    assert re.findall(r"^\| (TK\d+) \|", generate.codes_page(), re.MULTILINE) == [
        code for stage in STAGES.values() for code in sorted(stage)
    ]


def test_the_page_of_rules_holds_every_rule_with_all_of_its_parts(generate: ModuleType) -> None:
    page = generate.rules_page()
    assert re.findall(r"^### (TK\d+): ", page, re.MULTILINE) == [
        code for stage in STAGES.values() for code in sorted(stage) if code in RULES
    ]
    assert set(re.findall(r"\]\((#[^)]*)\)", page)) == {
        f"#{anchor}" for anchor in _anchors(page) if re.match(r"tk\d", anchor)
    }
    parts = re.split(r"^### (?=TK)", page, flags=re.MULTILINE)[1:]
    for part in parts:
        rule = RULES[part[:5]]
        for text in (rule.title, rule.why, f"*{rule.severity}*", rule.bad, rule.good, rule.source):
            assert text in part
    _, _, not_run = page.partition("## Read from source, not run\n")
    assert set(re.findall(r"^- (TK\d+): ", not_run, re.MULTILINE)) == {
        c for c, rule in RULES.items() if not rule.is_live
    }


def test_links_within_the_page_of_fields_lead_somewhere(generate: ModuleType) -> None:
    page = generate.spec_page()
    headings = {line[3:].lower() for line in page.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= headings


# Codes -----------------------------------------------------------------------------------------------------


def test_every_code_has_one_meaning() -> None:
    listed = [code for stage in STAGES.values() for code in stage]
    assert len(set(listed)) == len(listed) == len(CODES)
    assert all(re.fullmatch(r"TK[1-9]\d\d", code) for code in listed)
    titles = list(CODES.values())
    assert len(set(titles)) == len(titles)
    for stage in STAGES.values():
        assert len({code[:3] for code in stage}) == 1 or set(stage) <= set(RULES), "a stage has a hundred of its own"


def test_every_code_is_known_and_every_known_code_is_used() -> None:
    """A code stands in the code that gives it: as itself, or by the name that codes.py gives it."""
    lists = {CLONE / "generator" / folder / "codes.py" for folder in ("load", "resolve", "config", "write", "pbtxt")}
    texts = {
        file: file.read_text(encoding="utf-8")
        for folder in CODE_FOLDERS
        for file in sorted((CLONE / folder).rglob("*.py"))
        if "snapshots" not in file.parts
    }
    names = {m[2]: m[1] for file in lists for m in re.finditer(r'^(\w+) = "(TK\d+)"', texts[file], re.MULTILINE)}
    product = "\n".join(
        text for file, text in texts.items() if file not in lists and not file.is_relative_to(CLONE / "tests")
    )
    for code in CODES:
        assert f'"{code}"' in product or re.search(rf"\bcodes\.{names.get(code, code)}\b", product), code
    used = set(re.findall(r'"(TK\d\d\d)"', product))
    assert used <= set(CODES)


# Links -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CLONE).as_posix())
def test_links_of_pages_lead_to_files(page: Path) -> None:
    text = _without_code(page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", text) + re.findall(
        r"(?:src|href)=\"([^\"]+)\"", text
    )
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} in {page.name}"
        assert target.is_relative_to(CLONE)
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target.read_text(encoding="utf-8")), f"{link} in {page.name}"


def test_there_are_pages_and_they_have_links() -> None:
    assert (CLONE / "README.md") in PAGES
    assert any("](" in page.read_text(encoding="utf-8") for page in PAGES)


def test_the_readme_names_commands_and_files_that_there_are() -> None:
    text = (CLONE / "README.md").read_text(encoding="utf-8")
    for word in re.findall(r"(?<!from )\btritonkit ([a-z]+)\b", _code(text)):
        assert word in COMMANDS, word
    for target in re.findall(r"\bmake ([a-z]+)\b", _code(text)):
        assert re.search(rf"^{target}:", (CLONE / "Makefile").read_text(), re.MULTILINE), target


def test_every_yaml_of_the_pages_that_is_a_spec_can_be_read(tmp_path: Path) -> None:
    specs = [
        block
        for page in PAGES
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        if re.search(r"^name:", block, re.MULTILINE) and re.search(r"^(model|models):", block, re.MULTILINE)
    ]
    for number, text in enumerate(specs):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        found = load([file], Spec)
        assert found.problems == [], text


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def _code(text: str) -> str:
    """What stands between backticks, in a line or as a block."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", rest)])


def _anchors(text: str) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ +(.*?) *$", _without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
