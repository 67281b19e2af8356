"""How large one element of a tensor is; apart from the Plan, which is slow to import and not needed for it."""

from __future__ import annotations

# Bytes of one element, by Triton's words without TYPE_. Text has none.
ELEMENT_BYTES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8,
}  # fmt: skip
