"""Decodes, resizes and normalises with Pillow and numpy, one request after the other."""

import io

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class TritonPythonModel:
    """image UINT8 [1, bytes] -> pixels FP32 [1, 3, 224, 224]."""

    def execute(self, requests):
        """One response a request."""
        responses = []
        for request in requests:
            encoded = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            image = Image.open(io.BytesIO(encoded[0].tobytes())).convert("RGB")
            image = image.resize((224, 224), Image.Resampling.BILINEAR)
            pixels = (np.asarray(image, dtype=np.float32) / 255.0 - MEAN) / STD
            pixels = np.ascontiguousarray(np.transpose(pixels, (2, 0, 1))[np.newaxis])
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("pixels", pixels)]))
        return responses
