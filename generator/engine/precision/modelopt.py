"""int8 and fp8 by NVIDIA's ModelOpt, where it is installed: it brings PyTorch, and its own way to calibrate."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import io
import re
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import tidy
from generator.engine.precision.keep import Keep, Kept, kept_nodes, quantizable
from generator.engine.runner import Samples

if TYPE_CHECKING:
    import onnx


LAST_WORDS = 400  # characters


def missing() -> str:
    """Why ModelOpt cannot be used here, in one sentence; empty if it can."""
    if importlib.util.find_spec("modelopt") is None:
        return "ModelOpt is not installed: `pip install 'nvidia-modelopt[onnx]'`, in an environment of its own"
    return ""


def version() -> str:
    """Of the package; empty where it has none."""
    try:
        return importlib.metadata.version("nvidia-modelopt")
    except importlib.metadata.PackageNotFoundError:
        return ""


def modelopt(
    model: onnx.ModelProto, mode: Literal["int8", "fp8"], samples: Samples, keep: Keep | None = None, *,
    method: Literal["entropy", "max"] = "max", high_precision: Literal["fp16", "bf16", "fp32"] = "fp16",
) -> onnx.ModelProto:  # fmt: skip
    """The graph as `modelopt.onnx.quantization.quantize` makes it; what is not 8 bits is `high_precision`.

    It is given the samples batch by batch. What it prints is told where it fails, and goes nowhere else.
    Raises StageError: TK935 when it is missing or fails, or when the samples are not all of one shape; TK930.
    """
    import onnx

    if why := missing():
        raise StageError(Finding("TK935", why, "fp8 and int8 are made without it too", "precision"))
    shapes = {tuple(sorted((name, array.shape[1:]) for name, array in batch.items())) for batch in samples.batches}
    if len(shapes) != 1:
        message = f"ModelOpt takes samples of one shape, and these have {len(shapes)}"
        raise StageError(Finding("TK935", message, "", "build.calibration"))
    graph_model = tidy(model)
    kept = kept_nodes(graph_model, keep or Kept())
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="tritonkit-modelopt-") as folder,
        redirect_stdout(quiet), redirect_stderr(quiet),
    ):  # fmt: skip
        source, made = Path(folder) / "model.onnx", Path(folder) / "made.onnx"
        try:
            onnx.save(graph_model, source)
            quantize = importlib.import_module("modelopt.onnx.quantization").quantize
            # It reads names to leave out as regular expressions.
            quantize(
                str(source), quantize_mode=mode, calibration_data_reader=_Reader(samples), calibration_method=method,
                calibration_eps=["cpu"], nodes_to_exclude=[f"^{re.escape(name)}$" for name in kept],
                high_precision_dtype=high_precision, output_path=str(made), log_level="WARNING",
            )  # fmt: skip
            return onnx.load(made)
        except Exception as error:  # of any kind, from inside that package
            said = " ".join(quiet.getvalue().split())[-LAST_WORDS:]
            hint = f"it printed last: {said}" if said else ""
            raise StageError(Finding("TK935", f"ModelOpt failed: {error}", hint, "precision")) from error


def left(model: onnx.ModelProto, made: onnx.ModelProto, keep: Keep) -> tuple[list[str], dict[str, str]]:
    """Of `model`'s layers with weights those that are in 8 bits in `made`, and why the others are not."""
    kept = kept_nodes(tidy(model), keep)
    dequantised = {name for node in made.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    narrow = {node.name for node in made.graph.node if dequantised.intersection(node.input)}
    layers = [layer.name for layer in quantizable(model)]
    stay = {name: kept.get(name, "ModelOpt leaves it as it is") for name in layers if name not in narrow}
    return [name for name in layers if name in narrow], stay


class _Reader:
    """The samples as ModelOpt reads them: the batches one after the other, then None."""

    def __init__(self, samples: Samples) -> None:
        self.batches = samples.batches
        self.rewind()

    def rewind(self) -> None:
        """From the first on once more."""
        self.rest = iter(self.batches)

    def get_first(self) -> Mapping[str, Any]:
        """The first, which is still to come."""
        return self.batches[0]

    def get_next(self) -> Mapping[str, Any] | None:
        """The next one."""
        return next(self.rest, None)
