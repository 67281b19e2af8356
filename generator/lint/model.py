"""One model of a repository, as the rules see it; everything is looked at once, and only when a rule asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from generator.lint.files import Folder
from generator.lint.rule import Edit, Finding
from generator.lint.server import NEWEST, RELEASES, Server
from generator.lint.versions import Version, served_versions, version_numbers
from generator.pbtxt.reader import Read, read
from generator.problems import Place, Severity, errors

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig
    from generator.lint.ensemble import Flow
    from generator.lint.python_source import Source

CONFIG_FILE = "config.pbtxt"
_RENDERED_FOR = re.compile(r"#[^\n]*\(Triton (\d\d\.\d\d)\)")
T = TypeVar("T")
_OF_PLATFORM = {"tensorrt_plan": "tensorrt", "onnxruntime_onnx": "onnxruntime", "pytorch_libtorch": "pytorch"}


@dataclass
class Repository:
    """The models of all folders that one server serves, by name. Of equal names in two folders `twins` has all."""

    server: Server
    models: dict[str, Model] = field(default_factory=dict)
    twins: dict[str, list[Model]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # known when every model has been judged
    facts: dict[str, Any] = field(default_factory=dict)  # what a rule found out about all models, once

    def add(self, model: Model) -> None:
        """Takes a model in."""
        self.models.setdefault(model.name, model)
        self.twins.setdefault(model.name, []).append(model)


class Model:
    """A directory of a repository and what its configuration says.

    `config` is the message as it is written; of a file with mistakes, what could be read (`is_complete` is False).
    """

    def __init__(self, folder: Folder, repository: Repository) -> None:
        self.folder, self.repository = folder, repository
        self.name = folder.name
        self.server = repository.server
        self.python_files: dict[str, list[Source]] = {}  # by name; emptied when its rules have been asked
        self.kept: dict[Callable[[Model], Any], Any] = {}  # see `kept`

    @cached_property
    def config_folder(self) -> tuple[Folder, str] | None:
        """Where its configuration stands; None where there is none."""
        name = self.server.config_name
        if name and self.folder.has_folder("configs") and self.folder.folder("configs").has_file(f"{name}.pbtxt"):
            return self.folder.folder("configs"), f"{name}.pbtxt"
        return (self.folder, CONFIG_FILE) if self.folder.has_file(CONFIG_FILE) else None

    @cached_property
    def file(self) -> str:
        """How places name its configuration, or the directory where it has none."""
        return self.folder.path if self.config_folder is None else self.config_folder[0].shown(self.config_folder[1])

    @cached_property
    def text(self) -> Read:
        """Its configuration, with positions; empty where there is none.  Raises OSError."""
        if self.config_folder is None:
            return read(b"", self.file)
        return read(self.config_folder[0].read(self.config_folder[1]), self.file)

    @cached_property
    def is_complete(self) -> bool:
        """Whether there is a configuration to judge, one that could be read as a whole. Where there is none, the
        server makes one if it may."""
        if self.config_folder is None and not self.server.auto_complete:
            return False
        try:
            return not errors(self.text.problems)
        except OSError:
            return False

    @cached_property
    def config(self) -> ModelConfig:
        """What is written; fields that could not be read are as if they were not there, and so is a whole file."""
        try:
            return self.text.partial
        except OSError:
            return read(b"", self.file).partial

    @cached_property
    def release(self) -> str:
        """The release of the server: the one asked for, else the one it was rendered for, else the newest."""
        return self.server.release or self._rendered_for or NEWEST

    @cached_property
    def is_release_known(self) -> bool:
        """Whether somebody named the server's release. Where nobody did, what depends on it is no error: `judged`."""
        return bool(self.server.release or self._rendered_for)

    @cached_property
    def _rendered_for(self) -> str | None:
        """The release that the configuration says that it was rendered for."""
        source = self.text.source.text
        if source.startswith("# Rendered by tritonkit"):
            found = _RENDERED_FOR.match(source)
            if found and found[1] in RELEASES:
                return found[1]
        return None

    # What it is ----------------------------------------------------------------------------------------------------

    @cached_property
    def is_ensemble(self) -> bool:
        """Whether the server takes it for an ensemble."""
        return bool(self.config.platform == "ensemble" or self.config.HasField("ensemble_scheduling"))

    @cached_property
    def backend(self) -> str:
        """Its backend, of a platform that names one too; `ensemble` for ensembles, empty where nothing says it."""
        if self.is_ensemble:
            return "ensemble"
        return self.config.backend or _OF_PLATFORM.get(self.config.platform, "")

    @cached_property
    def completed(self) -> ModelConfig:
        """The configuration that the server judges: `config`, and what it or the backend adds before."""
        from generator.lint.completion import completed

        return completed(self)

    @cached_property
    def is_open(self) -> bool:
        """Whether code that only the server runs may add inputs, outputs and max_batch_size (`auto_complete_config`):
        what is not there is no mistake then."""
        from generator.lint.completion import is_open

        return is_open(self)

    # Its versions --------------------------------------------------------------------------------------------------

    @cached_property
    def versions(self) -> list[int]:
        """The versions that the server finds in its directory, the newest first."""
        return version_numbers(self.folder)

    @cached_property
    def served(self) -> list[Version]:
        """Those that its version policy leaves, the newest first."""
        return served_versions(self)

    @cached_property
    def served_numbers(self) -> Collection[int]:
        """Their numbers."""
        return {version.number: None for version in self.served}

    @cached_property
    def flow(self) -> Flow:
        """The steps of an ensemble and the tensors between them."""
        from generator.lint.ensemble import Flow

        return Flow(self)

    # Places and findings -------------------------------------------------------------------------------------------

    def place(self, path: str) -> Place:
        """Where a field stands, or the nearest thing around it that is written."""
        tree = self.text.tree
        node, _ = tree.nearest(path)
        return Place(self.file) if node is tree else self.text.source.place(node.start)

    def found(
        self, path: str, message: str, hint: str = "", *, severity: Severity | None = None,
        edits: tuple[Edit, ...] = (), place: Place | None = None,
    ) -> Finding:  # fmt: skip
        """A finding about a field of the configuration (`input[1].dims`), or the whole (empty)."""
        return Finding(path, message, hint, place, severity, edits)

    def judged(self, finding: Finding, usual: Severity = Severity.ERROR) -> Finding:
        """A finding that depends on the server's release: where nobody named that, a warning that says so. `usual`
        is the severity of its rule."""
        if self.is_release_known:
            return finding
        assumed = f"judged for {self.release}, as no release was named: `--server RELEASE` makes it certain"
        severity = finding.severity or usual
        return replace(
            finding,
            hint=f"{finding.hint}; {assumed}" if finding.hint else assumed,
            severity=Severity.WARNING if severity is Severity.ERROR else severity,
        )

    # Edits ---------------------------------------------------------------------------------------------------------

    def replaced(self, path: str, text: str) -> tuple[Edit, ...]:
        """The edit that writes another value at `path`; none where nothing is written there."""
        node = self.text.tree.find(path)
        if node is None:
            return ()
        source = self.text.source
        end = source.offsets[node.end - 1] + len(source.tokens[node.end - 1])
        return (Edit(source.offsets[node.start], end, text),)

    def removed(self, path: str) -> tuple[Edit, ...]:
        """The edit that takes the field at `path` away, with its name and a separator behind it; none where the
        value stands in a list, which others may share."""
        node = self.text.tree.find(path)
        source = self.text.source
        if node is None or source.tokens[node.name_at] != node.name:
            return ()
        if "[" in source.tokens[node.name_at + 1 : min(node.name_at + 3, node.start)]:
            return ()
        last = node.end - (source.tokens[node.end] not in (",", ";"))
        return (Edit(source.offsets[node.name_at], source.offsets[last] + len(source.tokens[last]), ""),)

    def appended(self, text: str) -> tuple[Edit, ...]:
        """The edit that adds fields at the end of the file."""
        source = self.text.source.text
        return (Edit(len(source), len(source), ("" if not source or source.endswith("\n") else "\n") + text),)

    # Other models --------------------------------------------------------------------------------------------------

    def other(self, name: str) -> Model | None:
        """Another model of what the server serves."""
        return self.repository.models.get(name)


def kept(function: Callable[[Model], T]) -> Callable[[Model], T]:
    """A function of a model that is asked once; what it gave is kept as long as the model."""

    @wraps(function)
    def asked(model: Model) -> T:
        if function not in model.kept:
            model.kept[function] = function(model)
        found: T = model.kept[function]
        return found

    return asked


def tensor_map(tensors: Any) -> dict[str, Any]:
    """Tensors of a configuration by name; of equal names the first."""
    found: dict[str, Any] = {}
    for tensor in tensors:
        found.setdefault(tensor.name, tensor)
    return found
