"""Kinds of values that several options take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Parameter = click.ParamType[float]
    TextParameter = click.ParamType[str]
else:
    Parameter = TextParameter = click.ParamType  # releases differ in whether it is generic

SHORTEST_S, LONGEST_S = 0.001, 86_400.0


class Version(TextParameter):
    """A version of a model: a number from 1 on, as text."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The number as Triton writes it. Raises click.BadParameter."""
        text = str(value)
        if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
            self.fail(f"{text} is no version; versions are numbers from 1 on", param, ctx)
        return text


class Release(TextParameter):
    """A release of Triton whose fields and backends are known, or (unless it is excluded) `embedded`."""

    name = "release"

    def __init__(self, *, embedded: bool = True) -> None:
        self._others = ("embedded",) if embedded else ()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The release. Raises click.BadParameter."""
        from generator.lint.server import NEWEST, OLDEST, RELEASES

        text = str(value)
        if text not in (*RELEASES, *self._others):
            known = " and ".join((f"{OLDEST} to {NEWEST}", *self._others))
            self.fail(f"{text} is no release that is known; known are {known}", param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str  # noqa: ARG002  (click's)
    ) -> list[CompletionItem]:  # fmt: skip
        """The releases that begin so."""
        from click.shell_completion import CompletionItem

        from generator.lint.server import RELEASES

        return [CompletionItem(name) for name in (*self._others, *RELEASES) if name.startswith(incomplete)]


class Seconds(Parameter):
    """A number of seconds from a millisecond to a day. (click's own ranges let `nan` through.)"""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises click.BadParameter."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not SHORTEST_S <= number <= LONGEST_S:
            self.fail(f"{value} is not a number from {SHORTEST_S:g} to {LONGEST_S:g}", param, ctx)
        return number
