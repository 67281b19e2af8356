"""The stable codes of this stage."""

CODES = {
    "TK970": "The gate set cannot be used",
    "TK971": "FP32 itself misses the accuracy floor",
    "TK972": "The engine misses the accuracy floor",
    "TK973": "The engine loses more accuracy than is allowed",
    "TK974": "The engine's outputs differ from FP32's by more than is allowed",
    "TK975": "The engine's outputs hold NaN or Inf",
    "TK976": "The engine fails at a shape that it was built for",
    "TK977": "An answer depends on its neighbours in the batch",
    "TK978": "The engine cannot run",
    "TK979": "The engine's outputs are not those of the FP32 graph",
}
