"""Everything of TensorRT's Python bindings that is used here, in one table, and how the bindings are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tritonkit_runtime.buffered.tensorrt_bindings import load

__all__ = ["USED", "Use", "load", "major", "strongly_typed"]

# One a line: name, its arguments where it is called, and the major versions that have it (all, if none are named).
# Code asks for what only some have with `hasattr`; the contract test compares the table with the real bindings and
# the code with the table.
_TABLE = """
init_libnvinfer_plugins(logger, namespace)
Logger(min_severity)
Logger.WARNING
Builder(logger)
Builder.create_network(flags)
Builder.create_builder_config()
Builder.create_optimization_profile()
Builder.build_serialized_network(network, config)
Builder.get_plugin_registry()
Builder.platform_has_fast_fp16               8 10
Builder.platform_has_fast_int8               8 10
Builder.platform_has_tf32                    8 10
IPluginRegistry.load_library(plugin_path)
NetworkDefinitionCreationFlag.EXPLICIT_BATCH 8 10
NetworkDefinitionCreationFlag.STRONGLY_TYPED 10 11
INetworkDefinition.num_inputs
INetworkDefinition.num_layers
INetworkDefinition.get_input(index)
INetworkDefinition.get_layer(index)
ITensor.name
ITensor.shape
ITensor.dtype
ITensor.is_shape_tensor
ITensor.set_dynamic_range(min, max)          8 10
ILayer.type
ILayer.num_outputs
ILayer.get_output(index)
LayerType.QUANTIZE
LayerType.DEQUANTIZE
OnnxParser(network, logger)
OnnxParser.parse(model, path)
OnnxParser.num_errors
OnnxParser.get_error(index)
ParserError.desc()
ParserError.node()
ParserError.node_name()                      10 11
ParserError.node_operator()                  10 11
IOptimizationProfile.set_shape(input, min, opt, max)
IBuilderConfig.set_flag(flag)
IBuilderConfig.clear_flag(flag)
IBuilderConfig.set_memory_pool_limit(pool, pool_size)
IBuilderConfig.add_optimization_profile(profile)
IBuilderConfig.set_calibration_profile(profile) 8 10
IBuilderConfig.int8_calibrator               8 10
IBuilderConfig.builder_optimization_level
IBuilderConfig.hardware_compatibility_level
IBuilderConfig.profiling_verbosity
IBuilderConfig.get_tactic_sources()
IBuilderConfig.set_tactic_sources(tactic_sources)
IBuilderConfig.create_timing_cache(serialized_timing_cache)
IBuilderConfig.set_timing_cache(cache, ignore_mismatch)
ITimingCache.serialize()
MemoryPoolType.WORKSPACE
ProfilingVerbosity.DETAILED
BuilderFlag.TF32
BuilderFlag.REFIT
BuilderFlag.VERSION_COMPATIBLE
BuilderFlag.EXCLUDE_LEAN_RUNTIME
BuilderFlag.FP16                             8 10
BuilderFlag.INT8                             8 10
HardwareCompatibilityLevel.AMPERE_PLUS
HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY 10 11
TacticSource.CUBLAS                          8 10
TacticSource.CUBLAS_LT                       8 10
TacticSource.CUDNN                           8 10
IInt8EntropyCalibrator2()                    8 10
IInt8EntropyCalibrator2.get_batch_size()     8 10
IInt8EntropyCalibrator2.get_batch(names)     8 10
IInt8EntropyCalibrator2.read_calibration_cache() 8 10
IInt8EntropyCalibrator2.write_calibration_cache(cache) 8 10
DataType.FLOAT
DataType.HALF
DataType.BF16                                10 11
DataType.INT8
DataType.INT32
DataType.INT64                               10 11
DataType.BOOL
DataType.UINT8
DataType.FP8
Runtime(logger)
Runtime.get_plugin_registry()
Runtime.engine_host_code_allowed
Runtime.deserialize_cuda_engine(serialized_engine)
ICudaEngine.num_io_tensors
ICudaEngine.num_optimization_profiles
ICudaEngine.get_tensor_name(index)
ICudaEngine.get_tensor_mode(name)
ICudaEngine.get_tensor_dtype(name)
ICudaEngine.get_tensor_shape(name)
ICudaEngine.get_tensor_location(name)
ICudaEngine.get_tensor_profile_shape(name, profile_index)
ICudaEngine.serialize()
ICudaEngine.create_execution_context()
ICudaEngine.create_engine_inspector()
TensorIOMode.INPUT
TensorIOMode.OUTPUT
TensorLocation.HOST
EngineInspector.execution_context
EngineInspector.get_engine_information(format)
LayerInformationFormat.JSON
IExecutionContext.set_optimization_profile_async(profile_index, stream_handle)
IExecutionContext.set_input_shape(name, shape)
IExecutionContext.set_tensor_address(name, memory)
IExecutionContext.get_tensor_shape(name)
IExecutionContext.get_max_output_size(name)
IExecutionContext.set_output_allocator(name, output_allocator)
IExecutionContext.execute_async_v3(stream_handle)
IExecutionContext.profiler
IExecutionContext.enqueue_emits_profile
IProfiler()
IProfiler.report_layer_time(layer_name, ms)
IOutputAllocator()
"""


@dataclass(frozen=True)
class Use:
    """`name` with dots; `arguments` where it is called, else None; the major `versions` that have it."""

    name: str
    arguments: tuple[str, ...] | None
    versions: frozenset[int]


def _use(line: str) -> Use:
    name, bracket, rest = line.partition("(")
    arguments, _, versions = rest.partition(")") if bracket else ("", "", "")
    if not bracket:
        name, *numbers = line.split()
    else:
        numbers = versions.split()
    given = tuple(part.strip() for part in arguments.split(",") if part.strip()) if bracket else None
    return Use(name.strip(), given, frozenset(int(n) for n in numbers) or frozenset({8, 10, 11}))


USED = tuple(_use(line) for line in _TABLE.splitlines() if line)


def major(trt: Any) -> int:
    """The number in the names of TensorRT's libraries."""
    return int(str(trt.__version__).split(".")[0])


def strongly_typed(trt: Any) -> bool:
    """Whether precision lives in the graph (10 and 11), and not in builder flags (8.6)."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
