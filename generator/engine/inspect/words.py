"""Parts of sentences."""

from __future__ import annotations

import re

_SHOWN = 5
_ONNX_RUNTIME = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
# A line of its source and the whole C++ function: the sentence behind it begins with a capital letter.
_SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ .*\)(?: const)? (?=[A-Z])")


def one_line(error: object) -> str:
    """What another library says, on one line and no longer than can be read."""
    text = " ".join(str(error).partition("==> Context")[0].split()).rstrip(".")
    text = _SOURCE.sub("", _ONNX_RUNTIME.sub("", text))
    return text if len(text) <= 300 else f"{text[:297]}..."


def listed(names: list[str]) -> str:
    """A few of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:_SHOWN]) + more


def amount(count: int | None) -> str:
    """A count as people read it: `7.91 M`; `unknown` of None."""
    return "unknown" if count is None else _scaled(count, ("", " k", " M", " G", " T", " P", " E"))


def size(count: int | None) -> str:
    """Bytes as people read them: `163 kB`; `unknown` of None."""
    return "unknown" if count is None else _scaled(count, (" B", " kB", " MB", " GB", " TB", " PB", " EB"))


def _scaled(count: int, units: tuple[str, ...]) -> str:
    value, place = float(count), 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.0f}{units[0]}" if not place else f"{value:.3g}{units[place]}"
