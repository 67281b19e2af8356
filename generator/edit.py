"""A spec's text with other versions in it: every byte outside the new value stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from generator.problems import UserError
from generator.spec import Spec

Span = tuple[int, int]
BYTE_ORDER_MARK = "\ufeff"


def with_versions(text: str, model: Sequence[str], numbers: Sequence[int]) -> str:
    """The text with `versions: {specific: [numbers]}` in the model at path `model` (`("model",)`).

    `text` is that of a valid spec, whose model has an `onnx`. What stood under `versions` is replaced; where nothing
    did, it comes behind `onnx`.
    """
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in model:
        node = _entry(node, key)[1]
    wanted = f"specific: [{', '.join(map(str, numbers))}]"
    if (versions := _entry(node, "versions")) is not None:
        value = versions[1]
        if not isinstance(value, yaml.CollectionNode):  # null, written out or left away
            start, end = value.start_mark.index, value.end_mark.index
            return _spliced(text, (start, end), f"{'' if end > start else ' '}{{{wanted}}}")
        if value.flow_style:
            return _spliced(text, (value.start_mark.index, value.end_mark.index), f"{{{wanted}}}")
        first, last = value.value[0][0], _last(value)
        return _spliced(text, (first.start_mark.index, last.end_mark.index), wanted)
    key, value = _entry(node, "onnx")
    if node.flow_style:
        end = value.end_mark.index
        return _spliced(text, (end, end), f", versions: {{{wanted}}}")
    end = _line_end(text, _last(value).end_mark.index)
    line_break = "\r\n" if text[end : end + 2] == "\r\n" else "\n"
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


def _line_end(text: str, start: int) -> int:
    return min((at for at in (text.find("\r\n", start), text.find("\n", start)) if at >= 0), default=len(text))


def _spliced(text: str, span: Span, new: str) -> str:
    return text[: span[0]] + new + text[span[1] :]


def serve_only(file: Path, model: Sequence[str], numbers: Sequence[int]) -> tuple[str, str]:
    """The text of a spec as it is, and as it serves these versions of a model alone. Nothing is written.

    Raises UserError when the spec would differ in anything else.
    """
    before = file.read_bytes().decode("utf-8")
    mark = BYTE_ORDER_MARK if before.startswith(BYTE_ORDER_MARK) else ""
    after = mark + with_versions(before.removeprefix(mark), model, numbers)
    if _data(after, file) != _expected(_data(before, file), model, numbers):
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
