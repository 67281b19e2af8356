"""Runs the network in ONNX Runtime, one request after the other. (The server's wheel has no ONNX backend.)"""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """pixels FP32 [1, 3, 224, 224] -> logits FP32 [1, 10]."""

    def initialize(self, args):
        """One thread, as in the other systems: the default takes every core and waits in a loop."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        """One response a request."""
        responses = []
        for request in requests:
            pixels = pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy()
            logits = self.session.run(["logits"], {"pixels": pixels})[0]
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)]))
        return responses
