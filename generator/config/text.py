"""ModelConfig ↔ text: commented and stable one way, strict the other, each checked against the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import jinja2
from google.protobuf import text_format

from generator.config.messages import ModelConfig
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
    printer = Printer(message, comments or {})

    def paragraphs(layout: list[list[str]]) -> list[str]:
        placed = {name for names in layout for name in names}
        others = [name for name in printer.names() if name not in placed]
        lines = ([line for name in names for line in printer.field(name)] for names in [*layout, others])
        return ["\n".join(found) for found in lines if found]

    text = _template().render(header=[line for part in header for line in comment_lines(part)], paragraphs=paragraphs)
    try:
        back = read_back(text)
    except text_format.ParseError as error:
        raise RenderMismatchError(f"the rendered text of `{message.name}` cannot be parsed: {error}") from error
    # Bytes, because messages with a NaN in them are never equal.
    if back.SerializeToString(deterministic=True) != message.SerializeToString(deterministic=True):
        raise RenderMismatchError(f"the rendered text of `{message.name}` says something else than its message")
    return text


def read_back(text: str) -> ModelConfig:
    """As `parse`, for text whose paragraphs hold whole fields, as ours do: one that was parsed before is not again.

    A text says its fields one after the other, and so do a message's bytes: what two paragraphs say together is their
    bytes in a row. Raises google.protobuf.text_format.ParseError, also where the same field is in two paragraphs.
    """
    found = [_paragraph(paragraph) for paragraph in text.split("\n\n")]
    names = [name for names, _ in found for name in names]
    if len(set(names)) < len(names):
        raise text_format.ParseError(f"a field is in two paragraphs: {', '.join(names)}")
    return ModelConfig.FromString(b"".join(data for _, data in found))


def paragraphs_parsed() -> int:
    """How many paragraphs have been parsed so far: of benchmarks, to tell how much was the same."""
    return _paragraph.cache_info().misses


# Most paragraphs are those of other models too: instances, batching, a tensor that one gives and the next one takes.
@lru_cache(maxsize=4096)
def _paragraph(text: str) -> tuple[tuple[str, ...], bytes]:
    """The names of the fields that a part of a text holds, and its message's bytes."""
    message = parse(text)
    return tuple(field.name for field, _ in message.ListFields()), message.SerializeToString()


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
