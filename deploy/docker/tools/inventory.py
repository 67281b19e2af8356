"""What is installed in the image, as JSON on standard output: the list that its SBOM is made of. Runs inside it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

STATUS = Path("/var/lib/dpkg/status")


def debian() -> Iterator[dict[str, str]]:
    """Every installed package of Debian or Ubuntu: name, version, architecture and source."""
    text = STATUS.read_text(encoding="utf-8", errors="replace") if STATUS.is_file() else ""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            names = ("Package", "Version", "Architecture", "Source")
            yield {name.lower(): fields.get(name, "") for name in names}


def python(folders: list[str]) -> Iterator[dict[str, str]]:
    """Every Python package on these folders: name, version and license."""
    for one in metadata.distributions(path=folders):
        about = one.metadata.json
        license_ = str(about.get("license_expression") or about.get("license") or "")
        yield {"name": str(about["name"]), "version": one.version, "license": license_.strip().split("\n")[0][:80]}


def release() -> dict[str, str]:
    """What /etc/os-release says."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


if __name__ == "__main__":
    found = {
        "os": release(),
        "python": sys.version.split()[0],
        "debian": sorted(debian(), key=lambda one: (one["package"], one["architecture"])),
        "packages": sorted(python(sys.path), key=lambda one: (one["name"].lower(), one["version"])),
    }
    json.dump(found, sys.stdout)
