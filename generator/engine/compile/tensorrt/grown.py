"""Where an output goes whose size depends on the data, so that only TensorRT knows it."""

from __future__ import annotations

from typing import Any

from tritonkit_runtime.device.cuda import Cuda


class Grown:
    """Device memory that TensorRT asks for while it runs: `pointer`, and the `shape` that the output had last."""

    def __init__(self, trt: Any, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held_bytes = -1
        self.pointer = 0
        self.shape: tuple[int, ...] = ()
        self.allocator = _allocator(trt, self)

    def reallocate(self, size_bytes: int) -> int:
        """At least so much memory; what was there is lost."""
        if self._held_bytes < size_bytes:
            self.free()
            self.pointer, self._held_bytes = self._cuda.allocate(size_bytes), size_bytes
        return self.pointer

    def free(self) -> None:
        """Gives the memory back."""
        if self.pointer:
            self._cuda.free(self.pointer)
        self.pointer, self._held_bytes = 0, -1


def _allocator(trt: Any, grown: Grown) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        # 8.6 calls the first, 10 and 11 the second.
        def reallocate_output(self, tensor_name: str, memory: Any, size: int, alignment: int) -> int:  # noqa: ARG002
            return grown.reallocate(size)

        def reallocate_output_async(
            self, tensor_name: str, memory: Any, size: int, alignment: int, stream: Any  # noqa: ARG002
        ) -> int:  # fmt: skip
            return grown.reallocate(size)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:  # noqa: ARG002
            grown.shape = tuple(shape)

    return Allocator()
