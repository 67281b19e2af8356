"""The stable codes of what can be said when a repository is imported."""

from __future__ import annotations

CODES: dict[str, str] = {
    "TK801": "A directory of the repository has no config.pbtxt and is not imported",
    "TK802": "A model's directory has a name that a spec cannot say",
    "TK803": "A configuration would not come back as it is",
    "TK804": "A file of a model cannot be carried",
    "TK805": "Something of a model is left behind",
    "TK806": "Something that is there already is in the way of what is imported",
    "TK807": "An ensemble is carried in Triton's own words, because no `flow` says the same",
}
