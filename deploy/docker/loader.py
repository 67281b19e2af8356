"""The load generator's image: tritonkit itself and what the specs need of their project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from generator.plan import Plan
from generator.project import Project

ROOT = Path(__file__).parents[2]
_SOURCES = ("generator", "deploy", "loadtest", "tritonkit")
_RUNTIME = "python_backend/tritonkit_runtime"
_FOLDERS = ("models", "data", "steps")
VERSION = version("tritonkit")
_LEFT_OUT = {"__pycache__"}
RESULTS = "/results"
SERVER = "server"
"""The name of the server's service, and so of its host."""


def files(project: Project, plans: Sequence[Plan]) -> dict[str, bytes]:
    """The sources and the project by their paths in the context. Raises OSError."""
    found = {f"source/{path.relative_to(ROOT)}": path for name in _SOURCES for path in _files(ROOT / name)}
    runtime = ROOT / _RUNTIME
    found.update({f"source/{runtime.name}/{path.relative_to(runtime)}": path for path in _files(runtime)})
    # So that a result says which tritonkit sent the load.
    about = f"Metadata-Version: 2.1\nName: tritonkit\nVersion: {VERSION}\n".encode()
    texts = {plan.spec_file: project.path(plan.spec_file).read_text(encoding="utf-8") for plan in plans}
    found.update({f"project/{name}": project.path(name) for name in texts})
    for folder in _FOLDERS:
        for path in _files(project.path(folder)):
            relative = path.relative_to(project.path(folder))
            # Models are large: only those that a spec names.
            if folder != "models" or any(f"{folder}/{relative}" in text for text in texts.values()):
                found[f"project/{folder}/{relative}"] = path
    contents = {name: path.read_bytes() for name, path in found.items()}
    contents[f"source/tritonkit-{VERSION}.dist-info/METADATA"] = about
    return dict(sorted(contents.items()))


def _files(folder: Path) -> Iterator[Path]:
    """Every file beneath, but what Python or an editor leaves behind."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part in _LEFT_OUT or part.startswith(".") for part in inside):
            yield path


def arguments(plans: Sequence[Plan], target: str) -> list[str]:
    """What stands behind `tritonkit`: a load test of every pipeline that has an objective, at its rate."""
    specs = [plan.spec_file for plan in plans if plan.objective is not None]
    at = [f"--url={SERVER}:8000", f"--grpc-url={SERVER}:8001", f"--allow-remote={SERVER}", f"--target={target}"]
    return ["load", "run", *specs, *at, f"--out={RESULTS}/run"]
