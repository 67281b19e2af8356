"""The server's tensors as a batch takes them, wherever they lie, and answers as the server takes them, by DLPack.

Which requests have their tensors on the GPU is the server's to decide, one by one. It says that what it hands over is
there: its capsules know no streams. What goes back has been waited for, once for the whole batch, before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
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
        self._bf16 = direct.bf16

    def answers(
        self, requests: Sequence[Sequence[ServerTensor]], run: Callable[[list[Tensors]], list[Tensors | Failure]]
    ) -> list[Tensors | Failure]:  # fmt: skip
        """What `run` answers to the requests whose inputs can be used, and the failures of the others, in order.

        What the inputs lie in is held until then: nothing reads it any more once a batch was answered or has failed.
        """
        held: list[Borrowed] = []
        given: list[Tensors | Failure] = []
        try:
            for tensors in requests:
                given.append(self._of(tensors, held))
            return answered(given, run)
        finally:
            for lent in held:
                lent.close()

    def _of(self, tensors: Sequence[ServerTensor], held: list[Borrowed]) -> Tensors | Failure:
        """The inputs of one request, or why it has none that can be used."""
        found: Tensors = {}
        for tensor in tensors:
            name = tensor.name()
            try:
                if tensor.is_cpu() and name not in self._bf16:
                    found[name] = tensor.as_numpy()
                else:
                    found[name] = self._borrowed(name, tensor, held)
            except DLPackError as error:
                return failure(f"input {name!r} {error}", from_client=True)
            except Exception as error:  # noqa: BLE001 — the server's tensors raise what they like
                told = f"{type(error).__name__}: {error}".removesuffix(": ")
                return failure(f"input {name!r} could not be read: {told}", from_client=False)
        return found

    def _borrowed(self, name: str, tensor: ServerTensor, held: list[Borrowed]) -> Array:
        """An input of BF16, or OnDevice; DLPackError says what is wrong with it, to go behind its name."""
        if tensor.is_cpu():
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
        bfloat16 = name in self._bf16
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
