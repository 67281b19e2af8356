"""Made-up specs for benchmarks/render.py: seeded, each unlike the others in all that a spec may say."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIZES = (8, 16, 28, 32, 64, 96, 128, 160, 192, 224)
CLASSES = (10, 100, 1000)
EXTRAS: tuple[dict[str, object], ...] = (
    {}, {}, {"warmup": [{"name": "w", "inputs": {"pixels": {"zero": True}}}]}, {"parameters": {"own": "0.5"}},
)  # fmt: skip


def make_project(root: Path, count: int, seed: int) -> None:
    """A project with `count` specs of the short form (pre-processing, engine, post-processing, the ensemble)."""
    for folder in ("specs", "models", "data"):
        (root / folder).mkdir(parents=True)
    for size in SIZES:
        for channels, classes in itertools.product((1, 3), CLASSES):
            _onnx(root / "models" / f"net{size}x{channels}to{classes}.onnx", [channels, size, size], classes)
    for classes in CLASSES:
        (root / "data" / f"{classes}.labels").write_text("".join(f"class {n}\n" for n in range(classes)))
    for index in range(count):
        (root / "specs" / f"spec{index:05}.yaml").write_text(spec(index, seed))


def _onnx(file: Path, item: list[int], classes: int) -> None:
    """A graph with the right ends and 64 KiB of weights; it is read and copied, never run."""
    ends: dict[str, list[int | str]] = {"pixels": ["batch", *item], "logits": ["batch", classes]}
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in ends.items()}
    weights = helper.make_tensor("w", TensorProto.FLOAT, [16384], random.Random(classes).randbytes(65536), raw=True)  # noqa: S311
    nodes = [helper.make_node("Identity", ["pixels"], ["logits"])]
    graph = helper.make_graph(nodes, "g", [values["pixels"]], [values["logits"]], [weights])
    onnx.save(helper.make_model(graph), file)


def spec(index: int, seed: int) -> str:
    """One spec: its names, sizes, steps, batching, queue, instances, warm-up and parameters are drawn."""
    draw = random.Random(f"{seed} {index}")  # noqa: S311
    size, channels = draw.choice(SIZES), draw.choice((1, 3))
    classes, k, largest = draw.choice(CLASSES), draw.randint(1, 9), draw.randint(2, 128)
    image, label, score = (f"{word}_{draw.randrange(10**6)}" for word in ("image", "label", "score"))
    scale = [round(draw.uniform(1, 255), 2) for _ in range(channels)]
    after: list[object] = ["softmax"] if draw.random() < 0.7 else []
    top = {"k": k, "labels": f"data/{classes}.labels", "label_output": label, "score_output": score}
    data = {
        "name": f"pipeline-{index}-{draw.randrange(10**6)}",
        "description": f"Number {draw.randrange(10**9)}.",
        "objective": {"p99_ms": draw.randint(600, 900), "throughput_rps": draw.randint(1, 10**4)},
        "inputs": {image: {"type": "bytes"}},
        "outputs": {label: {"type": "string", "dims": [k]}, score: {"type": "fp32", "dims": [k]}},
        "model": {
            "onnx": f"models/net{size}x{channels}to{classes}.onnx",
            **(draw.choice(EXTRAS)),
        },
        "preprocess": [
            {"decode": {"to": "gray" if channels == 1 else "rgb"}},
            {"resize": {"size": [size, size], "method": draw.choice(["linear", "area", "cubic"])}},
            {"normalize": {"mean": [round(draw.uniform(0, 255), 2) for _ in scale], "std": scale}},
            "channels_first",
        ],
        "postprocess": [*after, {"top_k": top}],
        "batching": {
            "max_batch_size": largest,
            "preferred": sorted(draw.sample(range(1, largest + 1), 2)),
            "max_queue_delay_us": draw.randint(1, 5000),
            "queue": {"max_size": draw.randint(1, 999), "timeout_us": draw.randint(1, 10**6)},
        },
        "instances": [{"kind": "cpu", "count": draw.randint(1, 8)}],
    }  # fmt: skip
    lines = [f"{key}: {json.dumps(value)}" for key, value in data.items()]
    return "\n".join(lines) + "\n"
