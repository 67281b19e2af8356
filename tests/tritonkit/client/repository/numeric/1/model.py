"""Doubles a matrix and adds up counts and the lengths of words."""

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Each request is answered on its own."""

    def execute(self, requests):
        """One response a request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        matrix = pb.get_input_tensor_by_name(request, "matrix").as_numpy()
        total = pb.get_input_tensor_by_name(request, "counts").as_numpy().sum(axis=1, keepdims=True)
        words = pb.get_input_tensor_by_name(request, "words")
        if words is not None:
            total = total + sum(len(word) for word in words.as_numpy().ravel())
        tensors = [pb.Tensor("twice", matrix * 2), pb.Tensor("total", total.astype(np.int32))]
        return pb.InferenceResponse(tensors)
