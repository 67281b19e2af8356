"""The graphs of gpu_served.py: steps folded into them, plans of them, small ones for a machine without a GPU."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
TOP, SIDE, TOKENS, WIDTH = 5, 224, 128, 384
Array = np.ndarray[Any, Any]


def folded(graph: Any) -> bytes:
    """A network images FP32 [n, 3, 224, 224] -> logits with what a pipeline does around it inside.

    It takes images UINT8 [n, 224, 224, 3] and gives label_index INT32 [n, 5], score FP32 [n, 5].
    """
    from generator.engine.fold import Before, fold

    steps = [("normalize", {"mean": list(MEAN), "std": list(STD)}), ("channels_first", {})]
    last = {"k": TOP, "labels": [], "label_output": "label", "score_output": "score"}
    before = {"images": Before("UINT8", (SIDE, SIDE, 3), steps)}
    made = fold(graph, before, {"logits": [("softmax", {}), ("top_k", last)]})
    return bytes(made.model.SerializeToString(deterministic=True))


def build(graph: bytes, largest: int, cache: Path | None, progress: Any) -> tuple[bytes, dict[str, Any]]:
    """A plan in fp16 of a folded graph for 1 to `largest` images, and what it took.

    `cache` is a file of timings of earlier builds, which make this one short; those of this one are added to it.
    """
    from generator.engine.compile.base import Settings, ShapeRange
    from generator.engine.compile.tensorrt.compiler import TensorRT

    item = (SIDE, SIDE, 3)
    ranges = {"images": ShapeRange((1, *item), (min(64, largest), *item), (largest, *item))}
    compiler = TensorRT(limit_s=300.0)
    start = time.monotonic()
    known = cache.read_bytes() if cache is not None and cache.exists() else None
    made = compiler.compile(graph, Settings("fp16", [ranges], timing_cache=known), progress)
    if cache is not None and made.timing_cache:
        cache.write_bytes(made.timing_cache)
    return made.data, {
        "timings_known": known is not None,
        "build_s": compiler.seconds,
        "with_process_s": time.monotonic() - start,
        "facts": made.facts,
    }


def small(seed: int = 1) -> Any:
    """A network of the same inputs and outputs that a CPU runs in a millisecond."""
    from onnx import TensorProto, helper, numpy_helper

    lot = np.random.default_rng(seed)
    stem = numpy_helper.from_array((lot.standard_normal((16, 3, 7, 7)) * 0.1).astype(np.float32), "stem")
    head = numpy_helper.from_array(lot.standard_normal((16, 100)).astype(np.float32), "head")
    nodes = [
        helper.make_node("Conv", ["images", "stem"], ["c"], kernel_shape=[7, 7], strides=[16, 16]),
        helper.make_node("Relu", ["c"], ["r"]), helper.make_node("GlobalAveragePool", ["r"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]), helper.make_node("MatMul", ["f", "head"], ["logits"]),
    ]  # fmt: skip
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 100])
    return _model(nodes, "small", [images], [logits], [stem, head])


def small_embeddings(seed: int = 2) -> Any:
    """input_ids, attention_mask INT32 [n, 128] -> embedding FP32 [n, 384]: a table and a sum."""
    from onnx import TensorProto, helper, numpy_helper

    lot = np.random.default_rng(seed)
    table = numpy_helper.from_array(lot.standard_normal((1000, WIDTH)).astype(np.float32), "table")
    last, axes = (
        numpy_helper.from_array(np.array([axis], np.int64), name) for axis, name in ((2, "last"), (1, "one"))
    )
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "one"], ["embedding"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", TOKENS])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
    return _model(nodes, "small_embeddings", inputs, [output], [table, last, axes])


def _model(nodes: list[Any], name: str, inputs: list[Any], outputs: list[Any], weights: list[Any]) -> Any:
    from onnx import helper

    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_tokens(file: Path, to: Path) -> Path:
    """A text model's ONNX file with its open length said: TOKENS, as everything that it is given has here."""
    import onnx

    model = onnx.load(str(file))
    for info in model.graph.input:
        axis = info.type.tensor_type.shape.dim[1]
        axis.ClearField("dim_param")
        axis.dim_value = TOKENS
    onnx.save(model, str(to))
    return to


def images(count: int, seed: int) -> Array:
    """UINT8 [count, 224, 224, 3]: squares around a colour; each has its own colour, contrast and size of square.

    A network with random weights tells little else apart, and one image taken for another must show.
    """
    lot = np.random.default_rng(seed)
    found = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for number in range(count):
        grain = int(lot.choice((4, 7, 14, 28, 56)))
        few = lot.normal(lot.uniform(0, 255, 3), lot.uniform(2, 120), (SIDE // grain, SIDE // grain, 3))
        found[number] = np.clip(few, 0, 255).astype(np.uint8).repeat(grain, 0).repeat(grain, 1)
    return found


def photographs(count: int, seed: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels: smooth colours with some noise, about as large as photographs of this size."""
    import cv2

    lot = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        few = np.clip(lot.normal(lot.uniform(0, 255, 3), lot.uniform(5, 120), (12, 16, 3)), 0, 255).astype(np.uint8)
        smooth = cv2.resize(few, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = np.clip(smooth + lot.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
        done, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 88])
        if not done:
            raise ValueError("OpenCV cannot write a JPEG")
        found.append(data.tobytes())
    return found


def texts(count: int, seed: int) -> dict[str, Array]:
    """Tokens of texts that fill the whole length: INT32 [count, 128] each."""
    lot = np.random.default_rng(seed)
    ids = lot.integers(5, 1000, (count, TOKENS)).astype(np.int32)
    return {"input_ids": ids, "attention_mask": np.ones((count, TOKENS), np.int32)}


def apart_of_top(found: Mapping[str, Array], scores: Array) -> float:
    """How far an answer's five best are from all classes' scores [n, classes]: the largest difference of a score, of
    an answer's own to its class's and of its fifth to the true fifth; infinite for one that is out of order."""
    label, score = found["label_index"], found["score"].astype(np.float64)
    true = np.sort(scores, axis=1)[:, ::-1][:, :TOP]
    if label.min() < 0 or label.max() >= scores.shape[1] or (np.diff(score, axis=1) > 1e-6).any():
        return float("inf")
    if any(len(set(row)) < TOP for row in label.tolist()):
        return float("inf")
    own = np.take_along_axis(scores, label.astype(np.int64), axis=1)
    return float(max(np.abs(score - own).max(), np.abs(score - true).max()))
