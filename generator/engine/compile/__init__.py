"""ONNX → what a server loads: an ONNX file for ONNX Runtime, a TensorRT plan, an Inductor package."""
