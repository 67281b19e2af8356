"""Which files of this package a model needs when it carries the package itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from tritonkit_runtime.engines import ENGINES
from tritonkit_runtime.parameters import ParameterError

_APART = ("buffered", "device")  # engines on buffers of their own: no program of a model runs one


def sources(engines: Collection[str] = ()) -> dict[str, bytes]:
    """Path beside model.py (`tritonkit_runtime/...`) -> content, sorted by path.

    `engines` are those that the model runs, none for programs of steps and users' classes: others stay out, and so
    does what no program runs yet.
    ParameterError for an unknown engine.
    """
    if unknown := sorted(set(engines) - set(ENGINES)):
        raise ParameterError(f"there is no engine {unknown[0]!r}; valid are {', '.join(ENGINES)}")
    package = Path(__file__).parent
    unused = {PurePosixPath("engines", f"{name}.py") for name in ENGINES if name not in engines}
    found = {}
    for path in sorted(package.rglob("*.py")):
        relative = PurePosixPath(path.relative_to(package).as_posix())
        if relative not in unused and relative.parts[0] not in _APART:
            found[str(PurePosixPath(package.name) / relative)] = path.read_bytes()
    return found
