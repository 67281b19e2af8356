"""Which files of this package a model needs when it carries the package itself."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tritonkit_runtime.engines import ENGINES
from tritonkit_runtime.parameters import ParameterError


def sources(engine: str | None = None) -> dict[str, bytes]:
    """Path beside model.py (`tritonkit_runtime/...`) -> content, sorted by path.

    `engine` is the model's engine, None for programs of steps and users' classes: other engines stay out.
    ParameterError for an unknown engine.
    """
    if engine is not None and engine not in ENGINES:
        raise ParameterError(f"there is no engine {engine!r}; valid are {', '.join(ENGINES)}")
    package = Path(__file__).parent
    unused = {PurePosixPath("engines", f"{name}.py") for name in ENGINES if name != engine}
    found = {}
    for path in sorted(package.rglob("*.py")):
        relative = PurePosixPath(path.relative_to(package).as_posix())
        if relative not in unused:
            found[str(PurePosixPath(package.name) / relative)] = path.read_bytes()
    return found
