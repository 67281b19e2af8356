"""What a file says, in its order: a node for every value, with the tokens it stands at."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from generator.pbtxt.schema import Field


class Node:
    """One value of a field: a scalar, or a message with the nodes of its fields below it.

    `value` is the scalar, or of a message what it says by field name, a list for repeated fields and a dict for maps.
    Tokens are numbered: the field's name stands at `name_at`, the value from `start` to before `end`.
    """

    __slots__ = ("children", "end", "field", "name", "name_at", "start", "value")

    def __init__(self, name: str, field: Field | None, name_at: int, start: int, children: list[Node] | None) -> None:
        self.name, self.field = name, field
        self.name_at, self.start, self.end = name_at, start, start + 1
        self.children = children
        self.value: Any = None

    def all(self, name: str) -> list[Node]:
        """The values of the field `name` of this message, in their order; none where it is not given."""
        return [child for child in self.children or () if child.name == name]

    def find(self, path: str) -> Node | None:
        """The node at a path as in problems: `input[1].data_type`, `parameters[threads].value`."""
        node: Node | None = self
        for part in _parts(path):
            name, _, index = part.partition("[")
            if node is None:
                return None
            found = node.all(name)
            index = index.removesuffix("]")
            if found and found[0].field is not None and found[0].field.is_map and index:
                found = [entry for entry in found if str(entry.value.get("key", "")) == index][-1:]
                index = ""
            at = int(index) if index.isdecimal() else 0
            node = found[at] if at < len(found) else None
        return node


def path_of(above: list[Node], name: str, field: Field | None) -> str:
    """The path of a value that comes next: of the open messages `above`, outermost first, and its name.

    A part is numbered where its field is repeated, and named by its key where it is a map that says it.
    """
    parts = []
    for parent, node in pairwise(above):
        parts.append(_part(parent, node.name, node.field, node))
    if name:
        parts.append(_part(above[-1], name, field, None))
    return ".".join(parts)


def _part(parent: Node, name: str, field: Field | None, node: Node | None) -> str:
    if field is None or not field.is_repeated:
        return name
    if field.is_map:
        key = None if node is None else node.value.get("key")
        return name if key is None else f"{name}[{key}]"
    before = 0
    for child in parent.children or ():
        if child is node:
            break
        before += child.name == name
    return f"{name}[{before}]"


def _parts(path: str) -> list[str]:
    """`a.b[c.d].e` → `a`, `b[c.d]`, `e`."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(path):
        depth += (character == "[") - (character == "]")
        if character == "." and not depth:
            parts.append(path[start:index])
            start = index + 1
    return [*parts, path[start:]] if path else []
