"""What a rule is: a function that looks at one model, with a code, a severity, and a page in its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.problems import Place, Severity

if TYPE_CHECKING:
    from generator.lint.model import Model

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a config.pbtxt: the characters from `start` to before `end` become `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: `field` is a path inside the config.pbtxt (empty for the model as a whole).

    `place` is given where it is not the config's field; `severity` where it is not the rule's; `edits` mend it
    without a change of what was meant.
    """

    field: str
    message: str
    hint: str = ""
    place: Place | None = None
    severity: Severity | None = None
    edits: tuple[Edit, ...] = ()


Check = Callable[["Model"], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule and its page.

    `source` says where it was read, `is_live` whether the embedded server can judge it too (else: read, not run).
    `is_local` says that mistakes elsewhere in the config.pbtxt cannot make it wrong: it looks at one value that was
    read, or at names and files beside the configuration. Such a rule is also asked of a file with mistakes.
    `needs` are fields of the top: where none of them is written, the rule has nothing to say and is not asked. A
    family's file says it of all of its rules by `NEEDS`, and by `BACKEND` which backend's models (after completion)
    they are about.
    """

    code: str
    severity: Severity
    source: str
    is_live: bool
    is_local: bool
    needs: tuple[str, ...]
    backend: str
    check: Check
    title: str
    why: str
    bad: str
    good: str


RULES: dict[str, Rule] = {}
_SECTION = re.compile(r"^(Bad|Good):\n((?:[ ]{4}.*\n|\n)+)", re.MULTILINE)


def rule(
    code: str, severity: Severity, source: str, *, live: bool = True, local: bool = False
) -> Callable[[Check], Check]:
    """Registers a rule. Raises ValueError for a code that is taken or a docstring that is no page."""

    def register(check: Check) -> Check:
        if code in RULES:
            raise ValueError(f"{code} is the code of two rules")
        text = inspect.cleandoc(check.__doc__ or "") + "\n"
        examples = {name: inspect.cleandoc(body) for name, body in _SECTION.findall(text)}
        title, _, why = _SECTION.sub("", text).strip().partition("\n")
        if set(examples) != {"Bad", "Good"} or not why.strip():
            raise ValueError(f"the docstring of {code} is no page: a title, why, `Bad:` and `Good:`")
        RULES[code] = Rule(
            code, severity, source, live, local, check.__globals__.get("NEEDS", ()),
            check.__globals__.get("BACKEND", ""), check,
            title.rstrip("."), why.strip(), examples["Bad"], examples["Good"],
        )  # fmt: skip
        return check

    return register
