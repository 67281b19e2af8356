"""An ONNX file in ONNX Runtime, on the CPU or on a GPU, on buffers that are already there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.shapes import Fixed, Size, fixed
from tritonkit_runtime.device import Device
from tritonkit_runtime.engines.onnxruntime import mismatch
from tritonkit_runtime.parameters import ParameterError, TensorSpec

_BF16 = 16  # ONNX's number; numpy has no such type


class OnnxRuntime:
    """An ONNX file, checked against the declared tensors; a BufferedEngine.

    On a GPU each session has its own stream and its own copy of the weights, since a session is bound to a stream.
    It is not recorded: its library makes its own CUDA graphs, or none. `index` is the GPU's. Raises ParameterError
    for a file that cannot be loaded or has other tensors.
    """

    recordable = False

    def __init__(
        self, device: Device, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec],
        sizes: Sequence[int], *, batched: bool = True, threads: int = 1, index: int = 0,
        lengths: Sequence[int] = (),
    ) -> None:  # fmt: skip
        # Since 1.29 the library tells its maker about models and machine over the network, unless this is set first.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        self._ort, self._path, self._threads, self._index = onnxruntime, path, threads, index
        self._on_gpu = not device.unified
        self.batched, self.about = batched, f"the ONNX file {path.name}"
        self.inputs, self.outputs = (fixed(tensors, is_open=bool(lengths)) for tensors in (inputs, outputs))
        if self._on_gpu and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ParameterError(f"{self.about} cannot run on a GPU: the package onnxruntime-gpu is not installed")
        first = self._made(0)
        for kind, declared, nodes in (
            ("input", inputs, first.get_inputs()),
            ("output", outputs, first.get_outputs()),
        ):
            self._check(kind, declared, {node.name: node for node in nodes}, max(sizes))

    def _made(self, stream: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if self._on_gpu and stream:
            settings = {"device_id": str(self._index), "user_compute_stream": str(stream),
                        "cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0"}  # fmt: skip
            providers.insert(0, ("CUDAExecutionProvider", settings))
        try:
            return self._ort.InferenceSession(self._path, options, providers=providers)
        except Exception as error:  # the library's errors share no base class
            raise ParameterError(f"ONNX Runtime cannot load {self._path}: {error}") from error

    def _check(self, kind: str, declared: Sequence[TensorSpec], found: Mapping[str, Any], largest: int) -> None:
        if kind == "input" and (unfed := [name for name in found if name not in {t.name for t in declared}]):
            raise ParameterError(f"{self.about} has an input {unfed[0]!r} that is not declared")
        for tensor in declared:
            if tensor.name not in found:
                names = ", ".join(found)
                raise ParameterError(f"{self.about} has no {kind} {tensor.name!r}; its {kind}s are {names}")
            if problem := mismatch(tensor, found[tensor.name], largest if self.batched else 0):
                raise ParameterError(f"{kind} {tensor.name!r} of {self.about}: {problem}")

    def session(self, stream: int) -> OnnxSession:
        """A session that runs in this stream, and in no other."""
        return OnnxSession(self, self._made(stream), "cuda" if self._on_gpu else "cpu", self._index)

    def close(self) -> None:
        """Nothing: the sessions hold all of it."""


class OnnxSession:
    """One binding of all tensors for every size that is warm."""

    def __init__(self, owner: OnnxRuntime, session: Any, where: str, index: int) -> None:
        import onnxruntime

        self._owner, self._session, self._where, self._index = owner, session, where, index
        self._bindings: dict[Size, Any] = {}
        self._options = onnxruntime.RunOptions()
        # The ring waits for the stream itself, once a batch.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        """Binds all tensors and runs twice: the first run searches, the second allocates what it has found."""
        binding = self._session.io_binding()
        for tensors, bind in ((self._owner.inputs, binding.bind_input), (self._owner.outputs, binding.bind_output)):
            for tensor in tensors:
                shape = tensor.shape(size.items, self._owner.batched, size.length)
                bind(tensor.name, self._where, self._index, _element(tensor), shape, addresses[tensor.name])
        self._bindings[size] = binding
        for _ in range(2):
            self.run(size, stream)

    def run(self, size: Size, stream: int) -> None:  # noqa: ARG002 — the session has its stream
        """Runs the graph; BatchError with ONNX Runtime's own words when it refuses."""
        try:
            self._session.run_with_iobinding(self._bindings[size], self._options)
        except Exception as error:  # the library's errors share no base class
            raise BatchError(f"ONNX Runtime could not run {self._owner.about}: {error}") from error

    def shape(self, name: str) -> tuple[int, ...]:
        """None has a shape of its own: what is declared is what is bound."""
        raise KeyError(name)

    def close(self) -> None:
        """Frees bindings and session."""
        self._bindings.clear()
        self._session = None


def _element(tensor: Fixed) -> Any:
    return _BF16 if tensor.triton == "BF16" else tensor.dtype.type
