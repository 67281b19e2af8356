"""Which steps the kernel can take over, told from their names and parameters alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tritonkit_runtime.preprocess.source import METHODS

_AFTER = ("normalize", "cast", "channels_first", "reshape")


def why_not(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What keeps the steps (name, parameters) from being one kernel, as part of a sentence; empty if nothing does.

    It takes `decode` (which is no part of the kernel) or none, `resize`, then any of `normalize`, `cast`,
    `channels_first` and `reshape`.
    """
    names = [name for name, _ in steps]
    at = 1 if names[:1] == ["decode"] else 0
    if names[at : at + 1] != ["resize"]:
        return "they do not begin with `resize`, or `decode` and `resize`"
    method = steps[at][1].get("method")
    if method not in METHODS:
        return f"`resize` by method `{method}` has no kernel (there are {', '.join(METHODS)})"
    after = steps[at + 1 :]
    if unknown := [name for name, _ in after if name not in _AFTER]:
        return f"`{unknown[0]}` has no kernel"
    if names.count("channels_first") > 1:
        return "`channels_first` is there twice"
    reshaped = False
    for name, parameters in after:
        if reshaped and name == "channels_first":
            return "`channels_first` stands after `reshape`"
        per_channel = any(isinstance(parameters.get(word), Sequence) for word in ("mean", "std"))
        if reshaped and name == "normalize" and per_channel:
            return "`normalize` with a number a channel stands after `reshape`"
        reshaped = reshaped or name == "reshape"
    return ""
