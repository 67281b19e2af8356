"""The flags that a server has to be started with for the engines of its pipelines: no repository can say them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from generator.plan import EnginePart, Plan

_TENSORRT = "--backend-config=tensorrt"
VERSION_COMPATIBLE = f"{_TENSORRT},version-compatible=true"
_SEPARATOR = ";"  # between plugin libraries


class Need(NamedTuple):
    """What one engine needs: the field of its `build` that asks for it, the flag, and why."""

    field: str
    flag: str
    why: str

    @property
    def shown(self) -> str:
        """The flag as it is typed into a shell, where `;` would end the command."""
        return shlex.quote(self.flag)


def needs_of(engine: EnginePart, plugins: str = "") -> Iterator[Need]:
    """What the server needs for one engine. `plugins` is the folder on its machine that has the plugin libraries, by
    their paths in the project; left out: those paths as they are.

    Only Triton's own TensorRT backend takes such flags: in a Python model the runtime does it by itself.
    """
    if engine.model.backend != "tensorrt":
        return
    build = engine.program.build
    if build.version_compatible:
        yield Need(
            "version_compatible",
            VERSION_COMPATIBLE,
            "a plan for several TensorRT versions brings code along to be run",
        )
    if build.plugins:
        yield Need("plugins", _plugins(build.plugins, plugins), "the plan needs its plugins before it is loaded")


def server_flags(plans: Iterable[Plan], plugins: str = "") -> list[str]:
    """The flags for all pipelines of one server, each once; the libraries of all are in one of them, as a second one
    would replace the first. `plugins` as in `needs_of`.
    """
    libraries: dict[str, None] = {}
    flags: dict[str, None] = {}
    for plan in plans:
        for engine in plan.engines():
            for need in needs_of(engine, plugins):
                if need.field == "plugins":
                    libraries.update(dict.fromkeys(engine.program.build.plugins))
                else:
                    flags[need.flag] = None
    return [*flags, *([_plugins(libraries, plugins)] if libraries else [])]


def _plugins(libraries: Iterable[str], folder: str) -> str:
    paths = [f"{folder.rstrip('/')}/{library}" if folder else library for library in libraries]
    return f"{_TENSORRT},plugins={_SEPARATOR.join(paths)}"
