"""The stable codes of this stage."""

CODES: dict[str, str] = {
    "TK920": "Layout `folded` finds nothing to fold",
    "TK921": "A step stays outside the engine's graph",
    "TK922": "Steps cannot be folded into a graph of this opset",
    "TK923": "Steps cannot be folded at this tensor of the graph",
    "TK924": "Layout `folded` without an engine",
    "TK925": "The field has no effect in layout `folded`",
    "TK926": "There is no suppression that TensorRT's plugin could do",
}
