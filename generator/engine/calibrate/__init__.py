"""The range of values of every tensor, found by running samples; 8-bit numbers are scaled by it."""

from generator.engine.calibrate.collect import cache_facts, collect
from generator.engine.calibrate.overlap import overlap, overlap_finding
from generator.engine.calibrate.ranges import Ranges, from_text
from generator.engine.calibrate.tensorrt_cache import from_tensorrt, to_tensorrt

__all__ = [
    "Ranges",
    "cache_facts",
    "collect",
    "from_tensorrt",
    "from_text",
    "overlap",
    "overlap_finding",
    "to_tensorrt",
]
