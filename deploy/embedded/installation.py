"""The server that the nvidia-pytriton wheel carries: found, checked, and its backend directory prepared."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.environment import PythonEnvironment
from generator.problems import UserError
from generator.whole_file import passing_folder

WHEEL = "nvidia-pytriton"
WHEEL_VERSION = "0.7.0"
SERVER_VERSION = "2.51.0"
STUB = "triton_python_backend_stub"
_BACKEND_FILES = ("libtriton_python.so", "triton_python_backend_utils.py")


@dataclass(frozen=True)
class MissingPiece:
    """One thing that keeps the server from starting: a sentence, and the command that mends it."""

    name: str
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.sentence}\n  {self.remedy}"


class InstallationError(UserError):
    """The server cannot start here; `.missing` holds every reason."""

    def __init__(self, missing: list[MissingPiece]) -> None:
        self.missing = tuple(missing)
        super().__init__("\n".join(map(str, missing)), "`tritonkit doctor` shows all that the server needs")


def _wheel_directory(environment: PythonEnvironment) -> Path | None:
    """The wheel's package: of the running interpreter, else of the environment. It is never imported."""
    spec = importlib.util.find_spec("pytriton")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return environment.package_directory("pytriton")


def numpy_problem(environment: PythonEnvironment) -> MissingPiece | None:
    """Why the environment's numpy does not fit; None if it does.

    The wheel's stubs were built before numpy 2: under it they give arrays of wrong values, without an error.
    """
    version = environment.package_version("numpy")
    python = environment.python
    remedy = f"{python} -m pip install 'numpy>=1.26,<2'"
    if version is None:
        return MissingPiece(
            "numpy", f"numpy is not installed in {environment.path}, and the server's Python models need it", remedy
        )
    if int(version.split(".")[0]) >= 2:
        return MissingPiece(
            "numpy",
            f"numpy {version} is installed in {environment.path}; with it the embedded server's Python models read "
            "wrong values without any error, so it needs numpy < 2",
            remedy,
        )
    return None


def _problems(wheel: Path | None, environment: PythonEnvironment) -> Iterator[MissingPiece]:
    python = environment.python
    install = f"{python} -m pip install {WHEEL}=={WHEEL_VERSION}"
    if not os.access(python, os.X_OK):
        yield MissingPiece("python", f"there is no interpreter {python}", f"python3 -m venv {environment.path}")
    if wheel is None:
        yield MissingPiece("wheel", f"the package {WHEEL}, which carries the server, is not installed", install)
    else:
        for path in (wheel / "tritonserver/bin/tritonserver", _backend(wheel) / _BACKEND_FILES[0], _libraries(wheel)):
            if not path.exists():
                yield MissingPiece(
                    "wheel", f"{WHEEL} is incomplete: {path} is missing", f"{install} --force-reinstall --no-deps"
                )
    if not environment.version:
        yield MissingPiece(
            "python", f"{environment.path} is no Python environment", f"python3 -m venv {environment.path}"
        )
        return
    if wheel is not None and not _stub(wheel, environment.version).is_file():
        valid = ", ".join(stub_versions(wheel)) or "none"
        yield MissingPiece(
            "stub",
            f"{WHEEL} has no stub for Python {environment.version}; it has {valid}",
            "make the environment with one of these, for example: python3.11 -m venv .venv",
        )
    if environment.libpython() is None:
        sentence = f"libpython{environment.version}.so.1.0, which the server's Python process links, is not installed"
        yield MissingPiece("libpython", sentence, environment.libpython_remedy())
    if problem := numpy_problem(environment):
        yield problem
    if file := _foreign_pth(environment):
        sentence = f"{file} names a path that is not ASCII, and the server's Python process ends when it reads it"
        yield MissingPiece(
            "paths",
            sentence,
            "move what it names (such as this project) to a path of ASCII letters, install it again",
        )


def _foreign_pth(environment: PythonEnvironment) -> Path | None:
    """A .pth file that the stub cannot decode: its locale is C, whatever the environment variables say."""
    files = (file for site in environment.site_directories for file in sorted(site.glob("*.pth")))
    return next((file for file in files if not file.read_bytes().isascii()), None)


def _backend(wheel: Path) -> Path:
    return wheel / "tritonserver" / "backends" / "python"


def _libraries(wheel: Path) -> Path:
    return wheel.parent / "nvidia_pytriton.libs"


def _stub(wheel: Path, version: str) -> Path:
    return wheel / "tritonserver" / "python_backend_stubs" / version / STUB


def stub_versions(wheel: Path) -> list[str]:
    """The Python versions that the wheel has a stub for, oldest first."""
    names = [path.parent.name for path in (wheel / "tritonserver" / "python_backend_stubs").glob(f"*/{STUB}")]
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))))


def cache_directory() -> Path:
    """The user's cache directory of tritonkit; a private one in the temporary directory if there is no home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - never raises
    path = Path(base) / "tritonkit"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if os.access(path, os.W_OK | os.X_OK):
            return path
    except OSError:
        pass
    path = Path(tempfile.gettempdir()) / f"tritonkit-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.lstat().st_uid != os.getuid():
        raise InstallationError(
            [MissingPiece("cache", f"{path} belongs to another user", "export XDG_CACHE_HOME=a directory of yours")]
        )
    return path


@dataclass(frozen=True)
class Installation:
    """A complete server: where everything is that its command line and environment need."""

    wheel: Path
    environment: PythonEnvironment

    @classmethod
    def find(cls, environment: Path | None = None) -> Installation:
        """Find the server for a Python environment (default: the running one).

        Raises InstallationError with everything that is missing or does not fit.
        """
        python = PythonEnvironment(Path(environment or sys.prefix).absolute())
        wheel = _wheel_directory(python)
        missing = list(_problems(wheel, python))
        if missing or wheel is None:
            raise InstallationError(missing)
        return cls(wheel, python)

    @property
    def binary(self) -> Path:
        """The tritonserver program."""
        return self.wheel / "tritonserver" / "bin" / "tritonserver"

    @property
    def caches(self) -> Path:
        """The directory of response cache implementations."""
        return self.wheel / "tritonserver" / "caches"

    def library_path(self) -> str:
        """The value of LD_LIBRARY_PATH: the wheel's libraries and libpython's directory, then what was set."""
        libpython = self.environment.libpython()
        inherited = os.environ.get("LD_LIBRARY_PATH", "")
        own = [str(_libraries(self.wheel)), *([str(libpython.parent)] if libpython else [])]
        return ":".join([*own, *([inherited] if inherited else [])])

    def variables(self) -> dict[str, str]:
        """The server's environment variables: this process's, with the environment's Python first on PATH."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        # The stub ignores PYTHON* variables; it finds its environment through the first python3 on PATH.
        path = f"{self.environment.path / 'bin'}:{kept.get('PATH', os.defpath)}"
        return kept | {
            "PATH": path,
            "VIRTUAL_ENV": str(self.environment.path),
            "LD_LIBRARY_PATH": self.library_path(),
            "TRITONKIT_NUMPY1_STUB": "1",
        }

    def backend_directory(self) -> Path:
        """A directory for --backend-directory: the python backend beside this interpreter's stub.

        The wheel keeps them apart, so they are copied once into the user's cache. Safe for two at once.
        """
        sources = [
            *(_backend(self.wheel) / name for name in _BACKEND_FILES),
            _stub(self.wheel, self.environment.version),
        ]
        # Sizes and times are in the name: a repaired or replaced wheel gets a copy of its own.
        marks = " ".join(f"{source.stat().st_size} {source.stat().st_mtime_ns}" for source in sources)
        digest = hashlib.sha256(marks.encode()).hexdigest()[:12]
        target = cache_directory() / f"backends-{WHEEL_VERSION}-py{self.environment.version}-{digest}"
        if not _is_complete(target, sources):
            _copy_once(sources, target)
        return target


def _is_complete(target: Path, sources: list[Path]) -> bool:
    copies = [(target / "python" / source.name, source) for source in sources]
    return all(copy.is_file() and copy.stat().st_size == source.stat().st_size for copy, source in copies)


def _copy_once(sources: list[Path], target: Path) -> None:
    """Make the copy, one process at a time; it appears by a rename, so a reader never sees half of it."""
    with _locked(target.parent):
        if _is_complete(target, sources):
            return  # another start was quicker
        with passing_folder(target.parent, f".{target.name}-") as fresh:
            copy = fresh / "new" / "python"
            copy.mkdir(parents=True)
            for source in sources:
                shutil.copy2(source, copy / source.name)
            (copy / STUB).chmod(0o755)
            if target.exists():  # damaged: somebody removed or changed a file of it
                target.rename(fresh / "damaged")
            copy.parent.rename(target)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's own lock; the kernel frees it if this process dies."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
