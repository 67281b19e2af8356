"""A TensorRT plan (8.6, 10 and 11) on buffers that are already there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.shapes import Fixed, Size, fixed, sizes_of
from tritonkit_runtime.buffered.tensorrt_bindings import PLAN_TAG, is_hopeless, load, made_by, nearest_profile
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OutOfMemoryError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

# TensorRT's words for element types -> Triton's.
_DTYPES: Mapping[str, str] = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "BF16": "BF16",
    "INT8": "INT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "BOOL": "BOOL",
    "UINT8": "UINT8",
}


class TensorRT:
    """A plan on one GPU, checked against the declared tensors; a BufferedEngine.

    `sizes`: the sizes of batch that it will run, each in all `lengths` of its open axis; each must fit one of its
    profiles. Raises ParameterError for a file
    that is no plan, was made by another TensorRT or for another GPU, or has other tensors than are declared.
    """

    def __init__(
        self, device: Device, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec],
        sizes: Sequence[int], *, batched: bool = True, lengths: Sequence[int] = (),
    ) -> None:  # fmt: skip
        try:
            self._trt = trt = load()
        except ImportError as error:
            raise ParameterError(f"the plan {path.name} needs TensorRT: {error}") from error
        self._path, self._lent = path, False
        self.about, self.batched, self._device = f"the plan {path.name}", batched, device
        plan = path.read_bytes()
        if is_hopeless(made_by(plan), str(trt.__version__)):
            raise ParameterError(_unloadable(path, plan, str(trt.__version__), device))
        device.use()
        self._logger = trt.Logger(trt.Logger.WARNING)  # TensorRT keeps no hold of it
        self._runtime = runtime = trt.Runtime(self._logger)
        trt.init_libnvinfer_plugins(self._logger, "")
        runtime.engine_host_code_allowed = True  # a version-compatible plan brings its runtime along
        self.engine: Any = runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise ParameterError(_unloadable(path, plan, str(trt.__version__), device))
        self._names = [str(self.engine.get_tensor_name(index)) for index in range(self.engine.num_io_tensors)]
        self._check("input", inputs)
        self._check("output", outputs)
        self.inputs = fixed(inputs, is_open=bool(lengths))
        all_sizes = sizes_of(sizes, lengths)
        self.profiles = {size: self._profile(size) for size in all_sizes}
        self.outputs = fixed(outputs, self._most(outputs, all_sizes[-1]), is_open=bool(lengths))
        self.recordable = all(tensor.most_bytes is None for tensor in self.outputs)

    def _check(self, word: str, declared: Sequence[TensorSpec]) -> None:
        engine, trt = self.engine, self._trt
        mode = {"input": trt.TensorIOMode.INPUT, "output": trt.TensorIOMode.OUTPUT}[word]
        found = [name for name in self._names if engine.get_tensor_mode(name) == mode]
        if unknown := [tensor.name for tensor in declared if tensor.name not in found]:
            raise ParameterError(f"{self.about} has no {word} {unknown[0]!r}; its {word}s are {', '.join(found)}")
        if unbound := [name for name in found if name not in {tensor.name for tensor in declared}]:
            raise ParameterError(
                f"{self.about} has an {word} {unbound[0]!r} that is not declared: a plan runs with all of its tensors"
            )
        for tensor in declared:
            if engine.get_tensor_location(tensor.name) == trt.TensorLocation.HOST:
                raise ParameterError(f"{word} {tensor.name!r} of {self.about} decides shapes by its values")
            dtype = engine.get_tensor_dtype(tensor.name).name
            shape = list(engine.get_tensor_shape(tensor.name))
            expected = [-1, *tensor.dims] if self.batched else list(tensor.dims)
            if (known := _DTYPES.get(dtype, dtype)) != tensor.dtype:
                raise ParameterError(f"{word} {tensor.name!r} of {self.about} is {known}, declared is {tensor.dtype}")
            if len(shape) != len(expected) or any(
                -1 not in (is_, wanted) and is_ != wanted for is_, wanted in zip(shape, expected, strict=True)
            ):
                raise ParameterError(f"{word} {tensor.name!r} of {self.about} is {shape}, declared is {expected}")

    def _profile(self, size: Size) -> int:
        shapes = {t.name: t.shape(size.items, self.batched, size.length) for t in self.inputs}
        profile = nearest_profile(self.engine, shapes)
        if profile is None:
            ranges = "; ".join(self._ranges(name) for name in shapes)
            raise ParameterError(
                f"no profile of {self.about} takes a batch of {size}: {ranges}; build it for this size, or leave the "
                "bucket out"
            )
        return profile

    def _ranges(self, name: str) -> str:
        count = int(self.engine.num_optimization_profiles)
        spans = [self.engine.get_tensor_profile_shape(name, index) for index in range(count)]
        told = " or ".join(f"{list(low)} to {list(high)}" for low, _, high in spans)
        return f"{name} may be {told}"

    def _most(self, outputs: Sequence[TensorSpec], size: Size) -> dict[str, int]:
        """Outputs whose shape depends on the data -> what they can need for a batch of `size`."""
        context = self.context(self.engine, size)
        found = {}
        for tensor in outputs:
            if -1 in tuple(context.get_tensor_shape(tensor.name)):
                found[tensor.name] = int(context.get_max_output_size(tensor.name))
        return found

    def check_outputs(self, context: Any, size: Size) -> None:
        """ParameterError unless what a context that is set to a batch of `size` will write is what buffers hold."""
        for tensor in self.outputs:
            if tensor.most_bytes is not None:
                continue
            shape = tuple(context.get_tensor_shape(tensor.name))
            if shape != (wanted := tensor.shape(size.items, self.batched, size.length)):
                raise ParameterError(
                    f"output {tensor.name!r} of {self.about} is {list(shape)} for a batch of {size}, and its buffer "
                    f"{list(wanted)}: an axis of any length (-1) must be as long as that of the inputs"
                )

    def context(self, engine: Any, size: Size) -> Any:
        """An execution context of an engine, set to a batch of `size`. Raises OutOfMemoryError."""
        context, profile = engine.create_execution_context(), self.profiles[size]
        if context is None:
            raise self._no_room("an execution context")
        # Only the first context of an engine has a profile by itself, and that one has the first.
        stream = self._device.stream()
        try:
            if not context.set_optimization_profile_async(profile, stream):
                raise ParameterError(f"TensorRT does not lend profile {profile} of {self.about}; its log says why")
            self._device.wait(stream)
        finally:
            self._device.free_stream(stream)
        self.reshape(context, size)
        return context

    def engine_of_a_session(self) -> Any:
        """The engine, or another of the same plan: before 10, TensorRT lends a profile to one context at a time."""
        if not self._lent or int(str(self._trt.__version__).split(".", maxsplit=1)[0]) >= 10:
            self._lent = True
            return self.engine
        engine = self._runtime.deserialize_cuda_engine(self._path.read_bytes())
        if engine is None:
            raise self._no_room("one more copy of the weights")
        return engine

    def _no_room(self, what: str) -> OutOfMemoryError:
        free, total = self._device.memory()
        return OutOfMemoryError(
            f"there is no room for {what} of {self.about}: {free:,} of the GPU's {total:,} bytes are free, and "
            "TensorRT's log says what it takes; fewer slots or a smaller largest batch need less"
        )

    def reshape(self, context: Any, size: Size) -> None:
        """Sets a context of the right profile to another size of batch."""
        for tensor in self.inputs:
            shape = tensor.shape(size.items, self.batched, size.length)
            if not context.set_input_shape(tensor.name, shape):
                raise ParameterError(f"{self.about} takes no {tensor.name!r} of shape {list(shape)}")

    def session(self, stream: int) -> TensorRTSession:  # noqa: ARG002 — a plan runs in the stream of each call
        """Execution contexts of its own, one for each profile that is needed."""
        return TensorRTSession(self._trt, self)

    def close(self) -> None:
        """Frees the engine."""
        self.engine = None
        self._runtime = None


class TensorRTSession:
    """Contexts by profile; TensorRT keeps addresses and shapes in them."""

    def __init__(self, trt: Any, owner: TensorRT) -> None:
        self._trt, self._owner = trt, owner
        self._engine = owner.engine_of_a_session()
        self._contexts: dict[int, Any] = {}
        self._set: dict[int, Size] = {}
        self._places: dict[str, Any] = {}

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        """Makes the context of the size's profile, tells it where the tensors are, and runs it once."""
        owner, profile = self._owner, self._owner.profiles[size]
        if profile not in self._contexts:
            self._contexts[profile] = context = owner.context(self._engine, size)
            self._set[profile] = size
            for tensor in (*owner.inputs, *owner.outputs):
                self._bind(context, tensor, addresses[tensor.name])
        if self._set[profile] != size:
            owner.reshape(self._contexts[profile], size)
            self._set[profile] = size
        owner.check_outputs(self._contexts[profile], size)
        self.run(size, stream)

    def _bind(self, context: Any, tensor: Fixed, address: int) -> None:
        if tensor.most_bytes is None:
            context.set_tensor_address(tensor.name, address)
            return
        place = self._places.setdefault(tensor.name, _place(self._trt, address, tensor.most_bytes))
        context.set_output_allocator(tensor.name, place)

    def run(self, size: Size, stream: int) -> None:
        """Enqueues the plan; BatchError when TensorRT refuses."""
        profile = self._owner.profiles[size]
        context = self._contexts[profile]
        if self._set[profile] != size:
            self._owner.reshape(context, size)
            self._set[profile] = size
        if not context.execute_async_v3(stream):
            raise BatchError(f"TensorRT could not run {self._owner.about}; its log says why")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that TensorRT told last."""
        found: tuple[int, ...] = self._places[name].shape
        return found

    def close(self) -> None:
        """Frees the contexts."""
        self._contexts.clear()
        self._places.clear()
        self._engine = None


def _place(trt: Any, address: int, held_bytes: int) -> Any:
    """Hands TensorRT the buffer that an output has, and remembers the shape that it tells."""

    class Place(trt.IOutputAllocator):  # type: ignore[misc]
        shape: tuple[int, ...] = ()

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        # 8.6 calls the first, 10 and 11 the second. No memory (0) makes the run fail, which is told.
        def reallocate_output(self, tensor_name: str, memory: Any, size: int, alignment: int) -> int:  # noqa: ARG002
            return address if size <= held_bytes else 0

        def reallocate_output_async(
            self, tensor_name: str, memory: Any, size: int, alignment: int, stream: Any  # noqa: ARG002
        ) -> int:  # fmt: skip
            return address if size <= held_bytes else 0

        def notify_shape(self, tensor_name: str, shape: Any) -> None:  # noqa: ARG002
            self.shape = tuple(shape)

    return Place()


def _unloadable(path: Path, plan: bytes, version: str, device: Device) -> str:
    """Why a plan could not be loaded, as far as its first bytes tell."""
    if plan[: len(PLAN_TAG)] != PLAN_TAG:
        return f"{path.name} is no TensorRT plan: build or render the model again"
    facts = device.facts()
    here = f"{facts['gpu']}, compute capability {facts.get('compute_capability', 'unknown')}"
    made = ".".join(map(str, made_by(plan)))
    if made and made != ".".join(version.split(".")[:3]):
        return f"{path.name} was made by TensorRT {made}, and here is {version} ({here}): build it again for this one"
    free, total = device.memory()
    if free < len(plan):
        return f"there is no room for {path.name} of {len(plan):,} bytes: {free:,} of the GPU's {total:,} are free"
    return (
        f"TensorRT {version} cannot load {path.name} on this GPU ({here}): another kind of GPU made it, or the file "
        "is damaged; build it again here"
    )
