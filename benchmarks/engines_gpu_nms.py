"""TensorRT's EfficientNMS behind the detector, beside the pipeline's own step and the standard operator.

Part of benchmarks/engines_gpu.py: `prepare_cases` where the project is installed, `efficient_nms` on the GPU machine.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.compile.tensorrt.runner import TensorRTRunner, loaded

if TYPE_CHECKING:
    import numpy as np
    from engines_gpu_plans import Results

    Arrays = dict[str, np.ndarray[Any, Any]]

SCRIPT = Path(__file__).resolve().parent.parent / "models" / "make_detector.py"
CASES = ("efficient_nms", "efficient_nms_any_class")  # classes apart; all together
GRAPHS = {"plugin": ".onnx", "operator": ".standard.onnx"}
PRECISIONS = ("fp32", "fp16")
BATCHES = (1, 16)
ROUNDS, RUNS, SEED = 7, 15, 1
NEAR = 2.0  # pixels of 48: a box that is farther from all is another detection


def prepare_cases(folder: Path) -> None:
    """Writes the graphs of both cases, their inputs, and what the pipeline's `nms` step answers."""
    subprocess.run([sys.executable, str(SCRIPT), "--gpu-case", str(folder)], check=True)


def efficient_nms(folder: Path, results: Results) -> None:
    """Builds both graphs of both cases in fp32 and fp16, compares their answers, and times them."""
    for case in CASES:
        plans: dict[str, bytes] = {}
        for graph in GRAPHS:
            for precision in PRECISIONS:
                step = f"modes|efficient nms|{case}|{graph} {precision}"
                results.step(step, partial(_tried, folder, case, graph, precision, plans))
        results.step(f"modes|efficient nms|{case}|latency_us", partial(_latency, folder, case, plans))


def _tried(folder: Path, case: str, graph: str, precision: str, plans: dict[str, bytes]) -> dict[str, Any]:
    """One plan: how it differs from what the step answers, and what TensorRT says of the layers of suppression."""
    compiler = TensorRT(limit_s=150)
    data = (folder / f"{case}{GRAPHS[graph]}").read_bytes()
    made = compiler.compile(data, Settings(precision, _profiles()), lambda _text: None)
    inputs, expected = _case(folder, case)
    with loaded(made.data) as runner:
        answers = runner.run(inputs)
        alone = [runner.run({name: array[i : i + 1] for name, array in inputs.items()}) for i in range(4)]
        layers = runner.information()["Layers"]
    plans[f"{graph} {precision}"] = made.data
    apart = [differences({n: a[i : i + 1] for n, a in answers.items()}, one) for i, one in enumerate(alone)]
    return {
        "build_s": compiler.seconds,
        "facts": made.facts,
        "to_the_step": differences(answers, expected),
        "batch_1_to_batch_16": apart,
        "layers": [layer for layer in layers if "NMS" in str(layer) or "NonMaxSuppression" in str(layer)],
    }


def _profiles() -> list[Profile]:
    return [{"canvas": ShapeRange((1, 1, 48, 48), (16, 1, 48, 48), (16, 1, 48, 48))}]


def _case(folder: Path, case: str) -> tuple[Arrays, Arrays]:
    import numpy as np

    with np.load(folder / f"{case}.npz") as arrays:
        return {"canvas": arrays["canvas"]}, {name: arrays[name] for name in arrays.files if name != "canvas"}


def differences(answers: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Boxes [n, k, 4], label and score [n, k], count [n, 1] of two engines, where the order of equals says nothing.

    Scores are compared by rank. Then each expected detection gets the nearest one that nothing has yet, the nearest
    pairs first: `missing` and `more` are those without a partner within 2 pixels.
    """
    import numpy as np

    result: dict[str, Any] = {
        "items": len(expected["count"]), "detections": int(expected["count"].sum()),
        "items_of_another_count": int((answers["count"] != expected["count"]).sum()),
        "largest_count_difference": int(np.abs(answers["count"].astype(int) - expected["count"]).max()),
        "largest_score_difference": float(np.abs(answers["score"] - expected["score"]).max()),
        "largest_box_difference": 0.0, "other_labels": 0, "missing": 0, "more": 0,
        "falling": bool((np.diff(answers["score"], axis=1) <= 0).all()), "nothing_beyond_the_count": True,
    }  # fmt: skip
    for item in range(result["items"]):
        given, wanted = (int(some["count"][item, 0]) for some in (answers, expected))
        boxes, right = answers["boxes"][item, :given], expected["boxes"][item, :wanted]
        apart = np.abs(boxes[:, None] - right[None]).max(axis=2)
        pairs = 0
        while apart.size and apart.min() <= NEAR:
            place, other = np.unravel_index(int(apart.argmin()), apart.shape)
            result["largest_box_difference"] = max(result["largest_box_difference"], float(apart[place, other]))
            result["other_labels"] += int(answers["label"][item, place] != expected["label"][item, other])
            apart[place], apart[:, other] = np.inf, np.inf
            pairs += 1
        result["missing"] += wanted - pairs
        result["more"] += given - pairs
        beyond = any(answers[name][item, given:].any() for name in ("boxes", "label", "score"))
        result["nothing_beyond_the_count"] &= not beyond
    return result


def _latency(folder: Path, case: str, plans: Mapping[str, bytes]) -> dict[str, Any]:
    """All plans in turns, launched one by one: a graph whose shapes depend on the data cannot be recorded."""
    from engines_gpu_plans import interval, of_size

    inputs, _ = _case(folder, case)
    found: dict[str, dict[str, list[float]]] = {}
    order = [(plan, size) for plan in plans for size in BATCHES]
    shuffle = random.Random(SEED)  # noqa: S311 — an order, no secret
    with ExitStack() as stack:
        runners: dict[str, TensorRTRunner] = {n: stack.enter_context(loaded(plan)) for n, plan in plans.items()}
        for _ in range(ROUNDS):
            shuffle.shuffle(order)
            for plan, size in order:
                times = runners[plan].time_us(of_size(inputs, size), RUNS, warm_up=5)
                found.setdefault(plan, {}).setdefault(str(size), []).extend(times)
    return {plan: {size: interval(values) for size, values in sizes.items()} for plan, sizes in found.items()}
