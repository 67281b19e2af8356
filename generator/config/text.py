"""ModelConfig ↔ text: commented and stable one way, strict the other, each checked against the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2

from generator.config.messages import ModelConfig
from generator.config.printer import Printer, comment_lines
from generator.pbtxt.reader import read

_TEMPLATES = Path(__file__).parent.parent / "templates"


class RenderMismatchError(RuntimeError):
    """The rendered text does not say what the message says: a mistake in here, never the user's."""


def render(message: ModelConfig, header: tuple[str, ...] = (), comments: Mapping[str, str] | None = None) -> str:
    """The text of `message`: `header` as comment on top, `comments` by path (see Printer), then its fields.

    Parsed back before it is returned; raises RenderMismatchError where that gives another message.
    """
    printer = Printer(message, comments or {})

    def paragraphs(layout: list[list[str]]) -> list[str]:
        placed = {name for names in layout for name in names}
        others = [name for name in printer.names() if name not in placed]
        lines = ([line for name in names for line in printer.field(name)] for names in [*layout, others])
        return ["\n".join(found) for found in lines if found]

    text = _template().render(header=[line for part in header for line in comment_lines(part)], paragraphs=paragraphs)
    # By the reader that was compared with the server's: protobuf's own for Python takes more, and four times as long.
    found = read(text, f"{message.name}/config.pbtxt")
    back = found.message
    if back is None:
        problem = found.problems[0]
        raise RenderMismatchError(f"the rendered text of `{message.name}` cannot be parsed: {problem.message}")
    # Bytes, because messages with a NaN in them are never equal.
    if back.SerializeToString(deterministic=True) != message.SerializeToString(deterministic=True):
        from google.protobuf.text_format import MessageToString

        if MessageToString(back) == MessageToString(message):
            return text  # there are many NaN, and one word for them
        raise RenderMismatchError(f"the rendered text of `{message.name}` says something else than its message")
    return text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(),  # escapes HTML only, and this is none
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("config.pbtxt.j2")
