"""Building an image: packages fetched, context packed, built, and its bill of materials written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.docker import context, packages, sbom
from deploy.docker.base import NAME, Base, pinned
from deploy.docker.engine import Engine
from deploy.docker.problem import refused
from deploy.docker.request import Request
from generator.whole_file import write_whole


@dataclass(frozen=True)
class Wanted:
    """What the command line says beside the specs. `base`: without one, the target's own, which has no digest."""

    base: Base | None = None
    tag: str = ""
    sbom: Path | None = None
    no_cache: bool = False
    allow_unpinned: bool = False


@dataclass(frozen=True)
class Built:
    """A new image."""

    name: str
    id: str
    base: Base
    components: int


def build(request: Request, wanted: Wanted, engine: Engine, on_progress: Callable[[str], None]) -> Built:
    """Builds it. Raises ProblemsError; nothing is left of a build that failed but the builder's cache."""
    name = checked_name(wanted.tag or request.name)
    check_place(wanted.sbom)
    base = pinned(wanted.base or request.default_base(), engine, allow_unpinned=wanted.allow_unpinned)
    with context_of(request, base, on_progress) as files, context.packed(files) as packed:
        on_progress("sending the context to the engine")
        image_id = engine.build(
            packed, tag=name, arguments=base.arguments(), no_cache=wanted.no_cache, on_progress=on_progress
        )
    on_progress("listing what is installed")
    bill = sbom.bill(request, image_id, name, sbom.installed(engine, image_id))
    if wanted.sbom is not None:
        write_whole(wanted.sbom, sbom.as_text(bill))
    return Built(name, image_id, base, len(bill["components"]))


@contextmanager
def context_of(request: Request, base: Base, on_progress: Callable[[str], None]) -> Iterator[dict[str, bytes | Path]]:
    """The files of the context, as long as its packages are there."""
    with packages.wheels(request.kind, request.requirements(), on_progress) as wheels:
        yield context.entries(request, base, wheels)


def check_place(sbom: Path | None) -> None:
    """Raises OSError where a bill of materials cannot be written: it is the last that a build of minutes does."""
    if sbom is None or (sbom.exists() and not sbom.is_file()):  # a device or a pipe is written into as it is
        return
    try:
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(sbom)).parent):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(sbom)) from error


def checked_name(name: str) -> str:
    """The name, with `:latest` where it has no tag. Raises ProblemsError (TK470)."""
    if not NAME.fullmatch(name) or "@" in name:  # a digest is of what has been built
        raise refused(
            "TK470",
            "--tag",
            f"`{name}` is no name for an image",
            "names are of small letters and digits, with `.`, `_`, `-`, `/` between them; then `:TAG`",
        )
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
