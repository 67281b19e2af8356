"""`tritonkit completion`: the completion script of a shell."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: put `eval "$(tritonkit completion bash)"` into ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    from tritonkit.cli.group import tritonkit

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(tritonkit, {}, "tritonkit", "_TRITONKIT_COMPLETE").source())
