"""What a user names, sorted out: specs, and the repositories that one server each serves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from generator.lint.files import DiskFolder
from generator.lint.model import CONFIG_FILE
from generator.lint.server import EMBEDDED, Server
from generator.problems import Place, Problem, UserError

CONFIGS = "configs"  # beside a model's config.pbtxt: those that --model-config-name chooses from
_HEAD_BYTES = 1000
_LOOKED_AT = 20  # of a repository's configurations, for one that says what it was rendered for
_RENDERED = re.compile(rb"# Rendered by tritonkit from .*? for target `([^`\n]+)` \(Triton (\d\d\.\d\d)\)", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """What a user says of the server; None and empty where nothing is said. `server` is a release or `embedded`."""

    server: str | None = None
    backends: frozenset[str] | None = None
    gpus: int | None = None
    cores: int | None = None
    auto_complete: bool | None = None
    config_name: str = ""
    cuda_pool_bytes: int | None = None

    def of(self, target: str | None, config_name: str = "") -> Server:
        """The server for a repository that was rendered for `target` (None: by nobody)."""
        embedded = "embedded" in (self.server, target if self.server is None else None)
        server = EMBEDDED if embedded else Server(release=self.server)
        said = {
            "backends": self.backends, "gpus": self.gpus, "cores": self.cores, "auto_complete": self.auto_complete,
            "config_name": self.config_name or config_name or None, "cuda_pool_bytes": self.cuda_pool_bytes,
        }  # fmt: skip
        return replace(server, **{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]


@dataclass
class Group:
    """Repositories that one server serves. Of those in `only` these models alone are judged (None: all)."""

    folders: list[DiskFolder]
    server: Server
    only: set[str] | None = None


@dataclass
class SortedOut:
    """What there is to look at, and what cannot be looked at."""

    specs: list[Path] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def sort_out(paths: Sequence[Path], asked: Asked) -> SortedOut:
    """Raises UserError for a path in which there is nothing to look at."""
    found = _Finding(asked)
    for path in dict.fromkeys(paths):
        found.add(path)
    return found.result()


def rendered_for(repository: Path) -> tuple[str, str] | None:
    """The target and the release that the first rendered model of a repository names; None where none is.

    Only the first models are looked at: of a repository that was rendered, all or most were.
    """
    for config in islice(_configs(repository), _LOOKED_AT):
        try:
            with config.open("rb") as file:
                found = _RENDERED.match(file.read(_HEAD_BYTES))
        except OSError:
            continue
        if found:
            return found[1].decode("utf-8", "replace"), found[2].decode()
    return None


def is_model(folder: Path) -> bool:
    """Whether a directory is laid out as a model: with a configuration, or with versions."""
    return (folder / CONFIG_FILE).exists() or any(
        entry.name.isdecimal() or (entry.name == CONFIGS and any(Path(entry).glob("*.pbtxt")))
        for entry in _folders(folder)
    )


def is_repository(folder: Path) -> bool:
    """Whether a directory holds models."""
    return any(is_model(Path(entry)) for entry in _folders(folder))


class _Finding:
    """Takes paths one by one."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.found = asked, SortedOut()
        self._together: list[tuple[Path, Path]] = []  # repositories that were named themselves; and as they are shown
        self._alone: list[tuple[Path, Path]] = []
        self._models: dict[tuple[Path, str], Group] = {}

    def add(self, path: Path) -> None:
        if path.suffix == ".pbtxt" and not path.is_dir():
            self._config(path)
        elif not path.is_dir():
            self.found.specs.append(path)
        elif is_model(path):
            self._model(path)
        elif is_repository(path):
            self._together.append((_real(path), path))
        else:
            self._folder(path)

    def _folder(self, path: Path) -> None:
        """A folder of specs, or of repositories, or of both."""
        specs = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        below = sorted(Path(entry) for entry in _folders(path) if is_repository(Path(entry)))
        if not specs and not below:
            raise UserError(
                f"there is nothing to check in {path}",
                "give specs (*.yaml), a model repository, a model's directory or a config.pbtxt" + _inside(path),
            )
        self.found.specs += specs
        self._alone += [(_real(inner), inner) for inner in below]

    def _config(self, path: Path) -> None:
        from generator.load import codes  # brings the whole reader of specs with it

        if not os.path.lexists(path):
            self._unreadable(path, codes.FILE_NOT_FOUND, "there is no such file")
        elif not path.exists():
            self._unreadable(path, codes.FILE_NOT_FOUND, "the link leads to no file")
        elif not path.is_file():
            self._unreadable(path, codes.FILE_UNREADABLE, "this is not a regular file")
        elif path.name == CONFIG_FILE:
            self._model(path.parent)
        elif _real(path).parent.name == CONFIGS:
            self._model(path.parent.parent if len(path.parts) > 2 else _real(path).parent.parent, path.stem)
        else:
            raise UserError(
                f"{path} is no file that a server reads",
                f"it reads a model's {CONFIG_FILE}, or {CONFIGS}/NAME.pbtxt beside it with --model-config-name NAME",
            )

    def _unreadable(self, path: Path, code: str, message: str) -> None:
        self.found.problems.append(Problem(code, Place(str(path)), "", message))

    def _model(self, path: Path, config_name: str = "") -> None:
        real = _real(path)
        # `.` and `..` have no name to show their repository by.
        shown = path.parent if path.name not in ("", "..") else real.parent
        key = (real.parent, config_name)
        if key not in self._models:
            self._models[key] = self._group([(real.parent, shown)], config_name)
            self._models[key].only = set()
        only = self._models[key].only
        if only is not None:
            only.add(real.name)

    def _group(self, repositories: Sequence[tuple[Path, Path]], config_name: str = "") -> Group:
        kinds = [kind for real, _ in repositories if (kind := rendered_for(real))]
        server = self.asked.of(kinds[0][0] if kinds else None, config_name)
        folders = [DiskFolder(real, "" if str(shown) == "." else str(shown)) for real, shown in repositories]
        return Group(folders, server)

    def result(self) -> SortedOut:
        """Repositories that were named together are one server's, unless they were rendered for several."""
        self.found.specs = list(dict.fromkeys(self.found.specs))
        together = list({real: (real, shown) for real, shown in self._together}.values())
        alone = {real: (real, shown) for real, shown in self._alone if real not in dict(together)}
        kinds: dict[tuple[str, str] | None, list[tuple[Path, Path]]] = {}
        for real, shown in together:
            kinds.setdefault(rendered_for(real), []).append((real, shown))
        of_servers = [together] if len(kinds.keys() - {None}) < 2 else list(kinds.values())
        groups = [self._group(one) for one in [*of_servers, *([pair] for pair in alone.values())] if one]
        whole = {*dict(together), *alone}
        self.found.groups = groups + [g for (real, name), g in self._models.items() if real not in whole or name]
        return self.found


def _inside(path: Path) -> str:
    """What of a project in `path` can be given."""
    here = [name for name in ("specs", "model_repository") if (path / name).is_dir()]
    return f", such as {' or '.join(str(path / name) for name in here)}" if here else ""


def _folders(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.is_dir())
    except OSError:
        return


def _configs(repository: Path) -> Iterator[Path]:
    for entry in sorted(_folders(repository), key=lambda entry: entry.name):
        config = Path(entry) / CONFIG_FILE
        if config.is_file():
            yield config


def _real(path: Path) -> Path:
    """Absolute, links as they are: a model's name is its directory's."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve would follow links)
