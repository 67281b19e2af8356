"""Problems as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from generator.lint.explain import Page, page_of
from generator.problems import Problem, Severity
from generator.report import visible

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render_sarif(problems: Iterable[Problem], version: str) -> str:
    """One run of tritonkit `version`: the problems by file and line, and the pages of their rules."""
    ordered = sorted(problems, key=lambda p: (p.place.file, p.place.line, p.place.column, p.code))
    codes = sorted({problem.code for problem in ordered})
    driver = {"name": "tritonkit", "version": version, "rules": [_rule(page_of(code)) for code in codes]}
    seen: dict[str, int] = {}
    results = [_result(problem, codes.index(problem.code), seen) for problem in ordered]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = {"id": page.code, "shortDescription": {"text": page.title}}
    if page.why:
        found["fullDescription"] = {"text": page.why}
        found["help"] = {"text": page.text(), "markdown": page.markdown()}
    if page.severity is not None:
        found["defaultConfiguration"] = {"level": _LEVEL[page.severity]}
    return found


def _result(problem: Problem, index: int, seen: dict[str, int]) -> dict[str, Any]:
    message = f"{problem.field}: {problem.message}" if problem.field else problem.message
    text = visible(f"{message}. {problem.hint}" if problem.hint else message)
    # A place on a line is asked for by code hosts; a file as a whole is its first line.
    region = {"startLine": problem.place.line or 1}
    if problem.place.line:
        region["startColumn"] = problem.place.column
    location = {"artifactLocation": {"uri": _uri(problem.place.file)}, "region": region}
    return {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": _LEVEL[problem.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"tritonkit/v1": _fingerprint(problem, seen)},
    }


def _fingerprint(problem: Problem, seen: dict[str, int]) -> str:
    """The same for the same problem after lines were added above it; of equal ones the later count on."""
    what = "\0".join([problem.code, problem.place.file, problem.field, problem.message])
    digest = hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    seen[digest] = seen.get(digest, 0) + 1
    return f"{digest}:{seen[digest]}"


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
