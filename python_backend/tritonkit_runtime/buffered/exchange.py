"""The server's tensors as a batch takes them, wherever they lie, and answers as the server takes them, by DLPack.

Which requests have their tensors on the GPU is the server's to decide, one by one. It says that what it hands over is
there: its capsules know no streams. What goes back has been waited for, once for the whole batch, before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.device.dlpack import CPU, CUDA, CUDA_MANAGED, Borrowed, DLPackError, Lent, borrow, settle
from tritonkit_runtime.dtypes import BUFFER_DTYPES
from tritonkit_runtime.execution import ON_HOST, Failure, answered, failure
from tritonkit_runtime.parameters import TensorSpec
from tritonkit_runtime.placed import OnDevice
from tritonkit_runtime.programs.direct import Direct


class ServerTensor(Protocol):
    """The part of `pb_utils.Tensor` that is needed here."""

    def name(self) -> str:
        """As the model calls it."""

    def is_cpu(self) -> bool:
        """Whether it lies in the host's memory."""

    def as_numpy(self) -> Array:
        """It, if it does and numpy knows its type."""

    def to_dlpack(self) -> object:
        """A capsule on its memory."""


class Exchange:
    """`inputs` are the model's declared ones, with the batch axis if `batched`; `gpu` is the instance's number."""

    def __init__(self, direct: Direct, inputs: Sequence[TensorSpec], *, batched: bool, gpu: int | None) -> None:
        self._direct, self._batched, self._gpu = direct, batched, gpu
        self._inputs = {tensor.name: tensor for tensor in inputs}

    def open(self, requests: Sequence[Sequence[ServerTensor]]) -> Taken:
        """The inputs of one execution's requests; what they lie in is held until the context ends."""
        return Taken(self, requests)

    def taken(self, tensor: ServerTensor, held: list[Borrowed]) -> Array:
        """One input, on the GPU as OnDevice; DLPackError says what is wrong with it, to go behind its name."""
        name = tensor.name()
        if tensor.is_cpu():
            if name not in self._direct.bf16:
                return tensor.as_numpy()
            with closing(borrow(tensor.to_dlpack())) as lent:
                return lent.array().copy()
        if name not in self._direct.inputs:
            raise DLPackError(ON_HOST)
        held.append(lent := borrow(tensor.to_dlpack()))
        return cast("Array", self._checked(lent, self._inputs[name]))

    def _checked(self, lent: Borrowed, declared: TensorSpec) -> OnDevice:
        if lent.device_type not in (CUDA, CUDA_MANAGED):
            raise DLPackError(f"lies in memory of DLPack's kind {lent.device_type}; valid are a GPU's and the host's")
        if lent.device_type == CUDA and lent.device_id != self._gpu:
            raise DLPackError(f"lies on GPU {lent.device_id}, and this instance runs on GPU {self._gpu}")
        item = lent.shape[1:] if self._batched else lent.shape
        dims = ["items", *declared.dims] if self._batched else list(declared.dims)
        if lent.dtype != BUFFER_DTYPES[declared.dtype] or item != declared.dims or len(lent.shape) != len(dims):
            expected = f"{declared.dtype} [{', '.join(map(str, dims))}]"
            raise DLPackError(f"is {lent.dtype} {list(lent.shape)}, expected {expected}")
        if not lent.pointer and lent.nbytes:
            raise DLPackError("has no memory behind it")
        return OnDevice(lent.pointer, lent.shape, lent.dtype, lent)

    def made(self, name: str, array: Array, tensor_class: Any) -> Any:
        """An output as the server takes it; what it lies in is not used again before the server has let go of it."""
        bfloat16 = name in self._direct.bf16
        if isinstance(array, OnDevice):
            lent = Lent(
                array.pointer, array.shape, array.dtype, array, device_id=self._gpu or 0, bfloat16=bfloat16
            )  # fmt: skip
        elif bfloat16:
            whole = np.require(array, requirements="C")
            lent = Lent(whole.ctypes.data, whole.shape, whole.dtype, whole, device_type=CPU, bfloat16=True)
        else:
            return tensor_class(name, array)
        # The capsule and not the object: with that the server waits for a stream of its own, tensor by tensor.
        capsule = lent.__dlpack__()
        try:
            return tensor_class.from_dlpack(name, capsule)
        finally:
            settle(capsule)


class Taken:
    """The requests' inputs, or why a request has none that can be used. A context manager."""

    def __init__(self, exchange: Exchange, requests: Sequence[Sequence[ServerTensor]]) -> None:
        self._held: list[Borrowed] = []
        try:
            self.given: list[Tensors | Failure] = [self._of(exchange, request) for request in requests]
        except BaseException:
            self._let_go()
            raise

    def _of(self, exchange: Exchange, request: Sequence[ServerTensor]) -> Tensors | Failure:
        found: Tensors = {}
        for tensor in request:
            try:
                found[tensor.name()] = exchange.taken(tensor, self._held)
            except DLPackError as error:
                return failure(f"input {tensor.name()!r} {error}", from_client=True)
            except Exception as error:  # noqa: BLE001 — the server's tensors raise what they like
                told = f"{type(error).__name__}: {error}".removesuffix(": ")
                return failure(f"input {tensor.name()!r} could not be read: {told}", from_client=False)
        return found

    def answers(self, run: Callable[[list[Tensors]], list[Tensors | Failure]]) -> list[Tensors | Failure]:
        """What `run` answers to those that can be used, and the failures of the others, in order."""
        return answered(self.given, run)

    def __enter__(self) -> Taken:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets go of what the inputs lie in: nothing reads it any more once a batch was answered or has failed."""
        self._let_go()

    def _let_go(self) -> None:
        for lent in self._held:
            lent.close()
        self._held.clear()
