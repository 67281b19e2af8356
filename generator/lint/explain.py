"""The page of a code: what a rule is about, why it matters, and how a mistake looks and is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.problems import Severity, UserError

LIVE, READ = "run on the live server", "read from source, not run"


@dataclass(frozen=True)
class Page:
    """What is known of a code. A code that is no rule has a title and a stage alone (`why` and so on are empty), and
    `more`, where a page of docs/ tells more.
    """

    code: str
    title: str
    stage: str
    severity: Severity | None = None
    why: str = ""
    bad: str = ""
    good: str = ""
    source: str = ""
    is_live: bool = False
    more: str = ""

    @property
    def is_rule(self) -> bool:
        """Whether it is of a rule."""
        return bool(self.why)

    @property
    def seen(self) -> str:
        """How the rule is known to hold; empty for other codes."""
        return (LIVE if self.is_live else READ) if self.is_rule else ""

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "code": self.code, "title": self.title, "stage": self.stage, "rule": self.is_rule,
            "severity": self.severity.value if self.severity else None, "why": self.why, "bad": self.bad,
            "good": self.good, "source": self.source, "run_live": self.is_live if self.is_rule else None,
            "more": f"docs/{self.more}" if self.more else None,
        }  # fmt: skip

    def text(self) -> str:
        """Plain lines."""
        head = f"{self.code}: {self.title}\n"
        if not self.is_rule:
            further = f"docs/{self.more} tells more.\n" if self.more else ""
            return f"{head}\nStage: {self.stage}.\n\n{MORE}\n{further}"
        return (
            f"{head}\n{self.severity} · {self.stage}\n\n{self.why}\n\n"
            f"Bad:\n{_indented(self.bad)}\nGood:\n{_indented(self.good)}\n{self._files}"
            f"Source: {self.source} ({self.seen})\n"
        )

    @property
    def _files(self) -> str:
        """What lines between files mean, where the examples have some."""
        has_files = any(line.startswith("-- ") for line in f"{self.bad}\n{self.good}".splitlines())
        return f"{FILES}\n\n" if has_files else ""

    def markdown(self, level: int = 0) -> str:
        """The same for the reference page, below a heading of `level` (0: without a heading)."""
        head = f"{'#' * level} {self.code}: {self.title}\n\n" if level else ""
        return (
            f"{head}*{self.severity}*\n\n{self.why}\n\nBad:\n\n```protobuf\n{self.bad}\n```\n\n"
            f"Good:\n\n```protobuf\n{self.good}\n```\n\n{self._files}"
            f"Source: {self.source} ({self.seen}).\n"
        )


FILES = "A line `-- PATH --` is no part of a file: it says which one stands there, or of what it is made."
MORE = (
    "The problem's own message says what was found, what is valid, and where; its hint says how to mend it.\n"
    "docs/reference/codes.md lists all codes."
)


Stages = Mapping[str, Mapping[str, str]]


def pages(stages: Stages | None = None) -> list[Page]:
    """Of every code, by stage; without `stages`, of all codes that `generator` knows."""
    return [page_of(code, stages) for stage in _stages(stages).values() for code in sorted(stage)]


def page_of(code: str, stages: Stages | None = None) -> Page:
    """The page of a code. Raises UserError where there is no such code."""
    from generator.codes import PAGES
    from generator.lint.rule import RULES
    from generator.lint.select import closest

    code, known = code.strip().upper(), _stages(stages)
    stage = next((name for name, codes in known.items() if code in codes), None)
    if stage is None:
        raise UserError(
            f"there is no code `{code}`", closest(code, [one for codes in known.values() for one in codes])
        )
    rule = RULES.get(code)
    if rule is None:
        return Page(code, known[stage][code], stage, more=PAGES.get(code, ""))
    return Page(
        code, rule.title, stage, rule.severity, rule.why, rule.bad, rule.good, rule.source, rule.is_live
    )  # fmt: skip


def _stages(stages: Stages | None) -> Stages:
    from generator.codes import STAGES

    return STAGES if stages is None else stages


def _indented(text: str) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())
