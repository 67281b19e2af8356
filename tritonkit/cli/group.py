"""The group of all commands, which imports a command's module only when that command is called."""

from __future__ import annotations

import importlib
import keyword

import click

VERSION = "0.1.0"

# In the order of use. The short help stands here so that `-h` imports none of them.
COMMANDS = {
    "init": "Write a commented starter spec.",
    "build": "Build engines, and prove that their answers are right.",
    "engines": "List the engines, and whether each is what its spec asks for.",
    "render": "Render specs to model repositories.",
    "inspect": "Show what is in an ONNX file, and what an engine would refuse.",
    "profile": "Time an ONNX file layer by layer, and say what limits each.",
    "copies": "Show where the bytes of a request are copied.",
    "memory": "Show what a pipeline needs of memory, and the server's flags.",
    "import": "Make specs of an existing model repository.",
    "lint": "Check specs and repositories without a server.",
    "explain": "Explain the code of a problem, or list all codes.",
    "serve": "Serve a model repository until Ctrl-C.",
    "update": "Bring a running server to the specs, without losing a request.",
    "rollback": "Serve an earlier version of a model again.",
    "infer": "Send files to a pipeline and print the answers.",
    "status": "Show what a running server serves, against what was rendered.",
    "snippet": "Print a client call that works when pasted.",
    "layouts": "Compare and measure the layouts of a spec on one server.",
    "demo": "Serve the digits and classify the held-out ones.",
    "doctor": "Check this machine, and say what to mend.",
    "schema": "Print the JSON Schema of specs.",
    "completion": "Print the completion script of a shell.",
}


class LazyGroup(click.Group):
    """Finds commands in `tritonkit.cli.commands.<command>`, with a `_` behind a name that is a word of Python."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"tritonkit.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the closest command in the message where there is none of that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"commands: {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command `{args[0]}`; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The short helps, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="tritonkit")
def tritonkit() -> None:
    """One short YAML spec and an ONNX model become a Triton service.

    Standard output is data, standard error is everything else. Exit status: 0 fine, 1 yours to mend, 2 ours,
    130 interrupted.
    """
