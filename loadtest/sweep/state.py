"""What a sweep's figures hang on beside its options: what is served, and what is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loadtest.traffic.payloads import wire

if TYPE_CHECKING:
    from loadtest.traffic.payloads import Payloads


def hash_of_files(files: Mapping[str, bytes]) -> str:
    """SHA-256 of rendered files, names and bytes."""
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def hash_of_payloads(payloads: Payloads) -> str:
    """SHA-256 of all requests: inputs, types, shapes and values."""
    digest = hashlib.sha256()
    for request in payloads.requests:
        for name, (datatype, array) in sorted(request.items()):
            data = wire(datatype, array)
            digest.update(f"{name}\0{datatype}\0{array.shape}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
