"""Whether a spec that is not yet written comes back as the configurations that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from generator.config import model_configs
from generator.load.read import MAX_FILE_BYTES
from generator.load.validate import validate
from generator.load.yaml_tree import parse_bytes
from generator.plan import Places
from generator.problems import ProblemsError, errors
from generator.project import Project
from generator.resolve import resolve
from generator.spec import Spec


@dataclass(frozen=True)
class Overlay(Project):
    """The project as it will be: `folders` of it (`models/NAME`) stand elsewhere for now."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    def path(self, relative: str) -> Path:
        """A path of a spec on disk, wherever that is yet."""
        *above, inside = relative.split("/", 2)
        folder = self.folders.get(relative) or self.folders.get("/".join(above))
        if folder is not None:
            return folder if relative in self.folders else folder / inside
        return super().path(relative)


def difference(text: str, file: str, target: str, project: Project, wanted: Mapping[str, Any]) -> str:
    """Why the spec `text` does not render to exactly the messages `wanted` (by model) on `target`; empty if it does.

    The text is read as a spec's file is, by name `file`.
    """
    parsed = parse_bytes(text.encode(), file)
    problems = list(parsed.problems)
    if parsed.tree is None or problems:
        return problems[0].message
    if why := too_long(text):
        return why
    spec, problems = validate(parsed.tree, Spec)
    if spec is None:
        return f"`{problems[0].field}`: {problems[0].message}"
    try:
        plan = resolve(spec, target, project, Places(file, parsed.tree), file).plan
        made = {name: message for name, (message, _) in model_configs(plan).items()}
    except ProblemsError as error:
        first = errors(error.problems)[0]
        return f"`{first.field}`: {first.message}"
    for name in sorted({*made, *wanted}):
        if name not in made or name not in wanted:
            return f"model `{name}` is {'not ' if name not in made else ''}rendered"
        if not same(made[name], wanted[name]):
            return f"{_first_field(made[name], wanted[name])} of model `{name}` would not be the same"
    return ""


def too_long(text: str) -> str:
    """Why no command would read a spec of this text for its size; empty if it would."""
    size = len(text.encode())
    return f"its spec would have {size:,} bytes; valid: at most {MAX_FILE_BYTES:,}" if size > MAX_FILE_BYTES else ""


def same(one: Any, other: Any) -> bool:
    """Whether two messages are equal; a NaN, which no number equals, is the same as any NaN."""
    if one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True):
        return True
    return bool(text_format.MessageToString(one) == text_format.MessageToString(other))


def _first_field(made: Any, wanted: Any) -> str:
    """The first field in which two messages differ, in words."""
    for name in wanted.DESCRIPTOR.fields_by_name:
        if not same(_only(made, name), _only(wanted, name)):
            return f"`{name}`"
    raise AssertionError("no field differs")


def _only(message: Any, name: str) -> Any:
    """The message with one of its fields alone."""
    copy = type(message)()
    copy.CopyFrom(message)
    for other in message.DESCRIPTOR.fields_by_name:
        if other != name:
            copy.ClearField(other)
    return copy
