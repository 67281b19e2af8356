"""The stable codes of this stage: TK950 to TK959 are TensorRT's, TK960 to TK969 the other engines'."""

CODES = {
    "TK950": "TensorRT cannot run here",
    "TK951": "TensorRT cannot take the graph",
    "TK952": "The profiles do not fit the graph",
    "TK953": "This TensorRT cannot do what is asked of it",
    "TK954": "Nothing says where to compute in the lower precision",
    "TK955": "TensorRT built no plan",
    "TK956": "This TensorRT has no kernels for the GPU",
    "TK957": "TensorRT's process crashed or took too long",
    "TK958": "A plugin library cannot be loaded",
    "TK959": "trtexec cannot build this",
    "TK960": "ONNX Runtime cannot load the graph",
    "TK961": "The engine's library is not here",
    "TK962": "Inductor cannot compile the model",
    "TK963": "Compiling took longer than its limit",
    "TK964": "The torch factory cannot be used",
}
