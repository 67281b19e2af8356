"""How a command ends: every exception becomes a message and an exit status."""

from __future__ import annotations

import os
import sys
import traceback

import click

from generator.problems import ProblemsError, UserError

FINE, YOURS, OURS, INTERRUPTED = 0, 1, 2, 130


def guarded(group: click.Group, arguments: list[str] | None) -> int:
    """Runs `group`; the exit status. A traceback is printed for our own mistakes alone."""
    try:
        result = group.main(arguments, prog_name="tritonkit", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return FINE
    except click.ClickException as error:
        error.show()
        return YOURS
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except ProblemsError as error:
        from tritonkit.cli.output import show_problems

        show_problems(error.problems)
        return YOURS
    except UserError as error:
        show_user_error(error)
        return YOURS
    except BrokenPipeError:
        # The reader went away (`tritonkit … | head`): nothing is left to say, and Python must not say it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except Exception:  # noqa: BLE001  (the one place where a bug of ours ends)
        traceback.print_exc()
        click.echo(
            "\nThis is a mistake in tritonkit, not in your input: please report it with the lines above.", err=True
        )
        return OURS
    return result if isinstance(result, int) else FINE


def show_user_error(error: UserError) -> None:
    """`error: …` and the hint, on standard error."""
    click.echo(f"{click.style('error', fg='red', bold=True)}: {error.message}", err=True)
    if error.hint:
        click.echo(f"\nhint: {error.hint}", err=True)
