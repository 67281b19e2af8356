"""Every case of the corpus: lint says exactly what it expects, and every rule has cases for it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from corpus_cases import CORPUS, Case, cases, parse

from generator.lint import rules  # noqa: F401  (registers them)
from generator.lint.check import Checked, check
from generator.lint.rule import RULES
from generator.problems import Problem, Severity

CASES = cases()


def judged(case: Case) -> Checked:
    return check(case.folders(), case.server)


def expected(problem: Problem, places: list[tuple[str, str]]) -> bool:
    """Whether a case expects the problem: with its line and column where the case gives them."""
    place = problem.place
    shown = [str(place), f"{place.file}:{place.line}", place.file]
    return any((problem.code, text) in places for text in (shown if place.line else shown[:1]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lint_says_what_the_case_expects(case: Case) -> None:
    checked = judged(case)
    own = case.path.parent.name
    problems = checked.problems
    if case.path.stem.startswith("only-"):
        problems = [p for p in problems if p.code == own or p.severity is Severity.ERROR]
    told = [f"{p.code} {p.place} {p.message}" for p in problems]
    assert len(problems) == len(case.problems), told
    assert all(expected(problem, case.problems) for problem in problems), told
    for code, place in case.problems:
        assert any(expected(p, [(code, place)]) for p in problems), f"{code} {place} is not told: {told}"
    for name in case.accepts:
        assert name not in checked.refused, told
    for name in case.refuses:
        assert name in checked.refused, told


@pytest.mark.parametrize("code", RULES)
def test_every_rule_has_a_case_that_fails_and_one_that_passes(code: str) -> None:
    own = [case for case in CASES if case.path.parent.name == code]
    assert any(code in {found for found, _ in case.problems} for case in own)
    assert any(code not in {found for found, _ in case.problems} for case in own)


@pytest.mark.parametrize("code", RULES)
def test_the_page_of_a_rule_shows_cases_that_were_run(code: str) -> None:
    texts = {
        path: [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (CORPUS / code).glob("*.txtar")
    }
    for excerpt, fails in ((RULES[code].bad, True), (RULES[code].good, False)):
        lines = [line.strip() for line in textwrap.dedent(excerpt).splitlines()]
        found = [path for path, text in texts.items() if _holds(text, lines)]
        assert any((code in {c for c, _ in parse(path).problems}) is fails for path in found), excerpt


def _holds(text: list[str], lines: list[str]) -> bool:
    return any(text[start : start + len(lines)] == lines for start in range(len(text) - len(lines) + 1))


def test_every_case_of_a_rule_is_in_its_folder() -> None:
    folders = {path.parent.name for path in CORPUS.glob("*/*.txtar")} - {"regressions"}
    assert folders <= set(RULES), "a folder of cases is called by its rule's code"


def test_places_are_in_files_of_the_case() -> None:
    for case in CASES:
        files = {
            f"{letter}/{name}" if letter else name: data
            for letter, of_letter in case.repositories.items()
            for name, data in of_letter.items()
        }
        folders = {str(folder) for name in files for folder in Path(f"{name}_").parents}
        for code, place in case.problems:
            file, *numbers = place.split(":")
            about = f"{case.name}: {code} {place}"
            assert file in files or file in folders, about
            assert not numbers or _has_place(files[file], *map(int, numbers)), about


def _has_place(data: bytes | None, line: int, column: int = 1) -> bool:
    """Whether a file has that line, and that a character or its end at that column."""
    lines = re.split(r"\r\n|\r|\n", (data or b"").decode("utf-8", "surrogateescape"))
    return 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1
