"""Requests that the server lets through and a model cannot run: without a batch axis, or an input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime import parameters
from tritonkit_runtime.execution import Failure, execute
from tritonkit_runtime.programs import Program

SUM = """
class Sum:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        return {"sum": tensors["a"].sum(axis=1, keepdims=True) + tensors["b"].sum(axis=1, keepdims=True)}
"""
RANKS = {"a": 2, "b": 2}
NO_AXIS = Failure("input 'a' has a batch axis of length 0; a request holds at least one item", from_client=True)


@pytest.fixture
def sums(tmp_path: Path, document: Callable[..., dict[str, Any]]) -> Program:
    """Adds up a FP32 [2] and b FP32 [3]."""
    (tmp_path / "sum.py").write_text(SUM)
    tensors = [{"name": name, "dtype": "FP32", "dims": [size]} for name, size in (("a", 2), ("b", 3), ("sum", 1))]
    program = {"kind": "python", "class": "Sum", "file": "sum.py", "parameters": {}}
    fields = document(inputs=tensors[:2], outputs=tensors[2:], program=program)
    return Program(parameters.parse(fields), tmp_path, print)


def request(*shape: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"a": np.ones((*shape, 2), np.float32), "b": np.ones((*shape, 3), np.float32)}


def test_a_request_without_its_batch_axis_spoils_no_other(sums: Program) -> None:
    # Taken for batches, these have 2 items and 3: nothing could be put together from them.
    first, bad, last = execute(sums, [request(1), request(), request(2)], True, RANKS)
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert (first["sum"].tolist(), last["sum"].tolist()) == ([[5.0]], [[5.0], [5.0]])
    assert bad == NO_AXIS


def test_such_requests_alone_get_the_same(sums: Program) -> None:
    assert execute(sums, [request(), request()], True, RANKS) == [NO_AXIS, NO_AXIS]


def test_a_request_without_an_input_that_is_not_optional_spoils_no_other(sums: Program) -> None:
    """With an optional one instead: the server counts inputs, and no more."""
    without = {"b": np.ones((1, 3), np.float32), "other": np.ones((1, 1), np.float32)}
    first, bad = execute(sums, [request(1), without], True, RANKS, ("a", "b"))
    assert isinstance(first, dict)
    assert bad == Failure("input 'a' is missing; it is not optional", from_client=True)
