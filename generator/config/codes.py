"""The stable codes of what can be wrong with a model's configuration."""

from __future__ import annotations

UNKNOWN_FIELD = "TK301"
WRONG_TYPE = "TK302"
NOT_A_CHOICE = "TK303"
OUT_OF_RANGE = "TK304"
ONE_OF = "TK305"
CONTRADICTION = "TK306"
NO_SUCH_ENTRY = "TK307"
BAD_KEY = "TK308"
TOO_NEW = "TK309"
NO_BACKEND = "TK310"
WRONG_SIDE = "TK311"
SAME_FILE_NAME = "TK312"

CODES: dict[str, str] = {
    UNKNOWN_FIELD: "Triton's ModelConfig has no such field",
    WRONG_TYPE: "A value of the wrong type for its ModelConfig field",
    NOT_A_CHOICE: "A value that its ModelConfig field does not know",
    OUT_OF_RANGE: "A number that its ModelConfig field cannot hold",
    ONE_OF: "Two ModelConfig fields that exclude each other",
    CONTRADICTION: "`config` contradicts what the spec says elsewhere",
    NO_SUCH_ENTRY: "An entry of `config` that fits no tensor of the model",
    BAD_KEY: "A key that its ModelConfig field cannot have",
    TOO_NEW: "A ModelConfig field that the target's server does not know yet",
    NO_BACKEND: "Nothing says which backend runs the model",
    WRONG_SIDE: "A property that only inputs, or only outputs, have",
    SAME_FILE_NAME: "Two files of a model would have the same name",
}
