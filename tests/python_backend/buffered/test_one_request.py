"""A request alone: how much of the runtime it goes through. With one in flight that is what it costs.

Between two such requests the core sleeps and forgets: a function costs far more than in a loop, and it is the number
of functions that counts.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from exchange_models import TOTAL, K, Load, X, Y, engine, model, of, request, right, stage

import tritonkit_runtime

MOST_CALLS = 36  # seen: 24 to 32; it has been 98 to 134
FLOW = {"kind": "flow", "stages": [stage("engine", engine(), [X, K], [Y, TOTAL])]}
FLOW_DEVICE = {"kind": "flow", "stages": [stage("engine", engine(inputs="device"), [X, K], [Y, TOTAL])]}


def is_the_runtimes(frame: FrameType) -> bool:
    """Whether a call is of the runtime, and not made by the fake device's engine, which computes while it is waited for."""
    [runtime] = tritonkit_runtime.__path__
    caller: FrameType | None = frame
    while caller is not None and not caller.f_code.co_filename.endswith(("fake_device.py", "fake_engine.py")):
        caller = caller.f_back
    return caller is None and frame.f_code.co_filename.startswith(runtime)


@pytest.mark.parametrize(
    "program", [engine(), engine(inputs="device"), FLOW, FLOW_DEVICE], ids=["alone", "alone-dlpack", "flow", "dlpack"]
)
def test_a_request_alone_calls_few_functions(load: Load, program: dict[str, Any]) -> None:
    loaded = load(model(program))
    x, k = of(1, 0)
    asked = [request(loaded, x, k, 0) for _ in range(3)]
    loaded.execute(asked[0])
    calls: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and is_the_runtimes(frame):
            calls.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        [response] = loaded.execute(asked[1])
    finally:
        sys.setprofile(None)
    assert response.error is None
    np.testing.assert_array_equal(response.output_tensors[0].read(), right(x, k))
    assert 10 < len(calls) <= MOST_CALLS, " ".join(calls)
