"""The stable codes of this stage."""

CODES = {
    "TK930": "What should stay in fp32 is not in the graph",
    "TK931": "A weight is NaN",
    "TK932": "The graph cannot be lowered to this precision",
    "TK933": "Nothing is left to quantise",
    "TK934": "A tensor of a layer that is quantised has no range",
    "TK935": "ModelOpt is not installed, or failed",
    "TK936": "No set of layers is good enough",
}
