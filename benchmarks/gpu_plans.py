"""The graphs and plans that scripts/on_a_gpu.py measures with, made where they are measured.

    python3.11 benchmarks/gpu_plans.py FOLDER                                       all of them, two minutes or more
    CUDA_VISIBLE_DEVICES=1 python3.11 benchmarks/gpu_plans.py FOLDER --only texts   those on a GPU of their own

On a machine with a GPU, TensorRT 8.6 and onnx. ResNet-50 and the network of the sentence embeddings, both with random
weights (for speed alone): the graphs in FP32, plans in FP16 that take UINT8 pixels with all steps in the graph
(`folded`), FP32 pixels (`plain`) and tokens (`texts`). A plan appears whole or not at all; what each took is in
<name>.json beside it. `<name>.cache` keeps TensorRT's timings: where one is there already, the next build is short.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

import gpu_served_graphs as graphs
import numpy as np
from engines_gpu_plans import say
from engines_gpu_prepare import resnet50

from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.errors import StageError

SEED, WORDS, POSITIONS = 51, 30_522, 512
WORD_SCALE, POSITION_SCALE = 0.05, 0.02
LIMIT_S = 400.0  # of one build


@dataclass(frozen=True)
class Made:
    """One plan: whose graph, how that is made, the shapes that it takes, and whose timings help."""

    graph: str
    make: Callable[[], bytes]
    profiles: tuple[Profile, ...]
    like: str = ""


def embeddings(seed: int = SEED) -> bytes:
    """The sentence embeddings' graph (models/embeddings_graph.py) with random weights."""
    from embeddings_graph import LAYERS, WIDTH, embeddings_model

    lot = np.random.default_rng(seed)

    def some(*shape: int, scale: float) -> Any:
        return lot.standard_normal(shape, np.float32) * np.float32(scale)

    weights = {
        "embeddings.word_embeddings.weight": some(WORDS, WIDTH, scale=WORD_SCALE),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH, scale=POSITION_SCALE),
        "embeddings.position_embeddings.weight": some(POSITIONS, WIDTH, scale=POSITION_SCALE),
    }
    dense = {}
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        dense |= {f"{layer}.attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (WIDTH, WIDTH), f"{layer}.output.dense": (WIDTH, 4 * WIDTH)}
        dense[f"{layer}.intermediate.dense"] = (4 * WIDTH, WIDTH)
    for name, (wide, inside) in dense.items():
        weights[f"{name}.weight"] = some(wide, inside, scale=inside**-0.5)
        weights[f"{name}.bias"] = some(wide, scale=0.02)
    norms = ["embeddings.LayerNorm"]
    norms += [f"encoder.layer.{i}.{part}.LayerNorm" for i in range(LAYERS) for part in ("attention.output", "output")]
    for name in norms:
        weights |= {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": some(WIDTH, scale=0.02)}
    return bytes(embeddings_model(weights).SerializeToString(deterministic=True))


def all_of(largest: int) -> dict[str, Made]:
    """Every plan by its name, those first that help others."""

    def sizes(item: tuple[int, ...]) -> ShapeRange:
        return ShapeRange((1, *item), (min(64, largest), *item), (largest, *item))

    most = min(64, largest)
    tokens = ShapeRange((1, 16), (min(32, most), graphs.TOKENS), (most, 2 * graphs.TOKENS))
    pixels = (graphs.SIDE, graphs.SIDE, 3)
    return {
        "plain": Made("resnet50", plain, ({"images": sizes((3, *pixels[:2]))},)),
        "folded": Made("resnet50", lambda: graphs.folded(resnet50()), ({"images": sizes(pixels)},), like="plain"),
        "texts": Made("embeddings", embeddings, ({"input_ids": tokens, "attention_mask": tokens},)),
    }


def plain() -> bytes:
    """ResNet-50 as it is exported."""
    return bytes(resnet50().SerializeToString(deterministic=True))


def whole(file: Path, data: bytes) -> None:
    """Writes a file that nobody sees half of."""
    beside = file.with_name(f".{file.name}")
    beside.write_bytes(data)
    beside.replace(file)


def build(folder: Path, name: str, made: Made) -> dict[str, Any]:
    """One plan, and what it took. Raises StageError."""
    start = time.monotonic()
    graph = made.make()
    if name != "folded":
        whole(folder / f"{made.graph}.fp32.onnx", graph)
    caches = [folder / f"{word}.cache" for word in (name, made.like) if word]
    known = next((cache for cache in caches if cache.exists()), None)
    compiler = TensorRT(limit_s=LIMIT_S)
    cache = known.read_bytes() if known else None
    found = compiler.compile(graph, Settings("fp16", list(made.profiles), timing_cache=cache), say)
    if found.timing_cache:
        whole(folder / f"{name}.cache", found.timing_cache)
    whole(folder / f"{name}.plan", found.data)
    return {
        "build_s": compiler.seconds, "with_process_s": time.monotonic() - start, "bytes": len(found.data),
        "timings_of": known.name if known else None, "facts": found.facts,
    }  # fmt: skip


def main() -> int:
    """Makes what is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="plain,folded,texts")
    parser.add_argument("--largest", type=int, default=128, help="largest batch")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted, status = options.only.split(","), 0
    for name, made in all_of(options.largest).items():
        if name not in wanted or (options.folder / f"{name}.plan").exists():
            continue
        try:
            told = build(options.folder, name, made)
        except StageError as error:
            told, status = {"failed": [[f.code, f.message, f.hint] for f in error.findings]}, 1
        whole(options.folder / f"{name}.json", (json.dumps(told, indent=1) + "\n").encode())
        say(f"{name}: {json.dumps(told)[:300]}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
