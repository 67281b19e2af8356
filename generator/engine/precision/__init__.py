"""A graph in a lower precision: 16-bit floats by casts, 8 bits by Q/DQ, and which layers bear it."""

from generator.engine.precision.cast import Lowered, cast, lower
from generator.engine.precision.fp8 import fp8
from generator.engine.precision.keep import Keep, Kept, Layer, quantizable
from generator.engine.precision.mixed import Mixed, Trial, search
from generator.engine.precision.modelopt import modelopt
from generator.engine.precision.quantize import Quantized, quantize, quantized
from generator.engine.precision.ranking_chart import draw_ranking
from generator.engine.precision.sensitivity import Harm, sensitivity

__all__ = [
    "Harm",
    "Keep",
    "Kept",
    "Layer",
    "Lowered",
    "Mixed",
    "Quantized",
    "Trial",
    "cast",
    "draw_ranking",
    "fp8",
    "lower",
    "modelopt",
    "quantizable",
    "quantize",
    "quantized",
    "search",
    "sensitivity",
]
