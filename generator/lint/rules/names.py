"""Names that are no text."""

from __future__ import annotations

from collections.abc import Iterator

from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.rules.layout import is_text
from generator.problems import Place


@rule("TK617", WARNING, "python_backend stub_launcher.cc; gRPC carries names as UTF-8 (seen on 24.10)", local=True)
def name_is_no_text(model: Model) -> Iterator[Finding]:
    r"""The name of a model's directory is not UTF-8.

    The name goes to clients and to the Python backend as UTF-8. A Python model of such a name is refused; of any
    other kind nobody can ask for it by gRPC, and the server's list of its models cannot be read any more, for all
    models of it. Names of other files and directories do no harm.

    Bad:
        -- caf\xe9/config.pbtxt --
    Good:
        -- cafe/config.pbtxt --
    """
    if not is_text(model.name):
        # No name that is written can be that of the directory.
        severity = ERROR if model.completed.backend == "python" or model.config.name else None
        text = "the name of this directory is not UTF-8: no client can ask for the model"
        hint = "rename it, best to ASCII letters, digits, `_`, `-` and `.`"
        yield model.found("", text, hint, place=Place(model.folder.path), severity=severity)
