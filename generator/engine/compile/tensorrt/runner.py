"""A plan that is loaded: run, timed on the device, and looked into layer by layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.compile.tensorrt.api import load
from generator.engine.compile.tensorrt.grown import Grown
from generator.engine.compile.tensorrt.network import load_plugins
from generator.engine.compile.tensorrt.tensors import as_given, as_stored, numpy_type
from generator.engine.errors import Finding, StageError
from generator.plan_header import read_header
from tritonkit_runtime.buffered.tensorrt_bindings import nearest_profile
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """An input or output: TensorRT's word for its type (FLOAT, INT32, …); -1 in the shape where it varies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool


class TensorRTRunner:
    """A plan (its bytes) on the first GPU; a Runner.

    The profile is the one whose usual shapes are nearest, among those that take the tensors, unless `profile` says
    which. Outputs whose shape depends on the data are allocated as TensorRT asks. bf16 comes and goes as float32.
    Raises StageError (TK950) where the plan or the GPU cannot be used, ValueError for tensors that do not fit.
    """

    def __init__(self, plan: bytes, *, profile: int | None = None, plugins: Sequence[str] = ()) -> None:
        self._trt = load()
        try:
            self._cuda = Cuda()
        except CudaError as error:
            raise StageError(Finding("TK950", f"no plan runs here: {error}", about="engine")) from error
        logger = self._trt.Logger(self._trt.Logger.WARNING)
        self._runtime = runtime = self._trt.Runtime(logger)
        load_plugins(self._trt, runtime, logger, plugins)
        runtime.engine_host_code_allowed = True  # a version-compatible plan brings its runtime along
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            message = f"TensorRT {self._trt.__version__} cannot load the plan: {_why_not(plan)}"
            raise StageError(Finding("TK950", message, "build it here", "engine"))
        self.tensors = tuple(self._describe(index) for index in range(self._engine.num_io_tensors))
        self.profiles = int(self._engine.num_optimization_profiles)
        # Of one execution context, whatever its profile. The first is TensorRT's word for it since 10.
        names = ("device_memory_size_v2", "device_memory_size")
        said = next((size for name in names if (size := getattr(self._engine, name, None)) is not None), None)
        self.activation_bytes = None if said is None else int(said)
        self._profile = profile
        self._stream = self._cuda.stream()
        self._contexts: dict[int, Any] = {}
        self._buffers: dict[str, tuple[int, int]] = {}
        self._grown: dict[str, Grown] = {}

    def _describe(self, index: int) -> Tensor:
        engine, trt = self._engine, self._trt
        name = str(engine.get_tensor_name(index))
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise StageError(Finding("TK952", f"the input {name!r} decides shapes by its values", about="engine"))
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        return Tensor(name, engine.get_tensor_dtype(name).name, tuple(engine.get_tensor_shape(name)), is_input)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs for one batch of all inputs; types are the plan's (INT64 of the graph may come as int32)."""
        context, outputs, kept = self._prepare(tensors)
        self._enqueue(context)
        answers = {}
        for name, place in outputs.items():
            tensor = self._tensor(name)
            grown = isinstance(place, Grown)
            array = _empty(place.shape if grown else place, tensor.dtype)
            pointer = place.pointer if grown else self._buffers[name][0]
            self._cuda.to_host(array, pointer, self._stream)
            answers[name] = array
        self._cuda.wait(self._stream)
        del kept
        return {name: as_given(array, self._tensor(name).dtype) for name, array in answers.items()}

    def ranges(self, name: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The least and the greatest shape of an input, profile by profile."""
        fixed = self._tensor(name).shape
        if -1 not in fixed:
            return [(fixed, fixed)] * self.profiles
        ends = [self._engine.get_tensor_profile_shape(name, profile) for profile in range(self.profiles)]
        return [(tuple(low), tuple(high)) for low, _, high in ends]

    def time_us(
        self, tensors: Mapping[str, Array], runs: int, *, warm_up: int = 10, graph: bool = False
    ) -> list[float]:
        """Microseconds of each of `runs` on the device, between two events; copies to and fro are not in them.

        `graph` launches a recording (a CUDA graph), as a server with graphs does. Raises CudaError where it cannot.
        """
        context, _, kept = self._prepare(tensors)
        for _ in range(max(1, warm_up)):
            self._enqueue(context)
        self._cuda.wait(self._stream)
        recording = self._record(context) if graph else 0
        events = [(self._cuda.event(), self._cuda.event()) for _ in range(runs)]
        try:
            for start, end in events:
                self._cuda.record(start, self._stream)
                if recording:
                    self._cuda.launch(recording, self._stream)
                else:
                    self._enqueue(context)
                self._cuda.record(end, self._stream)
            self._cuda.wait(self._stream)
            return [self._cuda.between_us(start, end) for start, end in events]
        finally:
            del kept
            for event in (event for pair in events for event in pair):
                self._cuda.free_event(event)
            if recording:
                self._cuda.free_graph(recording)

    def _record(self, context: Any) -> int:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(context)
        finally:
            recording = self._cuda.end_capture(self._stream)
        return recording

    def layers(self, tensors: Mapping[str, Array], runs: int = 20) -> list[tuple[str, float]]:
        """Name and mean milliseconds of every layer of the plan, in order; the profiler itself slows them down."""
        trt, sums = self._trt, dict[str, float]()

        class Times(trt.IProfiler):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                sums[layer_name] = sums.get(layer_name, 0.0) + ms

        context, _, kept = self._prepare(tensors)
        self._enqueue(context)
        self._cuda.wait(self._stream)
        times = Times()
        context.enqueue_emits_profile = True
        context.profiler = times
        for _ in range(runs):
            self._enqueue(context)
            self._cuda.wait(self._stream)
        del kept
        self._contexts.clear()  # the profiler stays with its context
        return [(name, total / runs) for name, total in sums.items()]

    def information(self, tensors: Mapping[str, Array] | None = None) -> Any:
        """What TensorRT's inspector says of the plan: its layers and tensors, as JSON.

        With `tensors` also the types and layouts inside, which it does not tell of dynamic shapes otherwise.
        """
        inspector = self._engine.create_engine_inspector()
        if tensors is not None:
            inspector.execution_context, _, kept = self._prepare(tensors)
            self._cuda.wait(self._stream)
            del kept
        return json.loads(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def serialised(self) -> bytes:
        """The plan again, from the loaded engine."""
        return bytes(self._engine.serialize())

    def close(self) -> None:
        """Frees the engine and its memory on the device."""
        self._cuda.wait(self._stream)
        self._contexts.clear()
        for pointer, _ in self._buffers.values():
            self._cuda.free(pointer)
        self._buffers.clear()
        for grown in self._grown.values():
            grown.free()
        self._grown.clear()
        self._engine = None
        self._cuda.free_stream(self._stream)

    def _tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream):
            raise RuntimeError("TensorRT could not run the plan; its log says why")

    def _prepare(self, tensors: Mapping[str, Array]) -> tuple[Any, dict[str, Any], list[Array]]:
        """A context with all addresses set; output → its shape or a growing buffer; arrays that must live on."""
        inputs = [tensor for tensor in self.tensors if tensor.is_input]
        if set(tensors) != {tensor.name for tensor in inputs}:
            raise ValueError(f"the plan takes {', '.join(t.name for t in inputs)}; given: {', '.join(tensors)}")
        context = self._context(self._choose({name: array.shape for name, array in tensors.items()}))
        kept = []
        for tensor in inputs:
            array = as_stored(tensors[tensor.name], tensor.dtype, tensor.name)
            kept.append(array)
            pointer = self._buffer(tensor.name, array.nbytes)
            self._cuda.to_device(pointer, array, self._stream)
            if not context.set_input_shape(tensor.name, array.shape):
                raise ValueError(f"{tensor.name!r} of shape {list(array.shape)} fits no profile of the plan")
            context.set_tensor_address(tensor.name, pointer)
        outputs: dict[str, Any] = {}
        for tensor in self.tensors:
            if not tensor.is_input:
                outputs[tensor.name] = self._output(context, tensor)
        return context, outputs, kept

    def _output(self, context: Any, tensor: Tensor) -> Any:
        shape = tuple(context.get_tensor_shape(tensor.name))
        if -1 in shape:
            grown = self._grown.setdefault(tensor.name, Grown(self._trt, self._cuda))
            context.set_output_allocator(tensor.name, grown.allocator)
            return grown
        size = _empty((), tensor.dtype).itemsize
        for dim in shape:
            size *= dim
        context.set_tensor_address(tensor.name, self._buffer(tensor.name, size))
        return shape

    def _choose(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        if self._profile is not None:
            return self._profile
        profile = nearest_profile(self._engine, shapes)
        if profile is None:
            raise ValueError(f"no profile of the plan takes { ({name: list(s) for name, s in shapes.items()}) }")
        return profile

    def _context(self, profile: int) -> Any:
        context = self._contexts.get(profile)
        if context is None:
            context = self._engine.create_execution_context()
            if context is None:
                raise RuntimeError("TensorRT made no execution context: the GPU's memory does not suffice")
            # Only the first context of an engine has a profile by itself, and `layers` throws contexts away.
            context.set_optimization_profile_async(profile, self._stream)
            self._cuda.wait(self._stream)
            self._contexts[profile] = context
        return context

    def _buffer(self, name: str, size_bytes: int) -> int:
        pointer, held = self._buffers.get(name, (0, -1))
        if held < size_bytes:
            if pointer:
                self._cuda.wait(self._stream)
                self._cuda.free(pointer)
            pointer = self._cuda.allocate(size_bytes)
            self._buffers[name] = (pointer, size_bytes)
        return pointer


@contextmanager
def loaded(plan: bytes, **options: Any) -> Iterator[TensorRTRunner]:
    """A TensorRTRunner that is closed at the end."""
    runner = TensorRTRunner(plan, **options)
    try:
        yield runner
    finally:
        runner.close()


def _empty(shape: Sequence[int], dtype: str) -> Array:
    import numpy as np

    return np.empty(tuple(shape), numpy_type(dtype))


def _why_not(plan: bytes) -> str:
    """What is wrong with a plan that was refused, as far as its header tells."""
    header = read_header(plan)
    if not header.is_plan:
        return f"it {header.problem}"
    if header.size_bytes != len(plan):
        return f"it is damaged: {len(plan):,} bytes are here, and its header says {header.size_bytes:,}"
    version = ".".join(map(str, header.version or ()))
    return f"TensorRT {version} made it; another version, another kind of GPU, or it is damaged"
