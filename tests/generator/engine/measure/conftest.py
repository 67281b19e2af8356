"""The digits model."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def digits_graph() -> bytes:
    return (Path(__file__).parents[4] / "models" / "digits.onnx").read_bytes()
