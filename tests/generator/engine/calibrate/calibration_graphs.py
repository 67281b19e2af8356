"""Graphs and samples that calibration is tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser

from generator.engine.runner import Samples

ROOT = Path(__file__).resolve().parents[4]


def digits() -> onnx.ModelProto:
    return onnx.load(ROOT / "models" / "digits.onnx")


def digits_pixels(count: int = 360) -> np.ndarray[Any, Any]:
    with np.load(ROOT / "data" / "digits-gate.npz") as data:
        return (data["image"][:count].astype(np.float32) / 255).reshape(-1, 1, 8, 8)


def samples(name: str, *batches: np.ndarray[Any, Any]) -> Samples:
    return Samples(tuple({name: batch} for batch in batches), "data")


def graph(text: str, **weights: np.ndarray[Any, Any]) -> onnx.ModelProto:
    """A graph in ONNX's own text; `weights` are its initialisers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


LINE = "(float[N, 4] x) => (float[N, 4] y) { double = Add(x, x) y = Relu(double) }"
