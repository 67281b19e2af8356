"""What a file says, in its order: a node for every value, with the tokens it stands at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from generator.pbtxt.schema import Field


class Node:
    """One value of a field: a scalar, or a message with the nodes of its fields below it.

    `value` is the scalar, or of a message what it says by field name, a list for repeated fields and a dict for maps.
    Tokens are numbered: the field's name stands at `name_at`, the value from `start` to before `end`.
    """

    __slots__ = ("_index", "children", "end", "field", "name", "name_at", "start", "value")

    def __init__(self, name: str, field: Field | None, name_at: int, start: int, children: list[Node] | None) -> None:
        self.name, self.field = name, field
        self.name_at, self.start, self.end = name_at, start, start + 1
        self.children = children
        self.value: Any = None
        self._index: _Index | None = None

    def all(self, name: str) -> Sequence[Node]:
        """The values of the field `name` of this message, in their order; none where it is not given."""
        return self._below().named.get(name, ())

    def find(self, path: str) -> Node | None:
        """The node at a path as in problems: `input[1].data_type`, `parameters[threads].value`."""
        node, is_whole = self.nearest(path)
        return node if is_whole else None

    def nearest(self, path: str) -> tuple[Node, bool]:
        """The last node on a path that is there, this one at least, and whether it is that of the whole path."""
        node = self
        for part in _parts(path):
            below = node._part(part)
            if below is None:
                return node, False
            node = below
        return node, True

    def _part(self, part: str) -> Node | None:
        """The node of one part of a path: `name`, `name[1]`, `name[key]`."""
        name, _, index = part.partition("[")
        found = self.all(name)
        index = index.removesuffix("]")
        if not found:
            return None
        if index and found[0].field is not None and found[0].field.is_map:
            return self._below().entries.get((name, index))
        if not index and len(found) > 1 and not (found[0].field is not None and found[0].field.is_repeated):
            # An empty value may be written again; the first that says something counts.
            return next((node for node in found if node.value), found[-1])
        at = int(index) if index.isdecimal() else 0
        return found[at] if at < len(found) else None

    def _below(self) -> _Index:
        """The values below by name, sorted when the first one is asked for."""
        children = self.children or []
        if self._index is None:
            self._index = _Index()
        if self._index.seen < len(children):  # while a file is read, more come
            self._index.add(children)
        return self._index


class _Index:
    """The values below a node: `named` by field, and `entries` of maps by field and key, of equal keys the last."""

    __slots__ = ("entries", "named", "seen")

    def __init__(self) -> None:
        self.named: dict[str, list[Node]] = {}
        self.entries: dict[tuple[str, str], Node] = {}
        self.seen = 0

    def add(self, children: list[Node]) -> None:
        """Takes in those that have come since the last time."""
        for child in children[self.seen :]:
            self.named.setdefault(child.name, []).append(child)
            if child.field is not None and child.field.is_map:
                self.entries[child.name, str(child.value.get("key", ""))] = child
        self.seen = len(children)


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
