"""docs/how-to/errors.md as a table: the one place where the messages of bad input stand in full."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from story_tools import CLONE

PAGE = CLONE / "docs" / "how-to" / "errors.md"
_HEADER = ("What happened", "Code", "Message", "What to do")


@dataclass(frozen=True)
class Row:
    """What the page says of one case; `…` in its message stands for any text."""

    code: str
    message: str
    remedy: str

    def fits(self, code: object, message: str) -> bool:
        """Whether that is what a client saw."""
        pattern = ".*".join(map(re.escape, self.message.split("…")))
        return code == self.code and re.fullmatch(pattern, message, re.DOTALL) is not None


@functools.cache
def rows() -> dict[str, Row]:
    """What happened -> what the page says of it; the tables of errors alone, not of other things."""
    found: dict[str, Row] = {}
    in_table = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split(" | ")) if line.startswith("|") else ()
        if cells == _HEADER:
            in_table = True
        elif not cells:
            in_table = False
        elif in_table and not set(line) <= set("|-"):
            happened, code, message, remedy = cells
            assert happened not in found, f"two rows of {happened!r}"
            found[happened] = Row(code.strip("`"), message.strip("`"), remedy)
    return found


def check(happened: str, code: object, message: str) -> None:
    """Fails unless the page has a row that says so."""
    assert happened in rows(), f"{PAGE.name} has no row `{happened}`; it is `{code}`: {message}"
    assert rows()[happened].fits(code, message), f"{happened}: `{code}`: {message}\n{PAGE.name}: {rows()[happened]}"
