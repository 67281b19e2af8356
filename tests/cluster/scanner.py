"""Checkov, a scanner of images and manifests, in an environment of its own beside the cluster's tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.cluster_tools.folder import folder, locked

CONSTRAINTS = Path(__file__).parent / "scanner-constraints.txt"
PACKAGES = ("checkov==3.3.30", "cyclonedx-python-lib[json-validation]==7.6.2")
_INSTALL_S, _SCAN_S = 900.0, 300.0
_WAITS_S = 1200.0  # longer than another process needs to install it


def scanner() -> Path:
    """The environment, made once. One that cannot be made fails the test, and says what pip said."""
    made_of = "\n".join([*PACKAGES, CONSTRAINTS.read_text(encoding="utf-8")])
    place = folder().path / f"scanner-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.with_suffix(".lock"), _nothing, _WAITS_S):
        if not (place / "complete").exists():
            _install(place)
    return place


def _nothing() -> None:
    """Is said while another process installs it."""


def _install(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=120)
    done = subprocess.run(
        [str(place / "bin" / "pip"), "install", "--quiet", "--constraint", str(CONSTRAINTS), *PACKAGES],
        capture_output=True, text=True, timeout=_INSTALL_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"the scanner cannot be installed:\n{done.stderr[-3000:]}"
    (place / "complete").touch()


def scan(path: Path, framework: str) -> list[dict[str, Any]]:
    """Every failed check of the files beneath `path`. It asks nobody: its rules are in the package."""
    words = ["--framework", framework, "--output", "json", "--skip-download", "--compact", "--quiet", "--soft-fail"]
    done = subprocess.run(
        [str(scanner() / "bin" / "checkov"), "--directory", str(path), *words], capture_output=True, text=True,
        timeout=_SCAN_S, check=False, cwd=path, env={**os.environ, "LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    reports = told if isinstance(told, list) else [told]
    passed = sum(report.get("summary", report).get("passed", 0) for report in reports)
    assert passed > 0, f"nothing was scanned: {done.stdout[:500]}"
    return [check for report in reports for check in report["results"]["failed_checks"]]
