"""The digits model, its gate set, and ways to spoil it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from generator.engine.runner import OnnxRunner, Samples

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def graph() -> bytes:
    return (ROOT / "models" / "digits.onnx").read_bytes()


@pytest.fixture(scope="session")
def gate_set() -> dict[str, np.ndarray]:
    with np.load(ROOT / "data" / "digits-gate.npz") as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="session")
def samples(gate_set: dict[str, np.ndarray]) -> Samples:
    pixels = (gate_set["image"][:, None] / 255).astype(np.float32)
    return Samples(tuple({"pixels": pixels[i : i + 32]} for i in range(0, len(pixels), 32)), "gate")


@pytest.fixture(scope="session")
def labels(gate_set: dict[str, np.ndarray]) -> np.ndarray:
    return gate_set["labels"]


@pytest.fixture(scope="session")
def fp32(graph: bytes) -> OnnxRunner:
    return OnnxRunner(graph, optimise=False, threads=1)
