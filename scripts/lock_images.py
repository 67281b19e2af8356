"""Writes deploy/docker/locks/*.txt: the Python packages of the images, each with the hash of its wheel.

    .venv/bin/python scripts/lock_images.py

The versions are those that the project is tested with (constraints.txt, constraints-numpy2.txt), and for what stands
in neither those below. Asks the package index, and downloads nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from deploy.docker.packages import LOCKS, platform_options  # noqa: E402

HEAD = "# Written by scripts/lock_images.py: the packages of {image}, for Python {python}.\n"
NAMES = {
    "embedded": (
        "nvidia-pytriton",
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "flatbuffers",
        "packaging",
        "protobuf",
        "tokenizers",
    ),
    "production": (
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "onnxruntime-gpu",
        "flatbuffers",
        "packaging",
        "protobuf",
        "tokenizers",
        "tensorrt_cu13_bindings",
    ),
}
# TensorRT's bindings are of the very version that Triton 26.07 has the libraries of.
# What `tritonkit load run` imports, and what that needs itself.
LOAD = (
    "aiohttp", "click", "jinja2", "numpy", "onnx", "opencv-python-headless", "pydantic", "pyyaml", "rich", "scipy",
    "matplotlib", "tritonclient[grpc,http]",
)  # fmt: skip
BESIDE = {"onnxruntime-gpu": "1.31.1", "tensorrt_cu13_bindings": "11.1.0.106"}


def pins(*files: str) -> dict[str, str]:
    """Name and version of every line, of later files before earlier ones."""
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)


def locked(image: str, python: str) -> str:
    """The lock of one image; of the load generator pip finds out what its packages need, in versions as tested."""
    newest = ("constraints-numpy2.txt",) if image == "production" else ()
    versions = {**pins("constraints.txt", *newest), **BESIDE}
    options = platform_options(python)
    if image == "load":
        options = [option for option in options if option != "--no-deps"]
        options += ["--constraint", str(ROOT / "constraints.txt"), *LOAD]
    else:
        options += [f"{name}=={versions[name]}" for name in NAMES[image]]
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", "-", "--target", target, *options]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    lines = {_plain(entry["metadata"]["name"]): _line(entry) for entry in report["install"]}
    order = map(_plain, NAMES[image]) if image in NAMES else sorted(lines)
    return HEAD.format(image=image, python=python) + "".join(lines[name] for name in order)


def _line(entry: dict[str, Any]) -> str:
    about, hashes = entry["metadata"], entry["download_info"]["archive_info"]["hashes"]
    return f"{about['name']}=={about['version']} --hash=sha256:{hashes['sha256']}\n"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def main() -> None:
    """Writes both."""
    for image, lock in LOCKS.items():
        lock.file.write_text(locked(image, lock.python), encoding="utf-8")
        print(lock.file.relative_to(ROOT))


if __name__ == "__main__":
    main()
