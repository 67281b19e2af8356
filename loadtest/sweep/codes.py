"""The stable codes of what keeps a sweep from being made, or from being believed."""

CODES = {
    "TK880": "There is no such thing to sweep over",
    "TK881": "The values to sweep over cannot be read",
    "TK882": "A value to sweep over is none that Triton or the spec takes",
    "TK883": "The model has no dynamic batching to sweep",
    "TK884": "Which model to sweep is not clear",
    "TK885": "A sweep needs an objective",
    "TK886": "The server does not serve what was asked of it",
    "TK887": "The sweep cannot be resumed",
    "TK888": "The budget is too small for the sweep",
    "TK889": "The choice cannot be written into the spec",
}
