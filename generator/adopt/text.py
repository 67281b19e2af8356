"""A spec's data as the YAML that people read: what fits a line stands in one, the rest in blocks."""

from __future__ import annotations

import re
from typing import Any

import yaml

from generator.load.scalars import NumberRefusedError, resolve

LINE = 100  # characters that a mapping or list may take in one line
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"yes", "no", "on", "off"})  # text here, and a boolean to older readers of YAML


class Block(dict[str, Any]):
    """A mapping with a line for each field, however short."""


class Lines(list[Any]):
    """A list with a line for each item, however short."""


class _Dumper(yaml.SafeDumper):
    """Blocks, and one line for what fits; text that is more than a word in double quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's)
        """A spec knows no aliases."""
        return True

    def represent_mapping(self, tag: str, mapping: Any, _style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, not isinstance(mapping, Block) and len(repr(mapping)) <= LINE)

    def represent_sequence(self, tag: str, sequence: Any, _style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(
            tag, sequence, not isinstance(sequence, Lines) and len(repr(sequence)) <= LINE
        )

    def text(self, data: str) -> yaml.ScalarNode:
        """As it is where every reader of YAML takes it for this text."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if _is_plain(data) else '"')


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(Block, yaml.SafeDumper.represent_dict)
_Dumper.add_representer(Lines, yaml.SafeDumper.represent_list)


def _is_plain(text: str) -> bool:
    try:
        return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS and resolve(text) == text
    except NumberRefusedError:
        return False


def spec_text(data: dict[str, Any], head: str) -> str:
    """The text of a spec; `head` is a comment of one line."""
    models = Block({key: Block(model) for key, model in data["models"].items()})
    data = Block({**data, "models": models})
    if "flow" in data:
        data["flow"] = Lines(data["flow"])
    comment = "".join(c if c.isprintable() else "?" for c in head)
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True, default_flow_style=False)
    return f"# {comment}\n{body}"
