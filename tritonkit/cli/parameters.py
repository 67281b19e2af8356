"""Kinds of values that several options take."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Parameter = click.ParamType[float]
    TextParameter = click.ParamType[str]
else:
    Parameter = TextParameter = click.ParamType  # releases differ in whether it is generic

MOST_PODS = 150_000  # that Kubernetes is made for in one cluster
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


class Given(TextParameter):
    """A text that is not empty: `--context "$UNSET"` names nothing, and must not count as named."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text. Raises click.BadParameter."""
        if not str(value).strip():
            self.fail("it is empty; name one, or leave the option out", param, ctx)
        return str(value)


class GivenFile(click.Path):
    """A file's path that is not empty; what is there is no folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path. Raises click.BadParameter."""
        if not os.fspath(value):
            self.fail("it is empty; name one, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


class GivenFolder(GivenFile):
    """A folder's path that is not empty: an empty one would be the current folder. What is there is no file."""

    def __init__(self) -> None:
        click.Path.__init__(self, path_type=Path, file_okay=False)


class Between(Parameter):
    """A number between two bounds. (click's own ranges let `nan` through.)"""

    name = "number"

    def __init__(self, what: str, least: float, most: float) -> None:
        self._what, self._least, self._most = what, least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises click.BadParameter."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self._least <= number <= self._most:
            valid = f"valid is a number from {self._least:.6f} to {self._most:,.0f}"
            self.fail(f"{value} is no {self._what}; {valid}", param, ctx)
        return number


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
