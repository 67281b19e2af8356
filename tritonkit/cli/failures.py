"""How a command ends: every exception becomes a message and an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TextIO

import click

from generator.problems import ProblemsError, UserError

FINE, YOURS, OURS, INTERRUPTED = 0, 1, 2, 130
NAME, COMPLETION = "tritonkit", "_TRITONKIT_COMPLETE"


def guarded(group: click.Group, arguments: list[str] | None) -> int:
    """Runs `group`; the exit status. A traceback is printed for our own mistakes alone."""
    try:
        return _told(group, sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # The reader went away (`tritonkit … | head`): nothing is left to say.
        _discard(sys.stdout, sys.stderr)
        return FINE
    except OSError:  # standard error cannot be written either
        _discard(sys.stdout, sys.stderr)
        return YOURS


def _told(group: click.Group, arguments: list[str]) -> int:
    """Runs `group` and says what went wrong. Raises OSError when even that cannot be said."""
    try:
        return _interruptible(group, arguments)
    except click.ClickException as error:
        show_user_error(_usage(error))
        return YOURS
    except (KeyboardInterrupt, click.Abort):
        try:
            click.echo("\ninterrupted", err=True)  # the line break ends the terminal's ^C
        except OSError:  # the terminal is gone, and that was the interrupt
            _discard(sys.stdout, sys.stderr)
        return INTERRUPTED
    except ProblemsError as error:
        from tritonkit.cli.output import show_problems

        show_problems(error.problems)
        return YOURS
    except UserError as error:
        show_user_error(error)
        return YOURS
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:
            _discard(sys.stdout)
        show_user_error(_refused(error))
        return YOURS
    except Exception as error:  # noqa: BLE001  (the one place where a bug of ours ends)
        if lacking := _not_installed(error):
            show_user_error(lacking)
            return YOURS
        traceback.print_exc()
        click.echo(
            "\nThis is a mistake in tritonkit, not in your input: please report it with the lines above.", err=True
        )
        return OURS


def _interruptible(group: click.Group, arguments: list[str]) -> int:
    """Runs `group`; what an interrupt has become on its way (in a library that was being imported) is one again."""
    try:
        return _run(group, arguments)
    except Exception as error:
        if _was_interrupt(error):
            raise KeyboardInterrupt from error
        raise


def _was_interrupt(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt is among what led to the exception."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        cause = left.pop()
        if isinstance(cause, KeyboardInterrupt):
            return True
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            left += [cause.__cause__, cause.__context__]
    return False


def _run(group: click.Group, arguments: list[str]) -> int:
    """What click's own `main` does, but for its handling of errors."""
    from tritonkit.cli.output import may_colour

    if instruction := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(group, {}, NAME, COMPLETION, instruction)
    try:
        with group.make_context(NAME, list(arguments), color=None if may_colour() else False) as context:
            result = group.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return FINE
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else FINE


def _usage(error: click.ClickException) -> UserError:
    """A command line that cannot be understood, in the form of all other errors."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context is not None else NAME
    return UserError(message[:1].lower() + message[1:], f"`{command} -h` shows what is valid")


def _refused(error: OSError) -> UserError:
    """What the operating system refuses: a file where a folder should be, no permission, a full disk."""
    reason = error.strerror or str(error)
    what = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the output"
    return UserError(f"{what} cannot be read or written: {reason[:1].lower()}{reason[1:]}")


def _not_installed(error: Exception) -> UserError | None:
    """The error that an optional package is not there; None for any other."""
    from generator.extras import missing

    found = missing(error)
    return None if found is None else UserError(*found)


def _discard(*streams: TextIO | None) -> None:
    """Nothing more is written to these: what is left in a buffer would fail once more when Python ends."""
    for stream in streams:
        if stream is not None:
            with contextlib.suppress(OSError):  # not a file: nothing is written at the end either
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_user_error(error: UserError) -> None:
    """`error: …` and the hint, on standard error."""
    from tritonkit.cli.output import may_colour, printable

    colour = None if may_colour() else False
    click.echo(f"{click.style('error', fg='red', bold=True)}: {printable(error.message)}", err=True, color=colour)
    if error.hint:
        click.echo(f"\n{click.style('hint', fg='cyan', bold=True)}: {printable(error.hint)}", err=True, color=colour)
