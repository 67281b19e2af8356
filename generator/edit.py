"""A spec's text with other versions in it: every byte outside the new value stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from generator.problems import UserError
from generator.spec import Spec

Span = tuple[int, int]
BYTE_ORDER_MARK = "\ufeff"
# As specs are read: PyYAML's own scanner refuses some of what libyaml takes. Both count characters.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def with_versions(text: str, model: Sequence[str], numbers: Sequence[int]) -> str:
    """The text with `versions: {specific: [numbers]}` in the model at path `model` (`("model",)`).

    `text` is that of a valid spec, whose model has an `onnx`. What stood under `versions` is replaced; where nothing
    did, it comes behind `onnx`.
    """
    node: Any = yaml.compose(text, Loader=_LOADER)
    for key in model:
        node = _entry(node, key)[1]
    wanted = f"specific: [{', '.join(map(str, numbers))}]"
    if (versions := _entry(node, "versions")) is not None:
        key, value = versions
        if not isinstance(value, yaml.CollectionNode):  # null, written out or left away
            start, end = value.start_mark.index, value.end_mark.index
            if start == end:  # libyaml has it before what comes next
                start = end = text.index(":", key.end_mark.index) + 1
                wanted = f" {{{wanted}}}"
            else:
                wanted = f"{{{wanted}}}"
            return _spliced(text, (start, end), wanted)
        if value.flow_style:
            return _spliced(text, (value.start_mark.index, value.end_mark.index), f"{{{wanted}}}")
        first, last = value.value[0][0], _last(value)
        return _spliced(text, (first.start_mark.index, last.end_mark.index), wanted)
    key, value = _entry(node, "onnx")
    if node.flow_style:
        end = value.end_mark.index
        return _spliced(text, (end, end), f", versions: {{{wanted}}}")
    found = _LINE_BREAK.search(text, _last(value).end_mark.index)
    end, line_break = (found.start(), found[0]) if found else (len(text), "\n")
    return _spliced(text, (end, end), f"{line_break}{' ' * key.start_mark.column}versions: {{{wanted}}}")


def _entry(mapping: Any, key: str) -> Any:
    """The key's and the value's node; None when there is no such key."""
    return next(((k, v) for k, v in mapping.value if k.value == key), None)


def _last(node: Any) -> Any:
    """The node with which this one ends: a block of its own ends where the next thing begins, not where it does."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


def _spliced(text: str, span: Span, new: str) -> str:
    return text[: span[0]] + new + text[span[1] :]


def serve_only(file: Path, model: Sequence[str], numbers: Sequence[int]) -> tuple[str, str]:
    """The text of a spec as it is, and as it serves these versions of a model alone. Nothing is written.

    Raises UserError when the spec would differ in anything else.
    """
    before = file.read_bytes().decode("utf-8")
    mark = BYTE_ORDER_MARK if before.startswith(BYTE_ORDER_MARK) else ""
    try:
        after = mark + with_versions(before.removeprefix(mark), model, numbers)
        edited = _data(after, file) == _expected(_data(before, file), model, numbers)
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError):  # it was one, and is edited now
        edited = False
    if not edited:
        raise UserError(
            f"{file} is written in a way that cannot be edited by itself",
            f"write `versions: {{specific: {list(numbers)}}}` into `{'.'.join(model)}` yourself",
        )
    return before, after


def _data(text: str, file: Path) -> dict[str, Any]:
    """The spec that a text says, as plain data."""
    from generator.load.validate import validate
    from generator.load.yaml_tree import parse_bytes

    tree = parse_bytes(text.encode(), str(file)).tree
    spec = validate(tree, Spec)[0] if tree is not None else None
    return {} if spec is None else spec.model_dump()


def _expected(data: dict[str, Any], model: Sequence[str], numbers: Sequence[int]) -> dict[str, Any]:
    inner = data
    for key in model:
        inner = inner[key]
    inner["versions"] = {"latest": None, "specific": list(numbers), "all": None}
    return data
