"""What a user names, sorted out: specs, and the repositories that one server each serves."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from generator.lint.files import DiskFolder, is_folder
from generator.lint.model import CONFIG_FILE
from generator.lint.server import EMBEDDED, Server
from generator.problems import Place, Problem, UserError

CONFIGS = "configs"  # beside a model's config.pbtxt: those that --model-config-name chooses from
FILE_NOT_FOUND, FILE_UNREADABLE = "TK101", "TK102"  # generator.load.codes, which brings the whole reader of specs
_SPECS = (".yaml", ".yml")
_OF_PROJECT = ("specs", "model_repository")
_HEAD_BYTES = 1000
_LOOKED_AT = 20  # of a repository's configurations, for one that says what it was rendered for; of versions
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
    gpu: str = ""

    def of(self, target: str | None, config_name: str = "") -> Server:
        """The server for a repository that was rendered for `target` (None: by nobody)."""
        server = EMBEDDED if (self.server or target) == "embedded" else Server(release=self.server)
        said = {
            "backends": self.backends, "gpus": self.gpus, "cores": self.cores, "auto_complete": self.auto_complete,
            "config_name": self.config_name or config_name or None, "cuda_pool_bytes": self.cuda_pool_bytes,
            "gpu": self.gpu or None,
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
    """Whether a directory is a model: it has a configuration, or a version with a model file."""
    configs = folder / CONFIGS
    if _is_there(folder / CONFIG_FILE) or (_is_there(configs) and any(configs.glob("*.pbtxt"))):
        return True
    return any(any(name.startswith("model.") for name in _names(version)) for version in _versions(folder))


def is_repository(folder: Path) -> bool:
    """Whether a directory holds models. Hidden directories are no sign of anything."""
    return any(is_model(Path(entry)) for entry in _folders(folder) if not entry.name.startswith("."))


def may_be_repository(folder: Path) -> bool:
    """Whether at least as many directories in it may be models as are certainly none.

    Numbers name directories elsewhere, too (`/proc`, data sets), so it has to be named to be taken for one.
    """
    maybe = [may_be_model(Path(entry)) for entry in _folders(folder) if not entry.name.startswith(".")]
    return maybe.count(True) >= max(maybe.count(False), 1)


def may_be_model(folder: Path) -> bool:
    """Whether a directory has a version with nothing in it."""
    return any(all(name.startswith(".") for name in _names(version)) for version in _versions(folder))


def _versions(folder: Path) -> Iterator[Path]:
    """The first directories with a number as their name."""
    return islice((Path(entry) for entry in _folders(folder) if entry.name.isdecimal()), _LOOKED_AT)


class _Finding:
    """Takes paths one by one."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.found = asked, SortedOut()
        self._together: list[tuple[Path, Path]] = []  # repositories that were named themselves; and as they are shown
        self._alone: list[tuple[Path, Path]] = []
        self._models: dict[tuple[Path, str], Group] = {}

    def add(self, path: Path) -> None:
        kind = self._kind(path)
        if kind is None:
            return
        if not stat.S_ISDIR(kind):
            self._file(path, kind)
        elif is_model(path):
            self._model(path)
        elif is_repository(path):
            self._together.append((_real(path), path))
        elif self._folder(path):
            return
        elif may_be_model(path):
            self._model(path)
        elif may_be_repository(path):
            self._together.append((_real(path), path))
        else:
            raise UserError(
                f"there is nothing to check in {path}",
                "give specs (*.yaml), a model's directory (with a config.pbtxt, or a version such as `1` with a "
                "model file), or a model repository, in which such directories stand",
            )

    def _kind(self, path: Path) -> int | None:
        """What a path is; None for what is not there or cannot be looked at, which is a problem then."""
        try:
            kind = path.stat().st_mode
            if stat.S_ISDIR(kind):
                os.listdir(path)  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            what = "file" if path.suffix in (*_SPECS, ".pbtxt") else "file or folder"
            how = "the link leads to no" if os.path.islink(path) else "there is no such"  # noqa: PTH114  (may raise)
            self._unreadable(path, FILE_NOT_FOUND, f"{how} {what}")
        except OSError as error:
            self._unreadable(path, FILE_UNREADABLE, f"cannot be read: {error.strerror}")
        except ValueError as error:  # a NUL
            self._unreadable(path, FILE_NOT_FOUND, f"there is no such file: {error}")
        else:
            return kind
        return None

    def _folder(self, path: Path) -> bool:
        """A folder of specs, or of repositories, or a project with both; whether it is one.

        YAML beside repositories is something else. What cannot be looked into may be a repository, too, but not in a
        project, which says where its own stand.
        """
        before = len(self.found.problems)
        inner = sorted(Path(entry) for entry in _folders(path) if not entry.name.startswith("."))
        below = [folder for folder in inner if is_repository(folder)]
        self._alone += [(_real(folder), folder) for folder in below]
        is_project = any(folder.name in _OF_PROJECT for folder in below)
        for folder in inner:
            if folder.name in _OF_PROJECT and folder not in below and self._kind(folder) is not None:
                is_project = self._folder(folder) or is_project
        if is_project:
            return True
        for folder in inner:
            if folder.name not in _OF_PROJECT:
                self._kind(folder)
        if below:
            return True
        specs = sorted(path / name for name in _names(path) if name.endswith(_SPECS) and not name.startswith("."))
        self.found.specs += specs
        return bool(specs) or len(self.found.problems) > before

    def _file(self, path: Path, kind: int) -> None:
        if path.suffix in _SPECS:
            self.found.specs.append(path)
        elif not stat.S_ISREG(kind):
            self._unreadable(path, FILE_UNREADABLE, "this is not a regular file")
        elif path.suffix == ".pbtxt":
            self._config(path)
        else:
            what = "a spec ends in .yaml or .yml, a model's configuration is config.pbtxt"
            self._unreadable(path, FILE_UNREADABLE, f"this is nothing that can be checked: {what}")

    def _config(self, path: Path) -> None:
        if path.name == CONFIG_FILE:
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


def _folders(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The directories in one; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if is_folder(entry))
    except OSError:
        return


def _names(folder: Path) -> list[str]:
    """What stands in a directory; nothing where it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _is_there(path: Path) -> bool:
    """Whether there is something; not where that cannot be found out."""
    return os.path.exists(path)  # noqa: PTH110  (Path.exists raises where a directory may not be entered)


def _configs(repository: Path) -> Iterator[Path]:
    for entry in sorted(_folders(repository), key=lambda entry: entry.name):
        config = Path(entry) / CONFIG_FILE
        if os.path.isfile(config):  # noqa: PTH113
            yield config


def _real(path: Path) -> Path:
    """Absolute, links as they are: a model's name is its directory's."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve would follow links)
