"""Whether the server's Python stub and this numpy understand each other.

A stub that was built before numpy 2 reads numpy 2's types wrongly: input tensors have the right shape and wrong
values, without any error. The stub makes its arrays from memory addresses, and so does `Tensor.from_dlpack`:
four known numbers that go that way come back right or wrong, before the first request.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np

_CPU = 1
_SIGNED_INTEGER = 0
_CAPSULE_NAME = b"dltensor"
_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _ManagedTensor(ctypes.Structure):
    """DLPack's DLManagedTensor, flattened."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager_context", ctypes.c_void_p),
        ("deleter", _Deleter),
    )


class TensorClass(Protocol):
    """The part of `pb_utils.Tensor` that is needed here."""

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Any:
        """A tensor on the capsule's memory."""


# The stub keeps a pointer to all of this, and calls the deleter when it likes: it lives as long as the process.
# numpy's own capsules cannot be used: their destructor does not know the name that the stub gives them.
_VALUES = (ctypes.c_int32 * 4)(11, 22, 33, 44)
_SHAPE = (ctypes.c_int64 * 1)(4)
_KEEP = _Deleter(lambda _: None)
_TENSOR = _ManagedTensor(ctypes.addressof(_VALUES), _CPU, 0, 1, _SIGNED_INTEGER, 32, 1, _SHAPE, None, 0, None, _KEEP)


def check(tensor_class: TensorClass) -> None:
    """RuntimeError when the stub behind `tensor_class` makes wrong arrays with this numpy."""
    found = tensor_class.from_dlpack("check", _capsule()).as_numpy()
    if not np.array_equal(found, list(_VALUES)):
        raise RuntimeError(
            f"this server's Python stub was built for another numpy than {np.__version__}: it reads {list(_VALUES)} "
            f"as {found.tolist()}. Install numpy<2 in the environment that the stub uses (the first python3 on PATH)"
        )


def _capsule() -> object:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule: object = new(ctypes.addressof(_TENSOR), _CAPSULE_NAME, None)
    return capsule
