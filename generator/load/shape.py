"""What a model takes at a path of the document, read from its JSON schema: fields, choices, bounds."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from generator.load.tree import PathKey, TreePath

Schema = dict[str, Any]

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


class _Lenient(GenerateJsonSchema):
    """Says nothing about, and takes anything for, what JSON schema has no words for."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - the base's own declaration
        "skipped-choice",
        "non-serializable-default",
    }

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:  # noqa: ARG002
        return {}


class Shape:
    """A model's JSON schema, walked along the paths of a document."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._root: Schema = model.model_json_schema(schema_generator=_Lenient)
        self._definitions: Schema = self._root.get("$defs", {})

    def at(self, path: TreePath, data: Any) -> list[Schema]:
        """The schemas that may apply at `path`; `data` is the document, whose values rule out alternatives."""
        nodes = self._fitting(self._expand(self._root), data)
        for key in path:
            data = _child(data, key)
            below = [s for node in nodes for s in _step(node, key)]
            nodes = self._fitting([s for schema in below for s in self._expand(schema)], data)
        return nodes

    def fields(self, path: TreePath, data: Any) -> list[str]:
        """The names of the fields of the mapping at `path`, in the order of the model."""
        return list(dict.fromkeys(name for node in self.at(path, data) for name in node.get("properties", {})))

    def choices(self, path: TreePath, data: Any) -> list[Any]:
        """The values that the schemas at `path` list one by one."""
        found: dict[str, Any] = {}
        for node in self.at(path, data):
            for value in node.get("enum", [node["const"]] if "const" in node else []):
                found.setdefault(repr(value), value)
        return list(found.values())

    def kind(self, path: TreePath, data: Any) -> str:
        """What may stand at `path`, in YAML's words: `text`, `a number or a list`; empty when unknown."""
        words = [_WORDS.get(node.get("type", ""), "") for node in self.at(path, data)]
        return " or ".join(dict.fromkeys(word for word in words if word and word != "null"))

    def bounds(self, path: TreePath, data: Any) -> Schema:
        """The schema at `path` that bounds a number; empty unless there is exactly one."""
        keys = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        found = [node for node in self.at(path, data) if any(key in node for key in keys)]
        return found[0] if len(found) == 1 else {}

    def description(self, path: TreePath, data: Any) -> str:
        """The description of the field at `path`; empty when there is none, or when it is not clear which."""
        found = {node["description"] for node in self.at(path, data) if "description" in node}
        return " ".join(found.pop().split()) if len(found) == 1 else ""

    def _expand(self, schema: Schema, seen: frozenset[str] = frozenset()) -> list[Schema]:
        """References followed and unions opened: the plain alternatives of a schema."""
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        if name:
            if name in seen:
                return []
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self._expand({**self._definitions.get(name, {}), **beside}, seen | {name})
        branches = [b for key in ("anyOf", "oneOf", "allOf") for b in schema.get(key, [])]
        return [s for branch in branches for s in self._expand(branch, seen)] if branches else [schema]

    def _fitting(self, nodes: list[Schema], data: Any) -> list[Schema]:
        """The alternatives that the data does not contradict by a constant field; all if it does all."""
        if len(nodes) < 2 or not isinstance(data, dict):
            return nodes
        return [node for node in nodes if self._fits(node, data)] or nodes

    def _fits(self, node: Schema, data: dict[str, Any]) -> bool:
        if node.get("type", "object") != "object":
            return False
        properties = node.get("properties", {})
        if properties and not any(name in properties for name in data):
            return False
        for name, schema in properties.items():
            constant = schema.get("enum", [schema["const"]] if "const" in schema else None)
            if constant is not None and name in data and data[name] not in constant:
                return False
        return True


@functools.cache
def shape_of(model: type[BaseModel]) -> Shape:
    """The shape of a model, built once."""
    return Shape(model)


def _step(node: Schema, key: PathKey) -> list[Schema]:
    """The schemas one step below: of an item, a field, or the value under a free key."""
    if isinstance(key, int):
        first = node.get("prefixItems", [])
        below = first[key] if key < len(first) else node.get("items")
    elif key in node.get("properties", {}):
        below = node["properties"][key]
    else:
        patterns = list(node.get("patternProperties", {}).values())
        below = patterns[0] if patterns else node.get("additionalProperties")
    return [below] if isinstance(below, dict) else []


def _child(data: Any, key: PathKey) -> Any:
    if isinstance(data, dict):
        return data.get(key)
    return data[key] if isinstance(data, list) and isinstance(key, int) and key < len(data) else None
