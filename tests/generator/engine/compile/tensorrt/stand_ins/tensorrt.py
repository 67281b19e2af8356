# ruff: noqa: A002 — the names of arguments are TensorRT's
"""Stands in for TensorRT's bindings: what generator.engine.compile.tensorrt calls, answered by ONNX Runtime.

STAND_IN_VERSION says which TensorRT it is; names that this version lacks are taken away, by the table that the code
is held to. STAND_IN_BUILD says how a build ends: `plan` (as it should), `none`, `no resource`, `crash` or `hang`.
A plan is the mark that real plans begin with, a line of JSON, and the graph.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import sys
import time
from typing import Any

import onnx
from tensorrt_running import (
    MARK,
    DataType,
    EngineInspector,
    ICudaEngine,
    IExecutionContext,
    IOutputAllocator,
    IPluginRegistry,
    IProfiler,
    ITensor,
    LayerInformationFormat,
    Logger,
    Runtime,
    TensorIOMode,
    TensorLocation,
    __version__,
)

__all__ = [
    "DataType", "EngineInspector", "ICudaEngine", "IExecutionContext", "IOutputAllocator", "IPluginRegistry",
    "IProfiler", "ITensor", "LayerInformationFormat", "Logger", "Runtime", "TensorIOMode", "TensorLocation",
    "__version__",
]  # fmt: skip

_BUILD = os.environ.get("STAND_IN_BUILD", "plan")

BuilderFlag = enum.IntEnum("BuilderFlag", "FP16 INT8 TF32 REFIT VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME", start=0)
NetworkDefinitionCreationFlag = enum.IntEnum(
    "NetworkDefinitionCreationFlag", "EXPLICIT_BATCH STRONGLY_TYPED", start=0
)
HardwareCompatibilityLevel = enum.IntEnum(
    "HardwareCompatibilityLevel", "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY", start=0
)
TacticSource = enum.IntEnum("TacticSource", "CUBLAS CUBLAS_LT CUDNN EDGE_MASK_CONVOLUTIONS JIT_CONVOLUTIONS", start=0)
MemoryPoolType = enum.IntEnum("MemoryPoolType", "WORKSPACE", start=0)
ProfilingVerbosity = enum.IntEnum("ProfilingVerbosity", "LAYER_NAMES_ONLY DETAILED", start=0)
LayerType = enum.IntEnum("LayerType", "OTHER QUANTIZE DEQUANTIZE", start=0)


_PLUGINS: set[str] = set()


def init_libnvinfer_plugins(logger: Logger, namespace: str) -> bool:
    """The parser and the runtime know TensorRT's own plugins from here on."""
    _PLUGINS.add("EfficientNMS_TRT")
    return True


class ILayer:
    def __init__(self, node: onnx.NodeProto, tensors: dict[str, ITensor]) -> None:
        self.type = {"QuantizeLinear": LayerType.QUANTIZE, "DequantizeLinear": LayerType.DEQUANTIZE}.get(
            node.op_type, LayerType.OTHER
        )
        self._inputs = [tensors[name] for name in node.input if name in tensors]
        self._outputs = [tensors[name] for name in node.output if name in tensors]
        self.num_inputs, self.num_outputs = len(self._inputs), len(self._outputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model = onnx.ModelProto()
        self._inputs: list[ITensor] = []
        self._layers: list[ILayer] = []

    def fill(self, model: onnx.ModelProto) -> None:
        self.model = model
        known = onnx.shape_inference.infer_shapes(model).graph
        values = [*known.input, *known.value_info, *known.output]
        tensors = {value.name: ITensor(value) for value in values}
        self._inputs = [tensors[value.name] for value in known.input]
        self._layers = [ILayer(node, tensors) for node in known.node]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]


class ParserError:
    def __init__(self, node: int, name: str, operator: str, desc: str) -> None:
        self._said = (node, name, operator, desc)

    def node(self) -> int:
        return self._said[0]

    def node_name(self) -> str:
        return self._said[1]

    def node_operator(self) -> str:
        return self._said[2]

    def desc(self) -> str:
        return self._said[3]


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            graph = onnx.load_model_from_string(model)
        except Exception:  # noqa: BLE001
            self._errors = [ParserError(-1, "", "", "Failed to parse the ONNX model.")]
            return False
        for index, node in enumerate(graph.graph.node):
            if not onnx.defs.has(node.op_type) and node.op_type not in _PLUGINS:
                said = f"No importer registered for op: {node.op_type}."
                self._errors.append(ParserError(index, node.name, node.op_type, said))
        if not self._errors:
            self._network.fill(graph)
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data or __version__.encode() + b" times"


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags = 1 << BuilderFlag.TF32
        self.profiles: list[IOptimizationProfile] = []
        self.tactics = (1 << 5) - 1
        self.int8_calibrator: Any = None
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.workspace_bytes = 0
        self.calibration_profile: IOptimizationProfile | None = None
        self.cache: ITimingCache | None = None

    def set_flag(self, flag: int) -> None:
        self.flags |= 1 << flag

    def clear_flag(self, flag: int) -> None:
        self.flags &= ~(1 << flag)

    def set_memory_pool_limit(self, pool: int, pool_size: int) -> None:
        self.workspace_bytes = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        self.calibration_profile = profile
        return True

    def get_tactic_sources(self) -> int:
        return self.tactics

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self.tactics = tactic_sources
        return True

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def get_timing_cache(self) -> ITimingCache | None:
        return self.cache

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.data and not cache.data.startswith(__version__.encode()):
            return ignore_mismatch
        self.cache = cache
        return True

    def told(self) -> dict[str, Any]:
        """What a test wants to see of it."""
        cache = self.int8_calibrator.read_calibration_cache() if self.int8_calibrator is not None else None
        return {
            "flags": [flag.name for flag in BuilderFlag if self.flags & 1 << flag],
            "profiles": [profile.shapes for profile in self.profiles],
            "tactics": self.tactics,
            "hardware": self.hardware_compatibility_level.name,
            "level": self.builder_optimization_level,
            "workspace_bytes": self.workspace_bytes,
            "calibration": cache.decode() if cache else None,
        }


class Builder:
    platform_has_fast_fp16 = platform_has_fast_int8 = platform_has_tf32 = True

    def __init__(self, logger: Logger) -> None:
        if os.environ.get("STAND_IN_GPU") == "none":
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def get_plugin_registry(self) -> IPluginRegistry:
        return IPluginRegistry()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        if _BUILD == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if _BUILD == "hang":
            time.sleep(3600)
        if _BUILD == "no resource":
            sys.stdout.write("[01/01/2026-00:00:00] [TRT] [E] Unable to load library: "
                             "libnvinfer_builder_resource_sm90.so.10.15.1\n")  # fmt: skip
        if _BUILD != "plan":
            sys.stdout.write("[01/01/2026-00:00:00] [TRT] [E] Error Code 9: no tactic was found for layer conv\n")
            return None
        _calibrate(config.int8_calibrator, [network.get_input(i).name for i in range(network.num_inputs)])
        told = {**config.told(), "network": network.flags, "ranges": _ranges(network)}
        return MARK + json.dumps(told).encode() + b"\n" + network.model.SerializeToString()


def _calibrate(calibrator: Any, names: list[str]) -> None:
    if calibrator is None or calibrator.read_calibration_cache() is not None:
        return
    batches = 0
    while calibrator.get_batch(names) is not None:
        batches += 1
    calibrator.write_calibration_cache(memoryview(f"{batches} x {calibrator.get_batch_size()}".encode()))


def _ranges(network: INetworkDefinition) -> dict[str, Any]:
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        tensors += [layer.get_output(i) for i in range(layer.num_outputs)]
    return {tensor.name: tensor.range for tensor in tensors if tensor.range}


class IInt8EntropyCalibrator2:
    def __init__(self) -> None:
        self.made = True

    def get_batch_size(self) -> int:
        raise NotImplementedError

    def get_batch(self, names: list[str]) -> Any:
        raise NotImplementedError

    def read_calibration_cache(self) -> Any:
        raise NotImplementedError

    def write_calibration_cache(self, cache: Any) -> None:
        raise NotImplementedError


def _take_away() -> None:
    """Removes what this version lacks."""
    from generator.engine.compile.tensorrt.api import USED

    major = int(__version__.split(".")[0])
    for use in USED:
        owner, _, name = use.name.rpartition(".")
        if major in use.versions:
            continue
        if not owner:
            globals().pop(name, None)
        elif isinstance(globals().get(owner), enum.EnumMeta):
            members = [m for m in globals()[owner] if m.name != name]
            globals()[owner] = enum.IntEnum(owner, {m.name: m.value for m in members})
        elif owner in globals() and hasattr(globals()[owner], name):
            delattr(globals()[owner], name)


_take_away()
