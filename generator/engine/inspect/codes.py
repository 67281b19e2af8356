"""The stable codes of this stage."""

CODES = {
    "TK900": "The model's file cannot be read",
    "TK901": "The file is not an ONNX model",
    "TK902": "The ONNX file is damaged",
    "TK903": "The data beside an ONNX file is not there or cannot be used",
    "TK904": "The data beside an ONNX file has another size",
    "TK905": "An operator of a domain that no engine knows",
    "TK906": "The model is newer than the engine",
    "TK907": "The graph breaks ONNX's rules",
    "TK908": "The graph has no batch axis",
    "TK909": "Control flow in the graph",
    "TK910": "A length that does not fit the graph",
    "TK911": "An operator that the engine lacks or runs badly",
    "TK912": "A tensor type that the engine lacks",
    "TK913": "The shape of a result depends on the data",
    "TK914": "The engine gives another type than the graph says",
    "TK915": "An operator that is delicate in this precision",
    "TK916": "UINT8 that is not cast first",
    "TK917": "Weights that this precision cannot hold",
}
