"""Which codes a user wants to hear of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from generator.problems import Problem, UserError

_LIKE_DIGITS = str.maketrans("OILS", "0115")


def known() -> dict[str, str]:
    """Every code and its title."""
    from generator.codes import CODES

    return CODES


def closest(code: str, codes: Iterable[str] | None = None) -> str:
    """A hint with the code, of `codes` or of all that `generator` knows, that is nearest to one that there is not."""
    meant = "TK" + code.upper().removeprefix("TK").translate(_LIKE_DIGITS)
    near = difflib.get_close_matches(meant, known() if codes is None else list(codes), n=1, cutoff=0.7)
    return f"did you mean `{near[0]}`?" if near else "`tritonkit explain` lists all codes"


@dataclass(frozen=True)
class Selection:
    """Codes, or beginnings of them (`TK6`): those that are told (none given: all), less those that are not."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def of(cls, select: Sequence[str], ignore: Sequence[str]) -> Selection:
        """From what options say: codes with commas between them. Raises UserError for what is no code."""
        return cls(_codes(select), _codes(ignore))

    def has(self, code: str) -> bool:
        """Whether problems of this code are told."""
        return (not self.select or code.startswith(self.select)) and not code.startswith(self.ignore)

    def of_problems(self, problems: Iterable[Problem]) -> list[Problem]:
        """Those that are told."""
        return [problem for problem in problems if self.has(problem.code)]


def _codes(values: Sequence[str]) -> tuple[str, ...]:
    given = [code.strip().upper() for value in values for code in value.split(",") if code.strip()]
    for code in given:
        if not re.fullmatch(r"TK\d{0,3}", code) or not any(there.startswith(code) for there in known()):
            raise UserError(f"there is no code `{code}`", closest(code))
    return tuple(given)
