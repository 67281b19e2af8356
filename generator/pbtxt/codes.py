"""The stable codes of what the server's parser refuses in a config.pbtxt."""

from __future__ import annotations

SYNTAX = "TK501"  # titled where it was first given: generator.lint
UNCLOSED = "TK510"
UNKNOWN_FIELD = "TK511"
TWICE = "TK512"
ONE_OF = "TK513"
WRONG_TYPE = "TK514"
NOT_A_CHOICE = "TK515"
OUT_OF_RANGE = "TK516"
OPEN_TEXT = "TK517"
ESCAPE = "TK518"
NOT_UTF8 = "TK519"
SAME_KEY = "TK520"
TOO_MANY = "TK521"

CODES: dict[str, str] = {
    UNCLOSED: "A bracket of a config.pbtxt is not closed, or closes nothing",
    UNKNOWN_FIELD: "A config.pbtxt has a field that its message does not know",
    TWICE: "A field of a config.pbtxt that takes one value is given twice",
    ONE_OF: "Two fields of a config.pbtxt exclude each other",
    WRONG_TYPE: "A value in a config.pbtxt is of the wrong type",
    NOT_A_CHOICE: "A value in a config.pbtxt is none of the choices",
    OUT_OF_RANGE: "A number in a config.pbtxt is out of its field's range",
    OPEN_TEXT: "A text in a config.pbtxt has no closing quote",
    ESCAPE: "A text in a config.pbtxt has a wrong escape",
    NOT_UTF8: "A text in a config.pbtxt is not UTF-8",
    SAME_KEY: "A map in a config.pbtxt has a key twice; the last one counts",
    TOO_MANY: "A config.pbtxt has more problems than are listed",
}
