"""Train a detector of digits on canvases; write its model, its gate set and its calibration set.

    python models/make_detector.py                     train (about a minute on one core) and write
    python models/make_detector.py --check             train and compare with the files; exit 1 if they differ
    python models/make_detector.py --gpu-case FOLDER   write what a machine with TensorRT needs to try EfficientNMS

    models/detector.onnx            canvas FP32 [batch, 1, 48, 48] of 0..1 -> boxes FP32 [batch, 288, 4] in pixels
                                    (x0, y0, x1, y1), scores FP32 [batch, 288, 10] of 0..1; nothing is suppressed yet
    data/detector-gate.npz          image uint8 [116, 48, 48], labels FP32 [116, 6, 5]: x0, y0, x1, y1, class or -1
    data/detector-calibration.npz   image uint8 [128, 48, 48]

The network sees the 1437 digits that the digits network is trained on too; the gate's canvases show each of the 360
held-out ones once. Calibration's show digits of the former, on canvases of their own. As in train_digits.py, two runs
on one machine give the same bytes, and on another type of CPU the weights may be off by WEIGHT_TOLERANCE.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import onnx
import train_digits
from artifacts import ROOT, Arrays, build_model, fp32, model_differences, npz_differences, read_npz
from cnn import Network
from detector_canvas import SIDE, Canvases, canvases, drawn, each_once
from detector_training import ANCHORS, CLASSES, VALUES, Schedule, anchors, build_network, train
from onnx import helper
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

MODEL = ROOT / "models" / "detector.onnx"
GATE = ROOT / "data" / "detector-gate.npz"
CALIBRATION = ROOT / "data" / "detector-calibration.npz"

SEED = 7
TRAINED_ON, CALIBRATED_ON = 1200, 128  # canvases
SCHEDULE = Schedule(epochs=10, batch=8, rate=3e-3)
WEIGHT_TOLERANCE = train_digits.WEIGHT_TOLERANCE

STYLES: tuple[tuple[Literal["efficient", "standard"], str], ...] = (
    ("efficient", ".onnx"), ("standard", ".standard.onnx"),
)  # fmt: skip


class Settings(TypedDict):
    """Of a suppression, as the step and the graph take them."""

    max_detections: int
    iou_threshold: float
    score_threshold: float
    per_class: bool


def to_onnx(network: Network) -> onnx.ModelProto:
    """The network and the arithmetic from its head to boxes and scores."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, npt.NDArray[np.generic]] = {}
    tensor = "canvas"
    for number, layer in enumerate(network.layers):
        names = [f"{kind}_{number}" for kind in ("weight", "bias")[: len(layer.parameters())]]
        for name, parameter in zip(names, layer.parameters(), strict=True):
            constants[name] = parameter.value.astype(np.float32)
        operator, attributes = train_digits.OPERATORS[type(layer)]
        output = f"{operator.lower()}_{number}"
        nodes.append(helper.make_node(operator, [tensor, *names], [output], name=output, **attributes))
        tensor = output
    places = anchors().astype(np.float32)
    constants |= {
        "anchor_shape": np.array([-1, ANCHORS, VALUES], np.int64), "parts": np.array([2, 2, CLASSES + 1], np.int64),
        "with_nothing": np.array([CLASSES, 1], np.int64),
        "anchor_centres": places[None, :, :2], "anchor_sizes": places[None, :, 2:],
        "half": np.array(0.5, np.float32), "least": np.array(0, np.float32), "most": np.array(SIDE, np.float32),
    }  # fmt: skip
    decode: tuple[tuple[str, list[str], list[str], dict[str, Any]], ...] = (
        ("Transpose", [tensor], ["cells"], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["cells", "anchor_shape"], ["values"], {}),
        ("Split", ["values", "parts"], ["moves", "stretches", "logits"], {"axis": 2}),
        ("Softmax", ["logits"], ["shares"], {"axis": 2}),
        ("Split", ["shares", "with_nothing"], ["scores", "nothing"], {"axis": 2}),
        ("Mul", ["moves", "anchor_sizes"], ["offsets"], {}),
        ("Add", ["offsets", "anchor_centres"], ["centres"], {}),
        ("Exp", ["stretches"], ["factors"], {}),
        ("Mul", ["factors", "anchor_sizes"], ["sizes"], {}),
        ("Mul", ["sizes", "half"], ["halves"], {}),
        ("Sub", ["centres", "halves"], ["starts"], {}),
        ("Add", ["centres", "halves"], ["ends"], {}),
        ("Concat", ["starts", "ends"], ["corners"], {"axis": 2}),
        ("Clip", ["corners", "least", "most"], ["boxes"], {}),
    )
    nodes += [helper.make_node(kind, a, b, name=b[0], **more) for kind, a, b, more in decode]
    outputs = [fp32("boxes", ANCHORS, 4), fp32("scores", ANCHORS, CLASSES)]
    return build_model("detector", nodes, [fp32("canvas", 1, SIDE, SIDE)], outputs, constants)


def data() -> tuple[Canvases, Canvases, Canvases]:
    """What is trained on, the gate's canvases, and calibration's."""
    digits = train_digits.load()
    known = digits.images[digits.training], digits.labels[digits.training]
    new = digits.images[digits.held_out], digits.labels[digits.held_out]
    first, second, third = (np.random.default_rng([SEED, part]) for part in range(3))
    return (
        canvases(*known, drawn(len(known[0]), TRAINED_ON, first, least=2), first),
        canvases(*new, each_once(len(new[0]), second), second),
        canvases(*known, drawn(len(known[0]), CALIBRATED_ON, third, least=1), third),
    )


def fit(canvas: Canvases) -> Network:
    """The trained network; progress goes to stderr."""

    def report(epoch: int, loss: float) -> None:
        print(f"epoch {epoch + 1:2} of {SCHEDULE.epochs}: loss {loss:.4f}", file=sys.stderr)

    rng = np.random.default_rng(SEED)
    network = build_network(rng)
    with threadpool_limits(limits=1):
        train(network, canvas, SCHEDULE, rng, report)
    return network


def packed(arrays: Arrays) -> bytes:
    """An .npz file, compressed: canvases are mostly black."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_gpu_cases(folder: Path, *, items: int = 16) -> None:
    """Writes efficient_nms.onnx and .npz, and efficient_nms_any_class.onnx and .npz, where `per_class` is false.

    The graph is canvas -> boxes, label, score, count by TensorRT's plugin, and that in .standard.onnx by the standard
    operator; the .npz holds `canvas` and those four as they should be, from the detector in ONNX Runtime and the
    pipeline's own `nms` step.
    """
    from generator.engine.fold.nms import add_nms
    from generator.engine.runner import OnnxRunner
    from tritonkit_runtime.batch import Batch
    from tritonkit_runtime.steps.nms import Nms

    model = onnx.load(MODEL)
    canvas = read_npz(GATE)["image"][:items, None].astype(np.float32) / np.float32(255)
    runner = OnnxRunner(model.SerializeToString())
    proposed = runner.run({"canvas": canvas})
    runner.close()
    folder.mkdir(parents=True, exist_ok=True)
    for name, per_class in (("efficient_nms", True), ("efficient_nms_any_class", False)):
        settings: Settings = {
            "max_detections": 8, "iou_threshold": 0.5, "score_threshold": 0.3, "per_class": per_class
        }  # fmt: skip
        expected = Nms(boxes="boxes", scores="scores", **settings)(Batch({}, (items,)), proposed)
        for style, ending in STYLES:
            made = add_nms(model, "boxes", "scores", style=style, **settings)
            (folder / f"{name}{ending}").write_bytes(made.SerializeToString(deterministic=True))
        (folder / f"{name}.npz").write_bytes(packed({"canvas": canvas, **expected}))


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status: 0, or 1 where a file is missing or differs."""
    parser = argparse.ArgumentParser(
        description="Train the detector; write it, its gate set and its calibration set."
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare with the files that are there; write nothing")
    mode.add_argument("--gpu-case", type=Path, metavar="FOLDER", help="write two cases for TensorRT's EfficientNMS")
    options = parser.parse_args(arguments)
    if options.gpu_case is not None:
        write_gpu_cases(options.gpu_case)
        return 0
    trained_on, gate, calibration = data()
    began = time.monotonic()
    model = to_onnx(fit(trained_on))
    print(f"trained in {time.monotonic() - began:.0f} s", file=sys.stderr)
    sets: dict[Path, Arrays] = {
        GATE: {"image": gate.image, "labels": gate.labels}, CALIBRATION: {"image": calibration.image}
    }  # fmt: skip
    if options.check:
        return report_check(model, sets)
    MODEL.write_bytes(model.SerializeToString(deterministic=True))
    for path, arrays in sets.items():
        path.write_bytes(packed(arrays))
    return 0


def report_check(model: onnx.ModelProto, sets: dict[Path, Arrays]) -> int:
    """Print every difference to stderr; return the exit status."""
    found = model_differences(MODEL, model, WEIGHT_TOLERANCE)
    for path, arrays in sets.items():
        found += npz_differences(path, arrays)
    for difference in found:
        print(difference, file=sys.stderr)
    if found:
        print("run python models/make_detector.py and commit what it writes", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
