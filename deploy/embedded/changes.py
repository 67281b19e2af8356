"""What differs between what a server has loaded and what was rendered, and which versions shall be served."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from generator.pbtxt.reader import read
from generator.write.names import version_number

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Files = Mapping[str, bytes]
Hashes = Mapping[str, str]
Kind = Literal["added", "changed", "removed", "same"]


def hashes(files: Files) -> dict[str, str]:
    """Path → SHA-256 of rendered files, as `ServerRecord.files` holds them."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def changes(loaded: Hashes, rendered: Hashes) -> dict[str, Kind]:
    """What has to be done with every model, by name; both by path in the repository."""
    old, new = _by_model(loaded), _by_model(rendered)
    kinds: dict[str, Kind] = {}
    for name in sorted({*old, *new}):
        if name not in old:
            kinds[name] = "added"
        elif name not in new:
            kinds[name] = "removed"
        else:
            kinds[name] = "same" if old[name] == new[name] else "changed"
    return kinds


def _by_model(files: Hashes) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path, value in files.items():
        name, _, rest = path.partition("/")
        if rest:
            found.setdefault(name, {})[rest] = value
    return found


def version_of(path: str) -> int | None:
    """The version directory that a file of a model is in; None for those of all versions."""
    first, _, rest = path.partition("/")
    return version_number(first) if rest else None


def versions_served(config: ModelConfig, paths: Iterable[str]) -> list[int]:
    """The versions that a server serves of a model: its version directories, as far as its policy goes."""
    there = sorted({version for version in map(version_of, paths) if version is not None})
    policy = config.version_policy
    if policy.HasField("all"):
        return there
    if policy.HasField("specific"):
        return [version for version in there if version in policy.specific.versions]
    return there[-(policy.latest.num_versions or 1) :]


@dataclass(frozen=True)
class Wanted:
    """What a server shall have: rendered `files` by path in the repository, and the models of each pipeline.

    The first of a pipeline's models is the one that clients call: loading it loads the others with it.
    """

    files: Files
    pipelines: Sequence[Sequence[str]]

    def of(self, model: str) -> dict[str, bytes]:
        """The files of one model, by path in its directory."""
        start = model + "/"
        return {path[len(start) :]: data for path, data in self.files.items() if path.startswith(start)}

    def config(self, model: str) -> ModelConfig:
        """A model's configuration, which was read back when it was rendered."""
        path = f"{model}/config.pbtxt"
        config = read(self.files[path], path).message
        assert config is not None  # noqa: S101  (for the type checker)
        return config

    def served(self, model: str) -> list[int]:
        """The versions of it that shall be served."""
        return versions_served(self.config(model), self.of(model))
