"""Make two toy models and a gate set for a flow with two branches: a detector, a user's own crops, a classifier.

    python models/make_canvas.py            write (models/digits.onnx and data/digits-gate.npz must be there)
    python models/make_canvas.py --check    compare with the files that are there; exit 1 if they differ

A canvas is 32x32 pixels, black, with four held-out digits in different cells of a 4x4 grid of 8x8 cells. Nothing
is trained here and nothing is rounded: --check asks for equal weights and arrays.

    models/canvas_detector.onnx   canvas FP32 [batch, 1, 32, 32] of 0..1 -> boxes FP32 [batch, 4, 4], strength FP32
                                  [batch, 4]: the four brightest cells in reading order, each as x0, y0, x1, y1 in
                                  pixels (x1 and y1 are one past the last), and their mean brightness
    models/digits_crops.onnx      crops FP32 [batch, 4, 1, 8, 8] of 0..1 -> logits FP32 [batch, 4, 10]
    data/canvas-gate.npz          image uint8 [90, 32, 32], labels int64 [90, 4] in reading order
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from artifacts import (
    ROOT,
    Arrays,
    build_model,
    constants_of,
    fp32,
    model_differences,
    npz_bytes,
    npz_differences,
    read_npz,
)
from onnx import helper

DIGITS = ROOT / "models" / "digits.onnx"
DIGITS_GATE = ROOT / "data" / "digits-gate.npz"
DETECTOR = ROOT / "models" / "canvas_detector.onnx"
CLASSIFIER = ROOT / "models" / "digits_crops.onnx"
CANVAS_GATE = ROOT / "data" / "canvas-gate.npz"

SEED = 7
CELL = 8  # pixels
GRID = 4  # cells in a row, and rows
FOUND = 4  # digits on a canvas
SIDE = CELL * GRID
CLASSES = 10


def detector() -> onnx.ModelProto:
    """Return the detector: mean brightness of each cell, the best four, their boxes by integer arithmetic."""
    node = helper.make_node
    nodes = [
        node("AveragePool", ["canvas"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Flatten", ["means"], ["cells"]),
        node("TopK", ["cells", "found"], ["by_strength", "best"]),
        # Reading order is ascending cell number. Not every engine sorts integers; FP32 holds 0..15 exactly.
        node("Cast", ["best"], ["best_fp32"], to=onnx.TensorProto.FLOAT),
        node("TopK", ["best_fp32", "found"], ["ordered_fp32", "order"], largest=0),
        node("GatherElements", ["by_strength", "order"], ["strength"], axis=1),
        node("Cast", ["ordered_fp32"], ["cell"], to=onnx.TensorProto.INT64),
        node("Mod", ["cell", "grid"], ["column"]),
        node("Div", ["cell", "grid"], ["row"]),
        node("Unsqueeze", ["column", "last"], ["columns"]),
        node("Unsqueeze", ["row", "last"], ["rows"]),
        node("Concat", ["columns", "rows"], ["corner"], axis=2),
        node("Mul", ["corner", "side"], ["start"]),
        node("Add", ["start", "side"], ["end"]),
        node("Concat", ["start", "end"], ["boxes_int64"], axis=2),
        node("Cast", ["boxes_int64"], ["boxes"], to=onnx.TensorProto.FLOAT),
    ]
    constants = {"found": [FOUND], "grid": [GRID], "side": [CELL], "last": [2]}
    return build_model(
        "canvas_detector",
        nodes,
        [fp32("canvas", 1, SIDE, SIDE)],
        [fp32("boxes", FOUND, 4), fp32("strength", FOUND)],
        {name: np.array(values, np.int64) for name, values in constants.items()},
    )


def classifier(digits: onnx.ModelProto) -> onnx.ModelProto:
    """Return the digits network over four crops an item: the crops join the batch, the logits part again."""
    renamed = {"logits": "all_logits"}
    body = []
    for original in digits.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.output[:] = [renamed.get(name, name) for name in original.output]
        body.append(node)
    join = helper.make_node("Reshape", ["crops", "one_crop"], ["pixels"])
    part = helper.make_node("Reshape", ["all_logits", "four_logits"], ["logits"])
    shapes = {
        "one_crop": np.array([-1, 1, CELL, CELL], np.int64),
        "four_logits": np.array([-1, FOUND, CLASSES], np.int64),
    }
    return build_model(
        "digits_crops",
        [join, *body, part],
        [fp32("crops", FOUND, 1, CELL, CELL)],
        [fp32("logits", FOUND, CLASSES)],
        constants_of(digits) | shapes,
    )


def canvases(gate: Arrays) -> Arrays:
    """Paste every held-out digit once, four to a canvas, into different cells drawn from the seed."""
    rng = np.random.default_rng(SEED)
    fours = rng.permutation(len(gate["image"])).reshape(-1, FOUND)
    cells = np.array([np.sort(rng.permutation(GRID * GRID)[:FOUND]) for _ in fours])
    # [n, row, column, y, x] first, so that a cell is two indexes; then the pixel rows are brought together.
    grid = np.zeros((len(fours), GRID, GRID, CELL, CELL), np.uint8)
    grid[np.arange(len(fours))[:, None], cells // GRID, cells % GRID] = gate["image"][fours]
    return {"image": grid.swapaxes(2, 3).reshape(-1, SIDE, SIDE), "labels": gate["labels"][fours]}


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status: 0, or 1 where a file is missing or differs."""
    summary = "Make the canvas models and their gate set."
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--check", action="store_true", help="compare with the files that are there; write nothing")
    options = parser.parse_args(arguments)
    for needed in (DIGITS, DIGITS_GATE):
        if not needed.is_file():
            print(f"{needed} does not exist: run python models/train_digits.py first", file=sys.stderr)
            return 1
    models = {DETECTOR: detector(), CLASSIFIER: classifier(onnx.load(DIGITS))}
    gate = canvases(read_npz(DIGITS_GATE))
    if options.check:
        return report_check(models, gate)
    for path, model in models.items():
        path.write_bytes(model.SerializeToString(deterministic=True))
    CANVAS_GATE.write_bytes(npz_bytes(gate))
    return 0


def report_check(models: dict[Path, onnx.ModelProto], gate: Arrays) -> int:
    """Print every difference to stderr; return the exit status."""
    found = npz_differences(CANVAS_GATE, gate)
    for path, model in models.items():
        found += model_differences(path, model, tolerance=0)
    for difference in found:
        print(difference, file=sys.stderr)
    if found:
        print("run python models/make_canvas.py and commit what it writes", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
