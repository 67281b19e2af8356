"""What a sweep's figures hang on beside its options: what is served, and what is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.traffic.payloads import wire

if TYPE_CHECKING:
    from loadtest.traffic.payloads import Payloads


_ROOT = Path(__file__).parents[2]
_RENDER_AND_ASK = ("generator", "python_backend", "loadtest/traffic")


def hashes_of_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each rendered file; what users bring before what tritonkit writes of it."""
    by_path = sorted(files.items(), key=lambda entry: (entry[0].endswith((".pbtxt", ".json", "/model.py")), entry[0]))
    return {path: hashlib.sha256(data).hexdigest() for path, data in by_path}


def hash_of_code() -> str:
    """SHA-256 of what of tritonkit renders specs and makes requests."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in _RENDER_AND_ASK for file in (_ROOT / folder).rglob("*.py")):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(_ROOT)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def hash_of_payloads(payloads: Payloads) -> str:
    """SHA-256 of all requests: inputs, types, shapes and values."""
    digest = hashlib.sha256()
    for request in payloads.requests:
        for name, (datatype, array) in sorted(request.items()):
            data = wire(datatype, array)
            digest.update(f"{name}\0{datatype}\0{array.shape}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
