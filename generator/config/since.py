"""Which ModelConfig fields a server does not know yet: its parser refuses a whole file for one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from generator.config import codes
from generator.config.descriptors import set_fields
from generator.problems import Place, Problem

Path = tuple[str | int, ...]

# The oldest release that is supported. All fields that are not below are as old as it: the protobuf inside the
# 24.10 server (2.51.0) is the one of tritonclient 2.51.0, field by field.
OLDEST = "24.10"

# Later fields, with all that is below them: the first release whose server knows them. Found by comparing
# model_config_pb2 of tritonclient's releases, 2.51.0 to 2.73.0; a client has the protobuf of its server's release.
SINCE = {
    # New in 2.52.0; the release notes of 24.11 name it.
    "model_metrics": "24.11",
    # Not in 2.62.0 (25.10), in 2.63.0 (25.11).
    "ensemble_scheduling.max_inflight_requests": "25.11",
}
# The fields on the way to them: nothing else has to be looked into.
_TOWARDS = {path[:end] for path in SINCE for end in range(1, len(path) + 1) if path[end : end + 1] in {"", "."}}


def since(path: str) -> str:
    """The first release that knows the field at `path`, such as `model_metrics.metric_control`."""
    words = path.split(".")
    for length in range(1, len(words) + 1):
        release = SINCE.get(".".join(words[:length]))
        if release is not None:
            return release
    return OLDEST


def check(message: Any, release: str, locate: Callable[[str], tuple[Place, str]]) -> list[Problem]:
    """One problem for each field of `message` that is newer than `release` (as in `24.10`).

    `locate` gives the position and the spec's name of a field. Releases compare as text: YY.MM.
    """
    found: list[Problem] = []
    for path in dict.fromkeys(set_paths(message)):
        first = SINCE.get(path)
        if first is not None and first > release:
            place, name = locate(path)
            text = f"`{path}` is known since Triton {first}; the target's server is {release}"
            found.append(Problem(codes.TOO_NEW, place, name, text, f"remove it, or use a server of {first} or later"))
    return found


def set_paths(message: Any, prefix: str = "") -> Iterator[str]:
    """The paths of fields that are set, of those that a later field is at or below."""
    for field, value in set_fields(message):
        path = prefix + field.name
        if path not in _TOWARDS:
            continue
        yield path
        if not field.is_message:
            continue
        if field.value is not None:
            entries = value.values() if field.value.is_message else ()
        else:
            entries = value if field.is_repeated else (value,)
        for entry in entries:
            yield from set_paths(entry, path + ".")
