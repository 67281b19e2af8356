"""Pages of codes, and SARIF, which carries them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from generator.codes import CODES, PAGES, STAGES, family_of
from generator.lint.explain import FILES, LIVE, READ, Page, page_of, pages
from generator.lint.rule import RULES
from generator.lint.sarif import render_sarif
from generator.problems import Place, Problem, Severity, UserError


def test_every_code_has_a_page() -> None:
    found = pages()
    assert {page.code for page in found} == set(CODES)
    assert len(found) == len(CODES)
    assert {page.code for page in found if page.is_rule} == set(RULES)
    for page in found:
        assert page.stage in STAGES
        assert page.text().startswith(f"{page.code}: {page.title}\n")
        assert page.text().endswith("\n")


@pytest.mark.parametrize("code", RULES)
def test_the_page_of_a_rule_has_all_of_its_parts(code: str) -> None:
    page, text = page_of(code), page_of(code).text()
    assert len(page.title) <= 80
    for part in (page.why, page.source, str(page.severity), LIVE if page.is_live else READ):
        assert part in text
        assert part in page.markdown()
    for line in [*page.bad.splitlines(), *page.good.splitlines()]:
        assert f"    {line}".rstrip() in text
        assert line in page.markdown()
    assert page.markdown(3).startswith(f"### {code}: {page.title}\n")
    assert page.as_json() == json.loads(json.dumps(page.as_json()))
    assert page.as_json()["rule"] is True


def test_the_page_of_another_code() -> None:
    page = page_of("tk204")
    assert page == Page("TK204", CODES["TK204"], "Resolving it on a target")
    assert "Stage: Resolving it on a target." in page.text()
    assert "hint says how to mend it" in page.text()
    assert page.as_json()["rule"] is False
    assert page.as_json()["run_live"] is page.as_json()["severity"] is None


def test_a_code_that_a_page_tells_more_of() -> None:
    docs = Path(__file__).parents[3] / "docs"
    for code, page in PAGES.items():
        assert (docs / page).is_file()
        assert page_of(code).text().endswith(f"\ndocs/{page} tells more.\n")
        assert page_of(code).as_json()["more"] == f"docs/{page}"
        assert not page_of(code).is_rule
    assert {"TK244", "TK245"} <= set(PAGES)
    assert page_of("TK204").as_json()["more"] is None


@pytest.mark.parametrize(
    ("code", "close"), [("TK5022", "TK502"), ("TK2O4", "TK2"), ("502", ""), ("", ""), ("nonsense", "")]
)
def test_a_code_that_there_is_not(code: str, close: str) -> None:
    with pytest.raises(UserError) as raised:
        page_of(code)
    assert raised.value.message == f"there is no code `{code.upper()}`"
    assert close in raised.value.hint
    assert "did you mean" in raised.value.hint or raised.value.hint == "`tritonkit explain` lists all codes"


def test_the_family_of_a_rule_is_what_its_module_is_about() -> None:
    assert family_of(RULES["TK502"]).startswith("Names")
    for rule in RULES.values():
        assert 3 < len(family_of(rule)) < 90


# SARIF: what 2.1.0 requires of each part, and what code hosts ask for besides ---------------------------------------


PROBLEMS = [
    Problem("TK502", Place("m/config.pbtxt", 2, 7), "name", "`n` stands in directory `m`", "Triton wants both alike"),
    Problem("TK503", Place("ü m"), "", "there is no version directory beside it"),
    Problem("TK503", Place("/elsewhere/m"), "", "a \x1b b", severity=Severity.WARNING),
    Problem("TK204", Place("s.yaml", 3, 1), "model", "x", severity=Severity.NOTE),
    Problem("TK204", Place("s.yaml", 9, 1), "model", "x", severity=Severity.NOTE),
]


def sarif(problems: list[Problem]) -> Any:
    return json.loads(render_sarif(problems, "0.1.0"))


def test_sarif_has_the_form_of_it() -> None:
    log = sarif(PROBLEMS)
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    [run] = log["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("tritonkit", "0.1.0")
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == sorted(set(ids)) == ["TK204", "TK502", "TK503"]
    for rule in driver["rules"]:
        assert set(rule) <= {"id", "shortDescription", "fullDescription", "help", "defaultConfiguration"}
        assert rule["shortDescription"]["text"] == CODES[rule["id"]]
        for name in ("fullDescription", "help"):
            assert rule.get(name, {"text": "-"})["text"]
        assert rule.get("defaultConfiguration", {"level": "none"})["level"] in {"none", "note", "warning", "error"}
    assert {rule["id"] for rule in driver["rules"] if "help" in rule} == {"TK502", "TK503"}
    assert len(run["results"]) == len(PROBLEMS)
    for result in run["results"]:
        assert set(result) == {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"}
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"note", "warning", "error"}
        assert result["message"]["text"].isprintable()
        [location] = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"]["startLine"] >= 1
        assert physical["region"].get("startColumn", 1) >= 1
        uri = physical["artifactLocation"]["uri"]
        assert re.fullmatch(r"[\x21-\x7e]+", uri)
        assert urlparse(uri).scheme in {"", "file"}


def test_sarif_says_what_the_problems_say() -> None:
    results = sarif(PROBLEMS)["runs"][0]["results"]
    found = [(r["ruleId"], r["level"], r["locations"][0]["physicalLocation"]) for r in results]
    assert found == [
        ("TK503", "warning", {"artifactLocation": {"uri": "file:///elsewhere/m"}, "region": {"startLine": 1}}),
        ("TK502", "error", {"artifactLocation": {"uri": "m/config.pbtxt"}, "region": {"startLine": 2, "startColumn": 7}}),
        ("TK204", "note", {"artifactLocation": {"uri": "s.yaml"}, "region": {"startLine": 3, "startColumn": 1}}),
        ("TK204", "note", {"artifactLocation": {"uri": "s.yaml"}, "region": {"startLine": 9, "startColumn": 1}}),
        ("TK503", "error", {"artifactLocation": {"uri": "%C3%BC%20m"}, "region": {"startLine": 1}}),
    ]  # fmt: skip
    assert results[1]["message"]["text"] == "name: `n` stands in directory `m`. Triton wants both alike"


def test_a_fingerprint_stays_when_lines_move_and_differs_where_problems_do() -> None:
    def prints(problems: list[Problem]) -> list[str]:
        return [r["partialFingerprints"]["tritonkit/v1"] for r in sarif(problems)["runs"][0]["results"]]

    assert len(set(prints(PROBLEMS))) == len(PROBLEMS)
    moved = [Problem(p.code, Place(p.place.file, p.place.line and p.place.line + 5, p.place.column), p.field, p.message,
                     p.hint, p.severity) for p in PROBLEMS]  # fmt: skip
    assert prints(moved) == prints(PROBLEMS)


def test_sarif_of_nothing() -> None:
    [run] = sarif([])["runs"]
    assert run["results"] == run["tool"]["driver"]["rules"] == []


@pytest.mark.parametrize(("code", "has_files"), [("TK671", True), ("TK502", False)])
def test_a_page_with_files_says_what_their_lines_are(code: str, has_files: bool) -> None:
    page = page_of(code)
    assert (FILES in page.text()) is has_files
    assert (FILES in page.markdown()) is has_files
