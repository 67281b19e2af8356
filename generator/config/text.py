"""ModelConfig ↔ text: commented and stable one way, strict the other, each checked against the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.config.printer import Printer, comment_lines

_TEMPLATES = Path(__file__).parent.parent / "templates"


class RenderMismatchError(RuntimeError):
    """The rendered text does not say what the message says: a mistake in here, never the user's."""


def parse(text: str) -> ModelConfig:
    """The ModelConfig that `text` says, strictly. Raises google.protobuf.text_format.ParseError."""
    return text_format.Parse(text, ModelConfig())


def render(message: ModelConfig, header: tuple[str, ...] = (), comments: Mapping[str, str] | None = None) -> str:
    """The text of `message`: `header` as comment on top, `comments` by path (see Printer), then its fields.

    Parsed back before it is returned; raises RenderMismatchError where that gives another message.
    """
    printer = Printer(comments or {})

    def printed(names: list[str]) -> str:
        return "\n".join(line for name in names for line in printer.field(message, name))

    text = _template().render(
        header=[line for part in header for line in comment_lines(part)],
        printed=printed,
        every_field=[field.name for field in message.DESCRIPTOR.fields],
    )
    try:
        back = parse(text)
    except text_format.ParseError as error:
        raise RenderMismatchError(f"the rendered text of `{message.name}` cannot be parsed: {error}") from error
    # Bytes, because messages with a NaN in them are never equal.
    if back.SerializeToString(deterministic=True) != message.SerializeToString(deterministic=True):
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
