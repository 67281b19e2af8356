"""A Python environment seen from outside: its version, its libpython, the packages in it; nothing is imported."""

from __future__ import annotations

import re
import sys
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

_SYSTEM_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")


@dataclass(frozen=True)
class PythonEnvironment:
    """A virtual environment or an interpreter's prefix, by its directory."""

    path: Path

    @cached_property
    def settings(self) -> dict[str, str]:
        """What pyvenv.cfg says; empty for an interpreter's own prefix."""
        try:
            lines = (self.path / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        pairs = (line.split("=", 1) for line in lines if "=" in line)
        return {name.strip().lower(): value.strip() for name, value in pairs}

    @property
    def python(self) -> Path:
        """The interpreter's file."""
        return self.path / "bin" / "python3"

    @cached_property
    def base(self) -> Path:
        """The prefix of the interpreter that the environment was made from."""
        home = self.settings.get("home")
        if home:
            return Path(home).parent
        return Path(sys.base_prefix) if self.path == Path(sys.prefix) else self.path

    @cached_property
    def version(self) -> str:
        """Python's version as "3.11"; empty if the directory does not tell."""
        if self.path == Path(sys.prefix):
            return f"{sys.version_info[0]}.{sys.version_info[1]}"
        written = self.settings.get("version") or self.settings.get("version_info") or ""
        if match := re.match(r"\d+\.\d+", written):
            return match[0]
        found = sorted(path.name for path in (self.path / "lib").glob("python3.*") if path.is_dir())
        return found[-1].removeprefix("python") if found else ""

    @property
    def site_directories(self) -> list[Path]:
        """Where the environment's packages lie, its own before the system's."""
        prefixes = [self.path]
        if self.settings.get("include-system-site-packages", "false").lower() == "true":
            prefixes.append(self.base)
        found = [
            prefix / lib / f"python{self.version}" / "site-packages"
            for prefix in prefixes
            for lib in ("lib", "lib64")
        ]
        if Path("/usr") in prefixes:  # Debian's own layout
            found += [
                Path(f"/usr/local/lib/python{self.version}/dist-packages"),
                Path("/usr/lib/python3/dist-packages"),
            ]
        return found

    def package_version(self, name: str) -> str | None:
        """The installed version of a distribution, from its metadata; None if it is not installed."""
        for distribution in metadata.distributions(name=name, path=[str(path) for path in self.site_directories]):
            return str(distribution.version)
        return None

    def package_directory(self, name: str) -> Path | None:
        """The directory of an importable package in this environment; editable installs are not seen."""
        return next((site / name for site in self.site_directories if (site / name).is_dir()), None)

    def libpython(self) -> Path | None:
        """The shared library of the interpreter, which the server's stub links; None if there is none."""
        name = f"libpython{self.version}.so.1.0"
        places = [self.base / "lib", self.base / "lib64"]
        if self.base == Path(sys.base_prefix) and (libdir := sysconfig.get_config_var("LIBDIR")):
            places.insert(0, Path(libdir))
        if self.base in (Path("/usr"), Path("/")):
            # A system interpreter's library lies where the loader looks; elsewhere another build of it could.
            places += [Path(place) for place in _SYSTEM_LIBRARIES]
        return next((place / name for place in places if (place / name).is_file()), None)

    def libpython_remedy(self) -> str:
        """How this kind of interpreter gets its shared library."""
        if self.base in (Path("/usr"), Path("/")):
            return f"apt-get install libpython{self.version}"
        if ".pyenv" in self.base.parts:
            return f"PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {self.base.name}"
        return f"use a Python {self.version} that was built with --enable-shared"
