"""What a build is told beside its graph: precision, tactics, timing cache, and how widely the plan shall run."""

from __future__ import annotations

import ctypes
from typing import Any

from generator.engine.compile.base import Settings
from generator.engine.compile.tensorrt import network as networks
from generator.engine.compile.tensorrt.api import major, strongly_typed
from generator.engine.compile.tensorrt.calibration import cache_of, feeding, reading
from generator.engine.errors import Finding, StageError

# What a strongly typed network has to contain for a precision to be more than a word.
_TYPES = {"fp16": "HALF", "bf16": "BF16", "fp8": "FP8"}
_FLAGGED = ("fp32", "tf32", "fp16", "int8")


def set_precision(
    trt: Any, network: Any, config: Any, settings: Settings, calibration: Calibration
) -> dict[str, Any]:
    """What may be computed in; the facts say by which way. Raises StageError (TK953, TK954)."""
    if settings.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    else:
        config.set_flag(trt.BuilderFlag.TF32)
    if strongly_typed(trt):
        _must_be_in_graph(trt, network, settings)
        return {"precision_from": "graph"}
    if settings.precision not in _FLAGGED:
        raise StageError(_cannot(trt, f"compute in {settings.precision}", f"it knows {', '.join(_FLAGGED)}"))
    if settings.precision in {"fp16", "int8"}:
        config.set_flag(trt.BuilderFlag.FP16)  # int8's other layers are fastest in it
    if settings.precision != "int8":
        return {"precision_from": "flags"}
    config.set_flag(trt.BuilderFlag.INT8)
    if networks.quantised(trt, network):
        return {"precision_from": "graph and flags"}
    return {"precision_from": calibration.apply(trt, network, config, settings)}


def _must_be_in_graph(trt: Any, network: Any, settings: Settings) -> None:
    wanted = settings.precision
    types = networks.types_of(network)
    found = wanted not in _TYPES or _TYPES[wanted] in types
    if wanted == "int8":
        found = networks.quantised(trt, network)
    if not found:
        how = "quantise and dequantise nodes" if wanted in {"int8", "fp8"} else "casts"
        message = f"TensorRT {trt.__version__} computes in what the graph says, and the graph has nothing in {wanted}"
        raise StageError(Finding("TK954", message, f"lower the graph's precision first, by {how}", "precision"))


class Calibration:
    """How INT8 finds its ranges where the graph does not say them.

    `way` is "cache" (a calibration cache made of Settings.ranges), "dynamic_range" (the ranges tensor by tensor) or
    "batches" (TensorRT calibrates by itself with `batches`, all of one shape).
    """

    def __init__(self, way: str = "cache", batches: list[dict[str, Any]] | None = None) -> None:
        self.way = way
        self.batches = batches or []
        self.calibrator: Any = None

    def apply(self, trt: Any, network: Any, config: Any, settings: Settings) -> str:
        """Tells the configuration; the way for the facts. Raises StageError (TK954) when there is nothing to tell."""
        if self.way != "batches" and not settings.ranges:
            message = "int8 needs ranges, and neither the graph nor a calibration gives any"
            raise StageError(
                Finding("TK954", message, "calibrate, or quantise the graph by Q/DQ", "build.calibration")
            )
        if self.way == "dynamic_range":
            self._set_ranges(network, settings)
        elif self.way == "batches":
            self.calibrator = feeding(trt, self.batches)
            config.int8_calibrator = self.calibrator
        else:
            self.calibrator = reading(trt, cache_of(trt.__version__, settings.ranges))
            config.int8_calibrator = self.calibrator
        return {"cache": "calibration cache", "dynamic_range": "dynamic ranges", "batches": "calibration"}[self.way]

    @staticmethod
    def _set_ranges(network: Any, settings: Settings) -> None:
        for tensor in networks.tensors_of(network):
            largest = max((abs(bound) for bound in settings.ranges.get(tensor.name, (0.0,))), default=0.0)
            if largest > 0:
                tensor.set_dynamic_range(-largest, largest)

    def profile_for(self, builder: Any) -> Any:
        """The profile that feeding batches needs: their shape and no other."""
        profile = builder.create_optimization_profile()
        for name, array in self.batches[0].items():
            profile.set_shape(name, array.shape, array.shape, array.shape)
        return profile


def set_reach(trt: Any, config: Any, settings: Settings) -> dict[str, Any]:
    """Other versions, other GPUs, other weights, effort and memory. Raises StageError (TK953)."""
    facts: dict[str, Any] = {"hardware": settings.hardware, "version_compatible": settings.version_compatible}
    if settings.hardware != "none":
        level = getattr(trt.HardwareCompatibilityLevel, settings.hardware.upper(), None)
        if level is None:
            raise StageError(
                _cannot(trt, f"build for `hardware: {settings.hardware}`", "take `none` or a later version")
            )
        config.hardware_compatibility_level = level
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        facts["lean_runtime"] = "inside"
        if not _loads(f"libnvinfer_lean.so.{major(trt)}"):
            config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
            facts["lean_runtime"] = "excluded: libnvinfer_lean is not installed where the plan was built"
    if settings.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    if settings.channels_last is not None:
        facts["channels_last"] = "left to TensorRT, which chooses the layout of every layer by measuring"
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that layers can be told apart later
    return {**facts, "refit": settings.refit, "optimization_level": settings.optimization_level}


def _cannot(trt: Any, what: str, remedy: str) -> Finding:
    return Finding("TK953", f"TensorRT {trt.__version__} cannot {what}", remedy, "build")


# A function that the real library has, and that TensorRT itself never calls: a stand-in for the loader lacks it.
_REAL = {
    "CUBLAS": ("libcublas.so", "cublasGetCudartVersion"),
    "CUBLAS_LT": ("libcublasLt.so", "cublasLtGetCudartVersion"),
    "CUDNN": ("libcudnn.so", "cudnnGetCudartVersion"),
}
_SUFFIXES = {"CUBLAS": (12, 11, 13), "CUBLAS_LT": (12, 11, 13), "CUDNN": (8, 9)}


def set_tactics(trt: Any, config: Any) -> dict[str, Any]:
    """Leaves out the kernels of libraries that are not here, or only stand in for the loader."""
    mask = int(config.get_tactic_sources())
    off = []
    for name in sorted(_REAL):
        source = getattr(trt.TacticSource, name, None)
        if source is not None and mask & 1 << int(source) and not _is_real(name):
            mask &= ~(1 << int(source))
            off.append(name)
    if off:
        config.set_tactic_sources(mask)
    return {"tactic_sources_off": off}


def _is_real(name: str) -> bool:
    library, function = _REAL[name]
    for suffix in _SUFFIXES[name]:
        try:
            return hasattr(ctypes.CDLL(f"{library}.{suffix}"), function)
        except OSError:
            continue
    return False


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def set_timing_cache(config: Any, data: bytes | None) -> tuple[Any, dict[str, Any]]:
    """The cache of `data`, if that is of this very version and GPU, else a new one; and what became of it.

    The build adds to it what it times, so that what is saved afterwards has both.
    """
    if data:
        loaded = config.create_timing_cache(data)
        if loaded is not None and config.set_timing_cache(loaded, False):
            return loaded, {"timing_cache": "used"}
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    return cache, {"timing_cache": "ignored: of another TensorRT or GPU" if data else "new"}
