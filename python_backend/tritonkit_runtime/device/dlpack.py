"""Memory that someone else owns, handed over by DLPack without a copy, and memory that is handed on.

numpy reads capsules of host memory alone and knows no BF16, and the server's environment need have nothing else that
reads them. A capsule says where the numbers are and not when they are there: whoever lends device memory has waited
for what wrote it. Layout of the structures: DLPack 0.8 (dlpack.h).
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""Kinds of memory (DLDeviceType). CUDA_HOST is page-locked, CUDA_MANAGED moves by itself."""
_NAME, _USED = b"dltensor", b"used_dltensor"
_INT, _UINT, _FLOAT, _BFLOAT, _BOOL = 0, 1, 2, 4, 6
_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    **{(_INT, bits): np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{(_UINT, bits): np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{(_FLOAT, bits): np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    (_BFLOAT, 16): np.dtype(np.uint16),  # held as its bits, as in buffers
    (_BOOL, 8): np.dtype(np.bool_),
}
_CODES = {"i": _INT, "u": _UINT, "f": _FLOAT, "b": _BOOL}


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor, flattened."""

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
        ("deleter", ctypes.c_void_p),
    )


# Prototypes of our own: those at `ctypes.pythonapi` are everybody's, and others may have set them otherwise. A
# capsule is passed as its address, since its destructor sees one that must not be counted again.
def _python(name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_new = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_is = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_set_destructor = _python("PyCapsule_SetDestructor", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_rename = _python("PyCapsule_SetName", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
# An owner's deleter may touch Python's objects (the server's does): it is called with the interpreter's lock held,
# which CFUNCTYPE would give away. Ours may be called without it, and takes it.
_Calls = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_Called = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class DLPackError(ValueError):
    """A capsule that cannot be used: what it has and what is valid, to go behind its name in a sentence."""


class Borrowed:
    """A tensor in memory that its owner keeps until `close`.

    `pointer` is where its first number lies; numbers follow each other without gaps in C order. `dtype`: BF16 is held
    as uint16. `device_type` and `device_id` say which memory it is (DLPack's numbers).
    """

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        tensor = ManagedTensor.from_address(address)
        self.pointer = int(tensor.data or 0) + int(tensor.byte_offset)
        self.shape, self.dtype = shape, dtype
        self.device_type, self.device_id = int(tensor.device_type), int(tensor.device_id)
        self._address, self._deleter = address, tensor.deleter

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def on_host(self) -> bool:
        """Whether the host can read it as it is."""
        return self.device_type in (CPU, CUDA_HOST)

    def array(self) -> np.ndarray[Any, Any]:
        """Host memory as an array, which lasts until `close`."""
        block = (ctypes.c_ubyte * self.nbytes).from_address(self.pointer)
        found: np.ndarray[Any, Any] = np.ctypeslib.as_array(block).view(self.dtype).reshape(self.shape)
        return found

    def close(self) -> None:
        """Tells the owner that nobody reads it any more; once."""
        deleter, self._deleter = self._deleter, None
        if deleter:
            _Calls(deleter)(self._address)


def borrow(capsule: object) -> Borrowed:
    """What a capsule holds; it is used up. DLPackError for numbers of another kind or with gaps between them.

    A capsule that is refused is not used up: its owner frees it with the capsule.
    """
    if not _is(id(capsule), _NAME):
        raise DLPackError("is no unused DLPack capsule: each may be read once")
    address = int(_pointer(id(capsule), _NAME))
    tensor = ManagedTensor.from_address(address)
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    dtype = _DTYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise DLPackError(
            f"has numbers of DLPack's kind {tensor.code} with {tensor.bits} bits and {tensor.lanes} lanes; valid are "
            "whole numbers, floats, BF16 and truth values"
        )
    strides = [tensor.strides[axis] for axis in range(tensor.ndim)] if tensor.strides else None
    if strides is not None and not _dense(shape, strides):
        raise DLPackError(f"is {list(shape)} with strides {strides}: it has gaps, or another order than C's; copy it")
    _rename(id(capsule), _USED)
    return Borrowed(address, shape, dtype)


def _dense(shape: tuple[int, ...], strides: list[int]) -> bool:
    """Whether numbers follow each other in C order; the stride of an axis of one step counts for nothing."""
    if 0 in shape:
        return True
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


# What is lent and not given back: the structure, its lengths, and the owner of the memory.
_lent: dict[int, tuple[ManagedTensor, Any, object]] = {}


def _given_back(address: int) -> None:
    _lent.pop(address, None)


def _dropped(capsule: int) -> None:
    """A capsule has gone; one that nobody has read gives back what it held.

    A consumer in C that has raised an exception lets go of its arguments while that is on its way. The first call
    from here raises it then, and nothing that ctypes calls can put it back: it is printed. `settle` avoids that.
    """
    try:
        unread = _is(capsule, _NAME)
    except BaseException:
        _dropped(capsule)
        raise
    if unread:
        _given_back(int(_pointer(capsule, _NAME)))


def settle(capsule: object) -> None:
    """To be called when a consumer has had a capsule of ours: what it did not take is given back, and what it took is
    between it and the owner, however it calls the capsule.
    """
    _set_destructor(id(capsule), None)
    if _is(id(capsule), _NAME):
        _rename(id(capsule), _USED)
        _given_back(int(_pointer(id(capsule), _USED)))


# They live as long as the process: a consumer calls them when it likes.
_deleter, _destructor = _Called(_given_back), _Called(_dropped)


class Lent:
    """Device or host memory as an object that DLPack's consumers take; `owner` lives as long as they read.

    `bfloat16`: the numbers are BF16, which numpy calls uint16. C order. A consumer that names a stream gets no
    synchronisation: whoever lends memory has waited for what wrote it.
    """

    def __init__(
        self, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: object, *,
        device_type: int = CUDA, device_id: int = 0, bfloat16: bool = False,
    ) -> None:  # fmt: skip
        code = _BFLOAT if bfloat16 else _CODES[dtype.kind]
        self._device = device_type, device_id
        self._facts = pointer, shape, code, dtype.itemsize * 8
        self._owner = owner

    def __dlpack_device__(self) -> tuple[int, int]:
        """Which memory it is."""
        return self._device

    def __dlpack__(self, stream: object = None) -> object:
        """A new capsule on the same memory."""
        pointer, shape, code, bits = self._facts
        lengths = (ctypes.c_int64 * max(1, len(shape)))(*shape)
        free = ctypes.cast(_deleter, ctypes.c_void_p)
        tensor = ManagedTensor(pointer, *self._device, len(shape), code, bits, 1, lengths, None, 0, None, free)
        address = ctypes.addressof(tensor)
        _lent[address] = tensor, lengths, self._owner
        return _new(address, _NAME, ctypes.cast(_destructor, ctypes.c_void_p))


def lent() -> int:
    """How many capsules are out that nobody has given back."""
    return len(_lent)
