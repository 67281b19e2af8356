"""Answers each item with itself; refuses items that start with b"bad", raises at b"crash"."""

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """A batch is a list of requests, each with one or more items."""

    def execute(self, requests):
        """One response a request, errors included."""
        return [self._answer(pb.get_input_tensor_by_name(r, "data").as_numpy()) for r in requests]

    def _answer(self, data):
        items = [bytes(value) for value in data[:, 0]]
        if any(item.startswith(b"crash") for item in items):
            raise ValueError("the model met an item that it cannot bear")
        if any(item.startswith(b"bad") for item in items):
            message = f"cannot decode {items[0][:8].decode('latin-1')}: not an image"
            return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))
        sizes = np.array([[len(item)] for item in items], dtype=np.int64)
        text = np.array([[item[:32]] for item in items], dtype=np.object_)
        scores = np.array([[len(item), 0.5, -1.0] for item in items], dtype=np.float32)
        tensors = [pb.Tensor("text", text), pb.Tensor("size", sizes), pb.Tensor("score", scores)]
        return pb.InferenceResponse(tensors)
