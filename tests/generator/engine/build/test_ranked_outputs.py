"""The ranking counts what ONNX Runtime's INT8 rounds: the outputs of convolutions too."""

from __future__ import annotations

import numpy as np
import onnx
from engine_projects import CLONE, digits_graph

from generator.engine.calibrate import collect
from generator.engine.precision import sensitivity
from generator.engine.runner import Samples


def harms(engine: str, **ranges: tuple[float, float]) -> dict[str, float]:
    """Layer → its harm, with other ranges for some tensors."""
    with np.load(CLONE / "data" / "digits-calibration.npz") as data:
        pixels = (data["image"][:64, None] / 255).astype(np.float32)
    samples = Samples(({"pixels": pixels},), "digits")
    model = onnx.load_from_string(digits_graph())
    found = {**collect(model, samples, "minmax", 99.99, None), **ranges}
    for_engine = "tensorrt" if engine == "tensorrt" else "onnxruntime"
    return {harm.layer: harm.harm for harm in sensitivity(model, found, samples, for_engine=for_engine)}


def test_a_range_that_cuts_off_a_convolutions_output_harms_that_layer() -> None:
    whole, cut = (harms("onnxruntime", **ranges) for ranges in ({}, {"conv_0": (0.0, 0.01)}))
    assert max(whole.values()) < 0.01
    assert cut["conv_0"] > 0.1
    assert {name: harm for name, harm in cut.items() if name != "conv_0"} == {
        name: harm for name, harm in whole.items() if name != "conv_0"
    }


def test_tensorrt_rounds_inputs_alone() -> None:
    whole, cut = (harms("tensorrt", **ranges) for ranges in ({}, {"conv_0": (0.0, 0.01)}))
    assert cut == whole
