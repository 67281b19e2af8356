"""Triton's data types and numpy's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# Triton's data types -> numpy's; STRING tensors are object arrays of bytes.
NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "STRING": np.dtype(np.object_),
}

# What a buffer can hold. Text has no fixed size; BF16, which numpy lacks, is kept as its 16 bits.
BUFFER_DTYPES: Mapping[str, np.dtype[Any]] = {
    **{name: dtype for name, dtype in NUMPY_DTYPES.items() if name != "STRING"},
    "BF16": np.dtype(np.uint16),
}
ALL_DTYPES: Mapping[str, np.dtype[Any]] = {**NUMPY_DTYPES, **BUFFER_DTYPES}
