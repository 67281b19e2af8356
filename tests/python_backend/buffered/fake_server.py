"""The server's side of the exchange: its module, and tensors on a fake device that are poisoned when it lets go."""

from __future__ import annotations

import ctypes
import importlib
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_device import FakeDevice

from tritonkit_runtime.device.dlpack import CPU, CUDA, Borrowed, Lent, borrow

Array = np.ndarray[Any, Any]


class Memory:
    """A block of the device that is freed, and so poisoned, when nobody holds it any more."""

    def __init__(self, device: FakeDevice, array: Array) -> None:
        self._device, self.pointer = device, device.allocate(array.nbytes)
        ctypes.memmove(self.pointer, array.ctypes.data, array.nbytes)

    def __del__(self) -> None:
        self._device._drop(self.pointer)  # the server's own: a context that is lost does not touch it


class Given:
    """An input: `array` as it is on the host, or in memory of its own on a device."""

    def __init__(self, name: str, array: Array, device: FakeDevice | None = None, *, bfloat16: bool = False,
                 device_id: int = 0, kind: int = CUDA) -> None:  # fmt: skip
        self._name, self._array, self._bfloat16 = name, np.array(array, order="C"), bfloat16
        self._memory = None if device is None else Memory(device, self._array)
        self._place = kind, device_id

    def name(self) -> str:
        return self._name

    def is_cpu(self) -> bool:
        return self._memory is None

    def as_numpy(self) -> Array:
        assert self._memory is None, "a tensor on a GPU is no array"
        assert not self._bfloat16, "Tensor dtype is BF16 and cannot be converted to NumPy"
        return self._array

    def to_dlpack(self) -> object:
        memory, array = self._memory, self._array
        pointer, owner = (array.ctypes.data, array) if memory is None else (memory.pointer, memory)
        kind, number = (CPU, 0) if memory is None else self._place
        lent = Lent(pointer, array.shape, array.dtype, owner, device_type=kind, device_id=number,
                    bfloat16=self._bfloat16)  # fmt: skip
        return lent.__dlpack__()


@dataclass
class Answer:
    """An output, as `pb_utils.Tensor`: an array, or memory that is held until `let_go`."""

    name: str
    array: Array | None
    lent: Borrowed | None = None

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Answer:
        return Answer(name, None, borrow(capsule))

    def read(self) -> Array:
        """What is in it now; a fake device's memory can be read by anybody."""
        if self.lent is None:
            assert self.array is not None
            return self.array
        return self.lent.array().copy()

    def let_go(self) -> None:
        """As the server does once it has sent it."""
        if self.lent is not None:
            self.lent.close()


@dataclass
class TritonError:
    message: str
    code: int
    INVALID_ARG = 3
    INTERNAL = 1


class TritonModelException(Exception):  # noqa: N818 — the server's name
    pass


class ServerTensor:
    """`pb_utils.Tensor` of outputs, and for the check of numpy."""

    def __new__(cls, name: str, array: Array) -> Any:
        return Answer(name, array)

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Any:
        if name == "check":
            return type("Checked", (), {"as_numpy": staticmethod(lambda: np.array([11, 22, 33, 44]))})
        return Answer.from_dlpack(name, capsule)


@dataclass
class Response:
    output_tensors: list[Answer] = field(default_factory=list)
    error: TritonError | None = None


@dataclass
class Request:
    tensors: list[Given]
    wanted: tuple[str, ...] = ("y", "total", "half")

    def inputs(self) -> list[Given]:
        return self.tensors

    def requested_output_names(self) -> set[str]:
        return set(self.wanted)


def installed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter, with this server's module in place of the real one; whoever asks for it removes it in the end."""
    server = ModuleType("triton_python_backend_utils")
    for name, value in {
        "Tensor": ServerTensor, "TritonError": TritonError, "TritonModelException": TritonModelException,
        "InferenceResponse": Response,
        "Logger": type("Logger", (), {"log_error": staticmethod(lambda line: None)}),
    }.items():  # fmt: skip
        setattr(server, name, value)
    monkeypatch.setitem(sys.modules, server.__name__, server)
    return importlib.import_module("tritonkit_runtime.adapter")
