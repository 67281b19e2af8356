"""What people set beside what follows from the spec: files of values and single ones, merged and checked by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from deploy.values import Values
from deploy.values.check import check_tree, merged
from generator.collector import did_you_mean
from generator.load.tree import PathKey, Tree, TreePath, field_path
from generator.load.yaml_tree import MAX_DEPTH, parse_file, parse_text
from generator.problems import Place, Problem, ProblemsError, UserError

CHART = Path(__file__).parents[1] / "charts" / "triton"
_SURROGATE = re.compile("[\ud800-\udfff]")  # what Python makes of bytes that are no UTF-8
_STEP = re.compile(r"((?:[^.\[\]\\]|\\.)+)|\[(\d+)\]")


@dataclass(frozen=True)
class Overrides:
    """Values that take the place of those that follow from the spec; later ones win. `trees` know their places."""

    data: Mapping[str, Any] = field(default_factory=dict)
    trees: tuple[Tree, ...] = ()
    assigned: tuple[TreePath, ...] = ()

    def place(self, path: TreePath) -> Place:
        """Where the value at `path` was set."""
        for assigned in self.assigned:
            if path and path[: len(assigned)] == assigned:
                return Place(f"--set {field_path(assigned)}")
        for tree in reversed(self.trees):
            if path and path in tree:
                return tree.place(*path)
        return Place("the chart's values")

    @property
    def gpus(self) -> int | None:
        """The GPUs of a pod, where they are said and the chart takes so many: memory and times follow from them."""
        gpu = self.data.get("gpu")
        count = gpu.get("count") if isinstance(gpu, Mapping) else None
        most = schema()["properties"]["gpu"]["properties"]["count"]["maximum"]
        return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= most else None

    def against(self, values: Values) -> list[Problem]:
        """What they say against the specs that `values` were made of, each at its place."""
        tree, _ = parse_text(json.dumps(self.data), "")
        found = [] if tree is None or not self.data else check_tree(tree, values)
        return [replace(problem, place=self.place(path_of(problem.field))) for problem in found]


def path_of(text: str) -> TreePath:
    """A field as problems name it, `workload.tolerations[0].key`, as a path; as far as it can be read."""
    return tuple(int(step[2]) if step[2] else step[1] for step in _STEP.finditer(text))


def read_overrides(files: Sequence[Path], sets: Sequence[str]) -> Overrides:
    """Reads values files, then `a.b=value` assignments, whose values are YAML (`--set gpu.count=2`).

    Raises ProblemsError with everything that cannot be read or that the chart has no value for; UserError for an
    assignment that is none.
    """
    data: dict[str, Any] = {}
    trees: list[Tree] = []
    problems: list[Problem] = []
    for file in files:
        parsed = parse_file(file, str(file))
        problems += parsed.problems
        if parsed.tree is not None:
            data = merged(data, parsed.tree.data)
            trees.append(parsed.tree)
            problems += list(_unknown(parsed.tree.data, parsed.tree))
    assigned: list[TreePath] = []
    for text in sets:
        try:
            path, value = _assignment(text)
        except ProblemsError as error:
            problems += error.problems
            continue
        _put(data, path, value, text)
        assigned.append(path)
        problems += list(_unknown(_nested(path, value), None, f"--set {text.partition('=')[0]}"))
    if problems:
        raise ProblemsError(problems)
    return Overrides(data, tuple(trees), tuple(assigned))


def _assignment(text: str) -> tuple[TreePath, Any]:
    """The path and the value of `a.b[0].c=value`; a dot in a key is written `\\.`."""
    name, equals, value = text.partition("=")
    if _SURROGATE.search(text):
        raise UserError("a value of `--set` is not UTF-8, and so no text that a cluster takes")
    steps, end = [], 0
    while end < len(name):
        step = _STEP.match(name, end)
        if step is None:
            break
        steps.append(int(step[2]) if step[2] else re.sub(r"\\(.)", r"\1", step[1]))
        end = step.end()
        end += name[end : end + 1] == "." and end + 1 < len(name)
    if not equals or end < len(name) or not steps or isinstance(steps[0], int):
        raise UserError(f"`--set {text}` sets nothing", "write `--set workload.replicas=3`")
    path = tuple(steps)
    if len(path) > MAX_DEPTH:
        raise UserError(f"`--set {text[:60]}...` is {len(path)} levels deep; {MAX_DEPTH} are the most")
    if _is_text(path) and value[:1] not in {'"', "'"}:
        return path, value
    return path, _value(path, value) if value else ""


def _value(path: TreePath, text: str) -> Any:
    """The value of an assignment, read as values files are. Raises ProblemsError with all that is wrong with it."""
    inside = "".join(f"\n  {line}" for line in text.splitlines())
    tree, problems = parse_text(f"value:{inside}\n", "")
    said = Place(f"--set {field_path(path)}")
    if problems:
        hint = "quote texts that hold `:`, `{` or `[`"
        raise ProblemsError([replace(one, place=said, field="", hint=one.hint or hint) for one in problems])
    return None if tree is None else tree.data["value"]


def _put(data: dict[str, Any], path: TreePath, value: Any, text: str) -> None:
    """Sets it in `data`; what is changed on the way is copied first, because it may be a file's."""
    inside: Any = data
    for step, following in zip(path, [*path[1:], None], strict=True):
        if isinstance(step, int) and step > len(inside):
            raise UserError(f"`--set {text}` skips items of a list", "set the whole list: `--set name=[...]`")
        if isinstance(step, int) and step == len(inside):
            inside.append(None)
        if following is None:
            inside[step] = value
            return
        current = inside[step] if isinstance(step, int) else inside.get(step)
        kind: type[Any] = list if isinstance(following, int) else dict
        if current is not None and not isinstance(current, kind):
            what = "a list" if kind is list else "a mapping"
            raise UserError(f"`--set {text}`: what it goes into is set already, and is not {what}")
        inside[step] = kind(current or ())
        inside = inside[step]


def _nested(path: TreePath, value: Any) -> Any:
    for step in reversed(path):
        value = [value] if isinstance(step, int) else {step: value}
    return value


# Names ---------------------------------------------------------------------------------------------------------


@cache
def schema() -> Mapping[str, Any]:
    """The chart's schema of values."""
    found: Mapping[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return found


def _unknown(data: Any, tree: Tree | None, said: str = "") -> Iterator[Problem]:
    """Every key that the chart does not have, and what is no mapping or list where it takes one."""
    yield from _look(data, schema(), (), tree, said)


def _look(data: Any, node: Mapping[str, Any], path: TreePath, tree: Tree | None, said: str) -> Iterator[Problem]:
    node = _resolved(node)
    wanted = {"object": Mapping, "array": list}.get(str(node.get("type")))
    if wanted is not None and data is not None and not isinstance(data, wanted):
        place = Place(said) if tree is None else tree.place(*path)
        what = "a mapping" if wanted is Mapping else "a list"
        found = "a mapping" if isinstance(data, Mapping) else "a list" if isinstance(data, list) else f"`{data}`"
        yield Problem("TK443", place, field_path(path), f"the chart takes {what} here, and not {found}")
    elif isinstance(data, Mapping):
        named, others = node.get("properties", {}), node.get("additionalProperties", True)
        for key, value in data.items():
            here: tuple[PathKey, ...] = (*path, key)
            if key in named:
                yield from _look(value, named[key], here, tree, said)
            elif isinstance(others, Mapping):
                yield from _look(value, others, here, tree, said)
            elif others is False:
                place = Place(said) if tree is None else tree.key_place(*here)
                inside = f"in `{field_path(path)}`" if path else "at the top"
                listed = ", ".join(f"`{name}`" for name in named)
                yield Problem(
                    "TK441", place, field_path(here), f"the chart has no value `{key}` {inside}; there are {listed}",
                    did_you_mean(str(key), named),
                )  # fmt: skip
    elif isinstance(data, list) and isinstance(node.get("items"), Mapping):
        for number, value in enumerate(data):
            yield from _look(value, node["items"], (*path, number), tree, said)


def _is_text(path: TreePath) -> bool:
    """Whether the chart takes text alone at `path`: 26.10 is no number there."""
    node: Any = schema()
    for step in path:
        node = _resolved(node)
        named, others = node.get("properties", {}), node.get("additionalProperties")
        inside = node.get("items") if isinstance(step, int) else named.get(step, others)
        if not isinstance(inside, Mapping):
            return False
        node = inside
    return bool(_resolved(node).get("type") == "string")


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        found: Any = schema()
        for word in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[word]
        node = found
    return node
