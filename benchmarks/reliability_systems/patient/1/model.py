"""Answers after the seconds that its input names."""

from __future__ import annotations

import time
from typing import Any

import triton_python_backend_utils as pb


class TritonPythonModel:
    """One request at a time."""

    def execute(self, requests: Any) -> list[Any]:
        """One response a request."""
        responses = []
        for request in requests:
            seconds = pb.get_input_tensor_by_name(request, "seconds").as_numpy()
            time.sleep(float(seconds[0]))
            responses.append(pb.InferenceResponse([pb.Tensor("slept", seconds)]))
        return responses
