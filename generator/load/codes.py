"""The stable codes of what can be wrong with a YAML file and with the fields in it."""

from __future__ import annotations

FILE_NOT_FOUND = "TK101"
FILE_UNREADABLE = "TK102"
NO_FILES = "TK103"
FILE_TOO_LARGE = "TK104"
NOT_UTF8 = "TK105"
FORBIDDEN_CHARACTER = "TK106"
FILE_EMPTY = "TK107"
SYNTAX = "TK108"
TAB = "TK109"
NOT_A_MAPPING = "TK110"
DUPLICATE_KEY = "TK111"
KEY_NOT_TEXT = "TK112"
ANCHOR = "TK113"
TAG = "TK114"
SEVERAL_DOCUMENTS = "TK115"
TOO_DEEP = "TK116"
NUMBER = "TK117"
TOO_MANY = "TK118"

UNKNOWN_FIELD = "TK121"
MISSING_FIELD = "TK122"
WRONG_TYPE = "TK123"
NOT_A_CHOICE = "TK124"
OUT_OF_RANGE = "TK125"
WRONG_LENGTH = "TK126"
WRONG_FORM = "TK127"
BROKEN_RULE = "TK128"
NOT_VALID = "TK129"

CODES: dict[str, str] = {
    FILE_NOT_FOUND: "the file does not exist",
    FILE_UNREADABLE: "the file cannot be read",
    NO_FILES: "the directory holds no YAML files",
    FILE_TOO_LARGE: "the file is too large",
    NOT_UTF8: "the file is not UTF-8 text",
    FORBIDDEN_CHARACTER: "a character that YAML does not allow",
    FILE_EMPTY: "the file is empty",
    SYNTAX: "the YAML cannot be parsed",
    TAB: "a tab is used for indentation",
    NOT_A_MAPPING: "the document is not a mapping",
    DUPLICATE_KEY: "a key is written twice",
    KEY_NOT_TEXT: "a key is not text",
    ANCHOR: "an anchor, alias or merge key",
    TAG: "a YAML tag",
    SEVERAL_DOCUMENTS: "several documents in one file",
    TOO_DEEP: "nested too deeply",
    NUMBER: "a number that readers of YAML disagree on, or too large",
    TOO_MANY: "more problems than are listed",
    UNKNOWN_FIELD: "an unknown field",
    MISSING_FIELD: "a field is missing",
    WRONG_TYPE: "a value of the wrong type",
    NOT_A_CHOICE: "a value that is none of the choices",
    OUT_OF_RANGE: "a number out of range",
    WRONG_LENGTH: "too few or too many items or characters",
    WRONG_FORM: "text of the wrong form",
    BROKEN_RULE: "a value that breaks a rule of its field",
    NOT_VALID: "a value that is not valid",
}
