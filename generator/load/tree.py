"""Plain data and, for every value in it, where it and its key stand in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from generator.problems import Place

PathKey = str | int
TreePath = tuple[PathKey, ...]


@dataclass(slots=True)
class Node:
    """The position of one value. Lines and columns (in characters) count from 1; an item has no key."""

    line: int
    column: int
    raw: str | None = None
    """An unquoted scalar as it is written: `24.10`, where the value is 24.1."""
    key_line: int = 0
    key_column: int = 0
    children: dict[PathKey, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """One parsed file: `data` is its top mapping, a path is a tuple of keys and list indices.

    `unknown` holds the paths whose value could not be told (an alias, a tag, a refused number): their
    value in `data` is None, and nothing should be concluded from it.
    """

    file: str
    data: dict[str, Any]
    root: Node
    unknown: frozenset[TreePath] = frozenset()

    def place(self, *path: PathKey) -> Place:
        """Where the value at `path` stands, or its nearest ancestor that is in the file."""
        node, _ = self._nearest(path)
        return Place(self.file, node.line, node.column)

    def key_place(self, *path: PathKey) -> Place:
        """Where the key of the value at `path` stands; `place` for list items and what is not in the file."""
        node, found = self._nearest(path)
        if found and node.key_line:
            return Place(self.file, node.key_line, node.key_column)
        return Place(self.file, node.line, node.column)

    def raw(self, *path: PathKey) -> str | None:
        """The unquoted scalar at `path` as it is written in the file; None for anything else."""
        node, found = self._nearest(path)
        return node.raw if found else None

    def __contains__(self, path: TreePath) -> bool:
        return self._nearest(path)[1]

    def _nearest(self, path: TreePath) -> tuple[Node, bool]:
        node = self.root
        for key in path:
            child = node.children.get(key)
            if child is None:
                return node, False
            node = child
        return node, True


def field_path(path: TreePath) -> str:
    """A path in the words of messages: `ensemble.steps[1].input_map.IMAGES`, `models["a.b"]`."""
    words = ""
    for key in path:
        if isinstance(key, int):
            words += f"[{key}]"
        elif key and all(c.isalnum() or c in "_-" for c in key):
            words += f".{key}" if words else key
        else:
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            words += f'["{escaped}"]'
    return words
