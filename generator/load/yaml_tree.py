"""YAML text to a Tree, with everything in the text that a spec may not hold.

The data is built from the parser's events, not from PyYAML's composed nodes: events still show anchors,
aliases, tags and document boundaries, and a loop over them cannot exhaust the stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from generator.load import codes
from generator.load.read import decode, read_bytes
from generator.load.scalars import NumberRefusedError, resolve
from generator.load.syntax import syntax_problem
from generator.load.tree import Node, Tree, TreePath, field_path
from generator.problems import Place, Problem

MAX_DEPTH = 64
MAX_VALUES = 100_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # same positions, some ten times as fast
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Parsed:
    """A file's tree (None when it cannot be parsed at all), its text for excerpts, and its problems."""

    tree: Tree | None
    text: str
    problems: list[Problem]


def parse_file(path: Path, shown: str) -> Parsed:
    """Read and parse a file; `shown` is its name in messages. Raises nothing for a bad file."""
    data, problems = read_bytes(path, shown)
    return Parsed(None, "", problems) if problems else parse_bytes(data, shown)


def parse_bytes(data: bytes, shown: str) -> Parsed:
    """Parse the content of a file. Raises nothing for bad content."""
    text, problems = decode(data, shown)
    if problems:
        return Parsed(None, text, problems)
    tree, problems = parse_text(text, shown)
    return Parsed(tree, text, problems)


def parse_text(text: str, shown: str) -> tuple[Tree | None, list[Problem]]:
    """Parse text that `decode` found no fault with."""
    builder = _Builder(shown)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
            if builder.stopped:
                break
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the Python parser on "\U00110000"
        builder.problems.append(syntax_problem(error, text, shown))
        return None, builder.problems
    return builder.tree(), builder.problems


@dataclass(slots=True)
class _Key:
    text: str
    line: int
    column: int
    dropped: bool = False  # the value that follows has no place in the data
    merge: bool = False


@dataclass(slots=True)
class _Frame:
    """An open mapping or list. `key` is the mapping's key whose value comes next."""

    data: Any
    node: Node
    path: TreePath
    dropped: bool
    key: _Key | None = None
    seen: dict[str, _Key] = field(default_factory=dict)


class _Builder:
    """Takes the parser's events one by one and grows the data and the nodes side by side."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.stopped = False
        self._file = file
        self._documents = 0
        self._values = 0
        self._stack: list[_Frame] = []
        self._data: Any = None
        self._root: Node | None = None
        self._unknown: set[TreePath] = set()
        self._handlers: dict[type[yaml.Event], Any] = {
            yaml.DocumentStartEvent: self._document,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
        }

    def feed(self, event: yaml.Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        if self._values > MAX_VALUES:
            message = f"the file holds more than {MAX_VALUES:,} values"
            hint = "is this the file you meant?"
            self._say(codes.FILE_TOO_LARGE, self._place(event), message, hint, ())
            self.stopped = True

    def tree(self) -> Tree | None:
        """What was built; None, with a problem, when it is no mapping or the parsing was stopped."""
        if self._stack:
            return None
        if self._root is None or (self._data is None and self._root.raw is not None):
            if self._documents <= 1:
                hint = "write the fields of the document as `key: value` lines"
                self._say(codes.FILE_EMPTY, Place(self._file), "the file is empty", hint, ())
            return None
        if not isinstance(self._data, dict):
            if () not in self._unknown:
                found = "a list" if isinstance(self._data, list) else "a single value"
                message = f"the document is {found}; valid: a mapping of fields"
                place = Place(self._file, self._root.line, self._root.column)
                self._say(codes.NOT_A_MAPPING, place, message, "write `key: value` lines", ())
            return None
        return Tree(self._file, self._data, self._root, frozenset(self._unknown))

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            message = "a second document starts here; one file holds one document"
            hint = "move it to a file of its own"
            self._say(codes.SEVERAL_DOCUMENTS, self._place(event), message, hint, ())
            self.stopped = True

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._stack and isinstance(self._stack[-1].data, dict) and self._stack[-1].key is None:
            self._stack[-1].key = self._scalar_key(self._stack[-1], event)
            return
        plain = event.implicit[0] and event.style in (None, "")
        node = self._node(event, event.value if plain else None)
        key = self._stack[-1].key if self._stack else None
        if key is not None and plain and not event.value and node.line != key.line:
            # The value of `? key` that is not there is told to stand where the file goes on, or beyond its end.
            node.line, node.column = key.line, key.column
        known = self._decorations(event)
        value: Any = None
        if known and plain:
            try:
                value = resolve(event.value)
            except NumberRefusedError as refused:
                self._say(codes.NUMBER, self._place(event), refused.message, refused.hint)
                known = False
        elif known:
            value = self._quoted(event)
        self._attach(value, node, known)

    def _quoted(self, event: yaml.ScalarEvent) -> str:
        """Quoted text; the Python parser lets half of a surrogate pair through, which is no character."""
        value: str = event.value
        if _SURROGATE.search(value):
            message = 'double-quoted text holds half of a surrogate pair ("\\ud83d"), which is no character'
            self._say(codes.SYNTAX, self._place(event), message, "write the character itself")
            return _SURROGATE.sub("\ufffd", value)
        return value

    def _scalar_key(self, frame: _Frame, event: yaml.ScalarEvent) -> _Key:
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        known = self._decorations(event)
        text = self._quoted(event)
        if event.implicit[0] and event.style in (None, ""):
            if text == "<<":
                message = "the merge key `<<` is not taken"
                self._say(codes.ANCHOR, self._place(event), message, "write the fields out")
                return _Key(text, line, column, dropped=True, merge=True)
            # A whole number is what it looks like (`1: …` is level 1); other keys could be read in two ways.
            if (what := _not_text(text)) and not _WHOLE_NUMBER.fullmatch(text):
                message = f"the key `{text[:60]}` is {what}; valid: text" if text else "a key is empty"
                hint = f'quote it: "{text}"' if len(text) <= 60 else "quote it"
                self._say(codes.KEY_NOT_TEXT, self._place(event), message, hint)
        key = _Key(text, line, column, dropped=not known)
        first = frame.seen.setdefault(text, key)
        if first is not key:
            message = f"the key `{text[:60]}` is already at line {first.line}, column {first.column}"
            path = (*self._path(), text)
            self._say(codes.DUPLICATE_KEY, self._place(event), message, "keep one of the two", path)
            return _Key(text, line, column, dropped=True)
        return key

    def _alias(self, event: yaml.AliasEvent) -> None:
        frame = self._stack[-1] if self._stack else None
        message = f"the alias `*{event.anchor}` is not taken"
        if frame is not None and isinstance(frame.data, dict) and frame.key is None:
            self._say(codes.ANCHOR, self._place(event), message, "write the key out")
            frame.key = _Key("", 0, 0, dropped=True)
            return
        if frame is None or frame.key is None or not frame.key.merge:
            self._say(codes.ANCHOR, self._place(event), message, "write the value out")
        self._attach(None, self._node(event), known=False)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._stack) >= MAX_DEPTH:
            message = f"mappings and lists are nested more than {MAX_DEPTH} deep here"
            self._say(codes.TOO_DEEP, self._place(event), message, "use fewer levels")
            self.stopped = True
            return
        self._decorations(event)
        data: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        node, path = self._node(event), self._path()
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.data, dict) and frame.key is None:
            if not frame.dropped:
                what = "mapping" if isinstance(data, dict) else "list"
                message, hint = f"a {what} cannot be a key; valid: text", "quote it if it is text"
                self._say(codes.KEY_NOT_TEXT, self._place(event), message, hint)
            frame.key = _Key("", node.line, node.column, dropped=True)
            self._stack.append(_Frame(data, node, path, dropped=True))
            return
        dropped = frame is not None and (frame.dropped or (frame.key is not None and frame.key.dropped))
        self._attach(data, node, known=True)
        self._stack.append(_Frame(data, node, path, dropped))

    def _close(self, _event: yaml.Event) -> None:
        self._stack.pop()

    def _attach(self, value: Any, node: Node, known: bool) -> None:
        """Put a value where its turn is: into the open list, under the open mapping's key, or on top."""
        self._values += 1
        frame = self._stack[-1] if self._stack else None
        if not known and not (frame and (frame.dropped or (frame.key and frame.key.dropped))):
            self._unknown.add(self._path())
        if frame is None:
            self._data, self._root = value, node
        elif frame.key is None:
            frame.node.children[len(frame.data)] = node
            frame.data.append(value)
        else:
            key, frame.key = frame.key, None
            if not key.dropped:
                node.key_line, node.key_column = key.line, key.column
                frame.node.children[key.text] = node
                frame.data[key.text] = value

    def _decorations(self, event: yaml.NodeEvent) -> bool:
        """Refuse an anchor and a tag; False when the tag leaves the value of a scalar unknown."""
        if event.anchor is not None:
            message = f"the anchor `&{event.anchor}` is not taken"
            self._say(codes.ANCHOR, self._place(event), message, "write the value out where it is used")
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            hint = 'remove it; quote the value ("24.10") to make it text'
            self._say(codes.TAG, self._place(event), f"the tag `{shown}` is not taken", hint)
        return tag is None

    def _path(self) -> TreePath:
        """The path of the value that comes next; of the mapping itself where a key comes next."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.data, list):
            return (*frame.path, len(frame.data))
        return frame.path if frame.key is None else (*frame.path, frame.key.text)

    def _node(self, event: yaml.Event, raw: str | None = None) -> Node:
        mark: Any = event.start_mark  # an event of a parsed text always has one
        return Node(mark.line + 1, mark.column + 1, raw)

    def _place(self, event: yaml.Event) -> Place:
        mark: Any = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _say(self, code: str, place: Place, message: str, hint: str, path: TreePath | None = None) -> None:
        path = self._path() if path is None else path
        self.problems.append(Problem(code, place, field_path(path), message, hint))


def _not_text(text: str) -> str:
    """What an unquoted key is when it is no text; empty when it is text."""
    try:
        value = resolve(text)
    except NumberRefusedError:
        return "a number"
    if isinstance(value, str):
        return ""
    return "null" if value is None else "true or false" if isinstance(value, bool) else "a number"
