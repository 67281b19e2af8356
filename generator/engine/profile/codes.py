"""The stable codes of this stage."""

CODES = {
    "TK918": "The model cannot be run to be profiled",
    "TK919": "TensorRT's description of an engine cannot be read",
}
