"""The packages that are optional: which extra of pyproject.toml brings each, and the line that installs it."""

from __future__ import annotations

import sys

# By what is imported. `test_extras.py` holds it against pyproject.toml.
EXTRAS = {
    "docker": "deploy",
    "locust": "load",
    "matplotlib": "load",
    "onnx2torch": "inductor",
    "onnxconverter_common": "build",
    "onnxruntime": "build",
    "safetensors": "embeddings",
    "scipy": "load",
    "skimage": "train",
    "sklearn": "train",
    "tensorrt": "tensorrt",
    "tokenizers": "embeddings",
    "torch": "inductor",
}


def install(extra: str) -> str:
    """The line for a shell in the clone. The runtime stands beside it, because no index has it."""
    return f'pip install -c constraints.txt -e python_backend -e ".[{extra}]"'


def remedy(extra: str) -> str:
    """The same as a hint."""
    return f"`{install(extra)}` in the clone brings it"


def missing(error: BaseException) -> tuple[str, str] | None:
    """What is not installed, and the hint; None where the error is not that a package of an extra is missing."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    if package not in EXTRAS or (error.name != package and sys.modules.get(package) is not None):
        return None  # a package that is there, and lacks a part: another version, or a mistake of ours
    return f"this needs the package `{package}`, which is not installed here", remedy(EXTRAS[package])
