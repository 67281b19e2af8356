"""A group of commands that imports a command's module only when that command is called."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Finds commands in `<modules><command>`, with a `_` behind a name that is a word of Python.

    `commands_by_name` are their short helps, in the order of use, so that `-h` imports none of them.
    """

    def __init__(self, *args: Any, commands_by_name: Mapping[str, str], modules: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._short_helps, self._modules = dict(commands_by_name), modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        """All names, in the order of use."""
        return list(self._short_helps)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's)
        """The command, imported now."""
        if cmd_name not in self._short_helps:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"{self._modules}{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the closest command in the message where there is none of that name."""
        known = self._short_helps
        if args and args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            close = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"commands: {', '.join(known)}"
            raise click.UsageError(f"there is no command `{args[0]}`; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """The short helps, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._short_helps.items()))
