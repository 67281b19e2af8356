"""A build's context: a tar without times and owners, so that the builder's cache knows it again."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deploy.docker.base import Base
from deploy.docker.engine import folder_full
from deploy.docker.problem import refused
from deploy.docker.request import FOLDER, Request
from generator.whole_file import passing_folder

TOOLS = FOLDER / "tools"
_PROGRAMS = frozenset({"tools/start"})
_MARGIN_BYTES = 64 << 20


def entries(request: Request, base: Base, wheels: Path) -> dict[str, bytes | Path]:
    """Every file of the context by its path in it: its contents, or where they lie."""
    found: dict[str, bytes | Path] = {
        "Dockerfile": request.dockerfile(base).encode(),
        ".dockerignore": FOLDER / ".dockerignore",
        "requirements.txt": request.requirements().encode(),
        **{f"tools/{path.name}": path for path in sorted(TOOLS.iterdir()) if path.is_file()},
        **{f"wheels/{path.name}": path for path in sorted(wheels.glob("*.whl"))},
    }
    folder = "" if request.kind == "load" else "repository/"
    found.update({f"{folder}{path}": data for path, data in request.files.items()})
    return dict(sorted(found.items()))


def _mode(name: str) -> int:
    return 0o755 if name in _PROGRAMS else 0o644


@contextmanager
def packed(files: dict[str, bytes | Path]) -> Iterator[IO[bytes]]:
    """The context as one tar in a file without a name: whatever happens, nothing of it is left.

    Raises ProblemsError (TK464) where the temporary folder has no room for it.
    """
    wanted = sum(len(data) if isinstance(data, bytes) else data.stat().st_size for data in files.values())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < wanted + _MARGIN_BYTES:
        raise folder_full(
            f"{tempfile.gettempdir()} has {free >> 20} MiB free, and the context takes {wanted >> 20} MiB"
        )
    with tempfile.TemporaryFile(prefix="tritonkit-context-") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in files.items():
                content = data if isinstance(data, bytes) else data.read_bytes()
                about = tarfile.TarInfo(name)
                about.size, about.mode = len(content), _mode(name)
                tar.addfile(about, io.BytesIO(content))
        file.seek(0)
        yield file


def check_new(folder: Path) -> None:
    """Raises ProblemsError (TK473) where the folder holds something: before packages are fetched for it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise refused(
            "TK473", str(folder), f"`{folder}` is there already and not empty", "name a new folder, or empty it"
        )


def write_folder(files: dict[str, bytes | Path], folder: Path) -> None:
    """The context as a folder, for builders of another kind; all of it or nothing. Raises ProblemsError (TK473)."""
    check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with passing_folder(folder.parent, f".{folder.name}-") as fresh:
        for name, data in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.read_bytes())
            path.chmod(_mode(name))
        fresh.chmod(0o755)
        fresh.replace(folder)
