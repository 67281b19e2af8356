"""One build inside the worker's process: graph and settings in, plan, timing cache and facts out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Settings
from generator.engine.compile.tensorrt import network as networks
from generator.engine.compile.tensorrt.api import load, strongly_typed
from generator.engine.compile.tensorrt.config import (
    Calibration,
    set_precision,
    set_reach,
    set_tactics,
    set_timing_cache,
)
from generator.engine.errors import Finding, StageError


@dataclass(frozen=True)
class Built:
    """A plan, the timing cache for the next build, facts, and how long TensorRT took for it alone."""

    plan: bytes
    timing_cache: bytes
    calibration_cache: bytes
    facts: dict[str, Any]
    seconds: float


_ALIVE: list[Any] = []


def new_builder(trt: Any, logger: Any) -> Any:
    """TensorRT's builder. Raises StageError (TK950) where it cannot be made: without a GPU and its driver."""
    try:
        return trt.Builder(logger)
    except TypeError as error:  # what pybind11 makes of a null pointer
        message = f"TensorRT {trt.__version__} makes no builder here: it needs a GPU and its driver"
        raise StageError(Finding("TK950", message, "run `tritonkit doctor`", "engine")) from error


def build(graph: Path, settings: Settings, calibration: Calibration, progress: Callable[[str], None]) -> Built:
    """Builds a plan of the ONNX file. Raises StageError with everything that TensorRT has against it."""
    trt = load()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = new_builder(trt, logger)
    networks.load_plugins(trt, builder, logger, settings.plugins)
    network = networks.empty_network(trt, builder)
    progress("reading the graph")
    parser = networks.parse(trt, network, logger, graph.read_bytes(), str(graph))
    config = builder.create_builder_config()
    networks.add_profiles(builder, network, config, settings.profiles)
    facts: dict[str, Any] = {
        "tensorrt": str(trt.__version__),
        "precision": settings.precision,
        "strongly_typed": strongly_typed(trt),
        "layers_of_the_graph": int(network.num_layers),
        "profiles": len(settings.profiles),
        **set_reach(trt, config, settings),
        **set_tactics(trt, config),
        **set_precision(trt, network, config, settings, calibration),
    }
    if calibration.way == "batches" and calibration.calibrator is not None:
        config.set_calibration_profile(calibration.profile_for(builder))
    cache, fate = set_timing_cache(config, settings.timing_cache)
    progress(f"building in {settings.precision}")
    start = time.perf_counter()
    # 8.6 crashes when the builder is freed before what it has made: nothing is, the process ends soon.
    _ALIVE.extend((logger, builder, network, parser, config, cache))
    memory = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    if memory is None:
        raise StageError(Finding("TK955", f"TensorRT {trt.__version__} built no plan", about="engine"))
    return Built(
        plan=bytes(memory),
        timing_cache=bytes(cache.serialize()),
        calibration_cache=getattr(calibration.calibrator, "cache", b""),
        facts={**facts, **fate},
        seconds=seconds,
    )
