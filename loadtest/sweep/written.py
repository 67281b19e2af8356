"""A choice put into its spec: every byte outside the new values stays, comments too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from generator.edit import BYTE_ORDER_MARK
from generator.problems import ProblemsError
from generator.spec import Spec
from generator.whole_file import write_whole
from loadtest.run.problem import refused
from loadtest.sweep.changed import Member, changes_of, with_changes
from loadtest.sweep.setting import Setting

# As specs are read; both count characters.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_WIDE = 10_000
Path_ = tuple[str, ...]


def edits_of(spec: Spec, member: Member, setting: Setting, target: str) -> dict[Path_, Any]:
    """Path in the spec -> what is to stand there. A model that has to say its first own batching says all of it."""
    found: dict[Path_, Any] = {}
    for path, value in changes_of(member, setting, target).items():
        table, key, field = path[:3]
        said = (spec.models or {}).get(key) if table == "models" else None
        if field == "batching" and said is not None and said.batching is None:
            whole = member.batching.model_dump(exclude_defaults=True) if member.batching else {}
            before = found.get(path[:3]) or {"max_batch_size": getattr(member.batching, "max_batch_size", 8)} | whole
            found[path[:3]] = {**before, path[3]: value}
        else:
            found[path] = value
    return found


def as_yaml(edits: Mapping[Path_, Any]) -> str:
    """What to put into the spec, as YAML of its own."""
    tree: dict[str, Any] = {}
    for path, value in edits.items():
        inner = tree
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    text: str = yaml.safe_dump(tree, default_flow_style=None, sort_keys=False, width=100)
    return text


def write_choice(file: Path, spec: Spec, member: Member, setting: Setting, target: str) -> bool:
    """Writes it into the spec; whether anything changed. The spec then says what was wanted, and nothing else.

    Raises ProblemsError (TK889) where its text cannot be edited.
    """
    edits = edits_of(spec, member, setting, target)
    try:
        before = file.read_bytes().decode("utf-8")
        mark = BYTE_ORDER_MARK if before.startswith(BYTE_ORDER_MARK) else ""
        after = before.removeprefix(mark)
        for path, value in edits.items():
            after = with_value(after, path, value)
        after = mark + after
        wanted = with_changes(spec, changes_of(member, setting, target), member.batching)
        if _data(after, file) != wanted.model_dump():
            raise ValueError("it would say something else")
        if after == before:
            return False
        write_whole(file, after)
    except OSError as error:
        raise _refused(file, edits, error.strerror or str(error)) from error
    except (yaml.YAMLError, ProblemsError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _refused(file, edits, "its text cannot be edited by itself") from error
    return True


def _refused(file: Path, edits: Mapping[Path_, Any], why: str) -> ProblemsError:
    said = "; ".join(f"`{'.'.join(path)}: {_flow(value)}`" for path, value in edits.items())
    return refused("TK889", str(file), f"the choice was not written: {why}", f"write it yourself: {said}")


def _data(text: str, file: Path) -> dict[str, Any]:
    from generator.load.validate import validate
    from generator.load.yaml_tree import parse_bytes

    tree = parse_bytes(text.encode(), str(file)).tree
    spec = validate(tree, Spec)[0] if tree is not None else None
    return {} if spec is None else spec.model_dump()


def with_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text of a YAML mapping with `value` at `path`, in flow style; mappings on the way are made."""
    node: Any = yaml.compose(text, Loader=_LOADER)
    for depth, name in enumerate(path):
        entry = next(((key, inner) for key, inner in node.value if key.value == name), None)
        if entry is None:
            return _added(text, node, name, _nested(path[depth + 1 :], value))
        key, inner = entry
        if depth == len(path) - 1 or not isinstance(inner, yaml.MappingNode):
            return _replaced(text, key, inner, _nested(path[depth + 1 :], value))
        node = inner
    raise LookupError(path)


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _flow(value: Any) -> str:
    dumped: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_WIDE)
    return dumped.removesuffix("...\n").strip()


def _replaced(text: str, key: Any, node: Any, value: Any) -> str:
    """Another value behind a key."""
    start, end = node.start_mark.index, _last(node).end_mark.index
    if start == node.end_mark.index:  # nothing was said; libyaml has its place before what comes next
        start = end = text.index(":", key.end_mark.index) + 1
        return f"{text[:start]} {_flow(value)}{text[end:]}"
    return text[:start] + _flow(value) + text[end:]


def _added(text: str, node: Any, name: str, value: Any) -> str:
    """Another entry behind the last one of a mapping."""
    entry = f"{name}: {_flow(value)}"
    if node.flow_style:
        end = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        return text[:end] + (", " if node.value else "") + entry + text[end:]
    found = _LINE_BREAK.search(text, _last(node).end_mark.index)
    end, line_break = (found.start(), found[0]) if found else (len(text), "\n")
    return f"{text[:end]}{line_break}{' ' * node.value[0][0].start_mark.column}{entry}{text[end:]}"


def _last(node: Any) -> Any:
    """The node with which this one ends: a block ends where the next thing begins, not where it does."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node
