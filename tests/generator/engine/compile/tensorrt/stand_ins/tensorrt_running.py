# ruff: noqa: A002 — the names of arguments are TensorRT's
"""Stands in for the half of TensorRT's bindings that runs plans; `tensorrt` brings it under its own name."""

from __future__ import annotations

import ctypes
import enum
import json
import os
import weakref
from typing import Any

import numpy as np
import onnx

__version__ = os.environ.get("STAND_IN_VERSION", "8.6.1")
MARK, HEADER_BYTES = b"ftrt", 28  # of a plan that says which TensorRT wrote it; those that are built here do not
_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8}

DataType = enum.IntEnum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64", start=0)
TensorIOMode = enum.IntEnum("TensorIOMode", "NONE INPUT OUTPUT", start=0)
TensorLocation = enum.IntEnum("TensorLocation", "DEVICE HOST", start=0)
LayerInformationFormat = enum.IntEnum("LayerInformationFormat", "ONELINE JSON", start=0)

_TYPES = {1: DataType.FLOAT, 2: DataType.UINT8, 3: DataType.INT8, 6: DataType.INT32, 7: DataType.INT64,
          9: DataType.BOOL, 10: DataType.HALF, 16: DataType.BF16}  # fmt: skip


class Logger:
    WARNING = 2
    INFO = 3

    def __init__(self, min_severity: int = 2) -> None:
        self.min_severity = min_severity


class IPluginRegistry:
    def load_library(self, plugin_path: str) -> object:
        return object()


class ITensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.dtype = _TYPES[value.type.tensor_type.elem_type]
        self.shape = tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim)
        self.is_shape_tensor = False
        self.range: tuple[float, float] | None = None

    def set_dynamic_range(self, min: float, max: float) -> bool:
        self.range = (min, max)
        return True


class IProfiler:
    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


class IOutputAllocator:
    pass


class Runtime:
    def __init__(self, logger: Logger) -> None:
        self.engine_host_code_allowed = False

    def get_plugin_registry(self) -> IPluginRegistry:
        return IPluginRegistry()

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            return ICudaEngine(serialized_engine) if serialized_engine.startswith(MARK) else None
        except Exception:  # noqa: BLE001
            return None


class ICudaEngine:
    def __init__(self, plan: bytes) -> None:
        self.plan = plan
        begins = HEADER_BYTES if plan[len(MARK) :].startswith(bytes(4)) else len(MARK)
        head, _, graph = plan[begins:].partition(b"\n")
        self._profiles = json.loads(head)["profiles"]
        self.graph = graph
        model = onnx.load_model_from_string(graph).graph
        # Static profiles where the graph has no dynamic axes.
        self._tensors = {v.name: (ITensor(v), TensorIOMode.INPUT) for v in model.input}
        self._tensors |= {v.name: (ITensor(v), TensorIOMode.OUTPUT) for v in model.output}
        self.nodes = [node.name or node.op_type for node in model.node]
        self.num_io_tensors = len(self._tensors)
        self.num_optimization_profiles = max(1, len(self._profiles))
        self.device_memory_size = 1000 * len(self.nodes)
        self.contexts = weakref.WeakSet[IExecutionContext]()
        self.made = 0

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._tensors[name][1]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._tensors[name][0].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name][0].shape

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        if not self._profiles:
            return [self.get_tensor_shape(name)] * 3
        return self._profiles[profile_index].get(name, [self.get_tensor_shape(name)] * 3)

    def serialize(self) -> bytes:
        return self.plan

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)


class EngineInspector:
    execution_context: IExecutionContext | None = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        context = self.execution_context
        shapes = {} if context is None else {"Shapes": {name: list(dims) for name, dims in context._shapes.items()}}
        return json.dumps({"Layers": self._engine.nodes, **shapes})


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        import onnxruntime

        # As seen with 8.6: the first context of an engine has the first profile, later ones have to be given one.
        self._engine, self._profile = engine, -1 if engine.made else 0
        engine.made += 1
        engine.contexts.add(self)
        self._session = onnxruntime.InferenceSession(engine.graph, providers=["CPUExecutionProvider"])
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self.profiler: Any = None
        self.enqueue_emits_profile = True

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if __version__.startswith("8") and any(
            other is not self and other._profile == profile_index for other in self._engine.contexts
        ):
            return False
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self._shapes[name] = tuple(shape)
        return fits

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """The open axes of an output are those of the inputs, unless its name says that the data decides."""
        shape = self._engine.get_tensor_shape(name)
        if shape[:1] != (-1,) or name.startswith("selected"):
            return shape
        given = next(iter(self._shapes.values()))
        return tuple(given[at] if axis == -1 else axis for at, axis in enumerate(shape))

    def get_max_output_size(self, name: str) -> int:
        """Enough for the places of every element of the inputs."""
        return 16 * sum(int(np.prod(shape)) for shape in self._shapes.values())

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._profile < 0:
            return False
        feeds = {}
        for name, shape in self._shapes.items():
            dtype = np.dtype(_NUMPY[self._engine.get_tensor_dtype(name).name])
            size = int(np.prod(shape)) * dtype.itemsize
            data = ctypes.string_at(self._addresses[name], size)
            feeds[name] = np.frombuffer(data, dtype).reshape(shape)
        names = [output.name for output in self._session.get_outputs()]
        for name, array in zip(names, self._session.run(names, feeds), strict=True):
            address = self._addresses.get(name, 0)
            if name in self._allocators:
                allocator = self._allocators[name]
                if __version__.startswith("8"):
                    address = allocator.reallocate_output(name, None, array.nbytes, 256)
                else:
                    address = allocator.reallocate_output_async(name, None, array.nbytes, 256, stream_handle)
                allocator.notify_shape(name, array.shape)
            data = np.ascontiguousarray(array)
            ctypes.memmove(address, data.ctypes.data, data.nbytes)
        if self.profiler is not None:
            for node in self._engine.nodes:
                self.profiler.report_layer_time(node, 0.5)
        return True
