"""Whether two sets of samples share items: what is calibrated with must not be what accuracy is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from generator.engine.errors import Finding


def overlap(calibration: Iterable[Mapping[str, Any]], gate: Iterable[Mapping[str, Any]]) -> list[int]:
    """Indices of calibration items that are gate items too: the same inputs with the same types, shapes and bytes.

    An item is input name → array, or bytes.
    """
    there = {item_sha256(item) for item in gate}
    return [index for index, item in enumerate(calibration) if item_sha256(item) in there]


def overlap_finding(shared: list[int], calibration_items: int) -> Finding:
    """What is said of items that `overlap` found."""
    some = ", ".join(map(str, shared[:5])) + (", …" if len(shared) > 5 else "")
    return Finding(
        "TK949",
        f"{len(shared)} of {calibration_items} calibration items are in the gate set too (items {some})",
        "an accuracy measured on them says nothing; use other items for one of the two",
        "build.calibration",
    )


def item_sha256(item: Mapping[str, Any]) -> str:
    """The SHA-256 over all inputs of an item, by name."""
    whole = hashlib.sha256()
    for name in sorted(item):
        for part in (name.encode(), *_parts(item[name])):
            # Lengths first, so that no two items run together into the same bytes.
            whole.update(len(part).to_bytes(8, "little"))
            whole.update(part)
    return whole.hexdigest()


def _parts(value: Any) -> tuple[bytes, ...]:
    import numpy as np

    if isinstance(value, str | bytes):
        return (b"bytes", value.encode() if isinstance(value, str) else value)
    array = np.asarray(value)
    shape = repr(array.shape).encode()
    if array.dtype.kind in "OSU":
        return (b"text", shape, *(v if isinstance(v, bytes) else str(v).encode() for v in array.reshape(-1)))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return (array.dtype.name.encode(), shape, little.tobytes())
