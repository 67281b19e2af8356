"""pydantic's errors as findings at paths of the document, one for each mistake.

pydantic's `loc` is a path through the model: it also holds the branches of unions, tags and `[key]`.
Which of its parts are keys of the document is told by the document itself, and by the value that pydantic
says it found there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from generator.load.tree import TreePath

MISSING, UNKNOWN = "missing", "extra_forbidden"
UNFIT = "unfit"
"""The value fits no branch of a union; the finding's `branches` say what each of them wants."""

_MAX_READINGS = 64
_ABSENT = object()
_NOT_TOLD = object()  # for a key, pydantic tells the key, not the value under it
_OF_A_BRANCH = (UNFIT, "literal_error", "enum", "none_required", "is_instance_of", "int_from_float")

IsField = Callable[[TreePath, str], bool]


@dataclass(frozen=True)
class Finding:
    """One error of pydantic: `path` is the document's, `labels` are the indices in `loc` that are not in it."""

    kind: str
    path: TreePath
    value: Any
    context: dict[str, Any]
    said: str
    loc: TreePath
    labels: tuple[int, ...]
    at_key: bool = False
    branches: tuple[Finding, ...] = field(default=())


def finding(error: Any, data: Any, is_field: IsField) -> Finding:
    """Place one of `ValidationError.errors()` in the document.

    `is_field(path, name)` says whether the model has such a field there: what a validator has put in for
    the user (`softmax` for `{softmax: {}}`) is a part of the path though it is not in the document.
    """
    loc: TreePath = tuple(error["loc"])
    kind, value = error["type"], error["input"]
    at_key = kind == UNKNOWN
    body: TreePath = loc
    tail: TreePath = ()
    if loc and loc[-1] == "[key]":
        body, at_key, value = loc[:-1], True, _NOT_TOLD
    elif kind == MISSING:
        body, tail = loc[:-1], loc[-1:]
    path, labels = _read(body, data, value, is_field, whole_last=at_key)
    context = error.get("ctx", {})
    return Finding(kind, path + tail, error["input"], context, error["msg"], loc, labels, at_key)


def _read(
    loc: TreePath, data: Any, value: Any, is_field: IsField, whole_last: bool
) -> tuple[TreePath, tuple[int, ...]]:
    """The reading of `loc` that ends at `value`; else the one that takes most of it as the document's."""
    first = None
    for count, (path, labels, node) in enumerate(_readings(loc, data, is_field, whole_last)):
        first = first or (path, labels)
        if _same(node, value):
            return path, labels
        if count == _MAX_READINGS:
            break
    return first or (loc, ())


def _readings(
    loc: TreePath, data: Any, is_field: IsField, whole_last: bool
) -> Iterator[tuple[TreePath, tuple[int, ...], Any]]:
    """All readings of `loc`, the one that takes every part that it can first."""
    waiting: list[tuple[int, TreePath, tuple[int, ...], Any]] = [(0, (), (), data)]
    while waiting:
        at, path, labels, node = waiting.pop()
        if at == len(loc):
            yield path, labels, node
            continue
        key = loc[at]
        inside = _inside(node, key)
        a_key = whole_last and at == len(loc) - 1  # of the user's or of a validator's: never a label
        known = inside is not _ABSENT or (isinstance(key, str) and is_field(path, key))
        if not a_key and (not known or inside is not _ABSENT):
            waiting.append((at + 1, path, (*labels, at), node))
        if a_key or known:
            waiting.append((at + 1, (*path, key), labels, inside))


def _inside(node: Any, key: Any) -> Any:
    if isinstance(node, dict) and isinstance(key, str):
        return node.get(key, _ABSENT)
    return node[key] if isinstance(node, list) and isinstance(key, int) and key < len(node) else _ABSENT


def _same(node: Any, value: Any) -> bool:
    return type(node) is type(value) and bool(node == value)


def whole_unions(findings: list[Finding]) -> list[Finding]:
    """The findings, of which more follow, less those of a union at the end that may be cut short."""
    last = findings[-1]
    edge = last.loc[: last.labels[0]] if last.labels else last.loc
    whole = len(findings)
    while whole and findings[whole - 1].loc[: len(edge)] == edge:
        whole -= 1
    return findings[:whole] or findings


def reduce(findings: list[Finding]) -> list[Finding]:
    """Every union's flood of errors, a few for each of its branches, down to what helps most."""
    return _reduce(findings, 0)


def _reduce(findings: list[Finding], level: int) -> list[Finding]:
    """As `reduce`, for findings that agree on their first `level` labels."""
    unions: dict[TreePath, dict[str | int, list[Finding]]] = {}
    order: list[Finding | TreePath] = []
    for item in findings:
        if len(item.labels) <= level:
            order.append(item)
            continue
        at = item.labels[level]
        union = item.loc[:at]
        if union not in unions:
            order.append(union)
        unions.setdefault(union, {}).setdefault(item.loc[at], []).append(item)
    out: list[Finding] = []
    for entry in order:
        if isinstance(entry, Finding):
            out.append(entry)
        else:
            depth = len(entry) - level  # of the union's own value in the document
            out += _best([_reduce(branch, level + 1) for branch in unions[entry].values()], depth)
    return out


def _best(branches: list[list[Finding]], depth: int) -> list[Finding]:
    """The findings of the branch that the user most likely meant."""
    if len(branches) == 1:
        return branches[0]
    fitting = [b for b in branches if not any(_is_unfit(f, depth) for f in b)]
    if not fitting:
        return [_unfit([f for b in branches for f in b if _is_unfit(f, depth)])]
    costs = [(sum(_is_foreign(f, depth) for f in b), len(b)) for b in fitting]
    best = [b for b, cost in zip(fitting, costs, strict=True) if cost == min(costs)]
    if len(best) == 1 or not min(costs)[0]:
        return best[0]
    shared = [f for f in best[0] if all(any(_alike(f, g) for g in other) for other in best[1:])]
    return shared or [_unfit([f for b in best for f in b])]


def _is_unfit(item: Finding, depth: int) -> bool:
    """Whether the branch takes no such value at all: another type, another constant."""
    wrong = item.kind.endswith(("_type", "_parsing")) or item.kind in _OF_A_BRANCH
    return wrong and len(item.path) == depth


def _is_foreign(item: Finding, depth: int) -> bool:
    """Whether the value has other fields than the branch: then the user meant another branch."""
    return item.kind in (MISSING, UNKNOWN) and len(item.path) == depth + 1


def _alike(one: Finding, other: Finding) -> bool:
    return (one.kind, one.path) == (other.kind, other.path)


def _unfit(found: list[Finding]) -> Finding:
    flat = tuple(f for item in found for f in (item.branches or (item,)))
    path = found[0].path[:-1] if found[0].kind in (MISSING, UNKNOWN) else found[0].path
    return replace(found[0], kind=UNFIT, path=path, at_key=False, branches=flat)
