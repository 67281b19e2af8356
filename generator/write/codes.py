"""The codes of everything that can be wrong when a repository is written."""

from __future__ import annotations

CODES: dict[str, str] = {
    "TK401": "a path leads through a symbolic link",
    "TK402": "something that was not generated is in the way",
    "TK403": "a model belongs to another pipeline",
    "TK404": "no permission",
    "TK405": "the disk is full",
    "TK406": "the file system is read-only",
    "TK407": "the repository is not a directory",
    "TK408": "the operating system refused",
    "TK409": "the repository is in use",
    "TK410": "the manifest or the journal cannot be read",
    "TK411": "a generated file that was edited by hand is overwritten",
    "TK412": "a generated file that was edited by hand is not pruned",
    "TK413": "names differ only in upper and lower case",
    "TK414": "a file name is not valid",
    "TK415": "a leftover could not be removed",
}
