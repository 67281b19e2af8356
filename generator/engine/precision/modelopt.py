"""int8 and fp8 by NVIDIA's ModelOpt, where it is installed: it brings PyTorch, and its own way to calibrate."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import tidy
from generator.engine.precision.keep import Keep, Kept, kept_nodes
from generator.engine.runner import Samples

if TYPE_CHECKING:
    import onnx


def missing() -> str:
    """Why ModelOpt cannot be used here, in one sentence; empty if it can."""
    if importlib.util.find_spec("modelopt") is None:
        return "ModelOpt is not installed: `pip install 'nvidia-modelopt[onnx]'`, in an environment of its own"
    return ""


def modelopt(
    model: onnx.ModelProto, mode: Literal["int8", "fp8"], samples: Samples, keep: Keep | None = None, *,
    method: Literal["entropy", "max"] = "max", high_precision: Literal["fp16", "bf16", "fp32"] = "fp16",
) -> onnx.ModelProto:  # fmt: skip
    """The graph as `modelopt.onnx.quantization.quantize` makes it; what is not 8 bits is `high_precision`.

    Raises StageError: TK935 when it is missing or fails, or when the samples are not all of one shape; TK930.
    """
    import numpy as np
    import onnx

    if why := missing():
        raise StageError(Finding("TK935", why, "fp8 and int8 are made without it too", "precision"))
    shapes = {tuple(sorted((name, array.shape[1:]) for name, array in batch.items())) for batch in samples.batches}
    if len(shapes) != 1:
        message = f"ModelOpt takes samples of one shape, and these have {len(shapes)}"
        raise StageError(Finding("TK935", message, "", "build.calibration"))
    graph_model = tidy(model)
    kept = kept_nodes(graph_model, keep or Kept())
    data = {name: np.concatenate([batch[name] for batch in samples.batches]) for name in samples.batches[0]}
    quantize = importlib.import_module("modelopt.onnx.quantization").quantize
    with tempfile.TemporaryDirectory(prefix="tritonkit-modelopt-") as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / "made.onnx"
        onnx.save(graph_model, source)
        try:
            # It reads names to leave out as regular expressions.
            quantize(
                str(source), quantize_mode=mode, calibration_data=data, calibration_method=method,
                calibration_eps=["cpu"], nodes_to_exclude=[f"^{re.escape(name)}$" for name in kept],
                high_precision_dtype=high_precision, output_path=str(made), log_level="WARNING",
            )  # fmt: skip
            return onnx.load(made)
        except Exception as error:  # of any kind, from inside that package
            raise StageError(Finding("TK935", f"ModelOpt failed: {error}", "", "precision")) from error
