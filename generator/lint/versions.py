"""Which versions of a model the server would load, and where they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from generator.lint.files import Folder
    from generator.lint.model import Model

# Directories that the server knows as something else.
OTHERS = ("warmup", "initial_state", "configs")
# What C++'s stoll makes of a name: it takes the number at the beginning, of ASCII alone, and no more.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_LARGEST = 2**63


class Version(NamedTuple):
    """A version and its directory, which need not be there: the server takes `1_bak` for version 1, and looks
    into `1`."""

    number: int
    folder: Folder


def number_of(name: str) -> int | None:
    """The version that the server takes a directory of that name for; None where it passes it over.

    A number that does not fit into 64 bits ends the server (`is_too_large`).
    """
    if name in OTHERS or (len(name) > 1 and name[0] == "0"):
        return None
    found = _NUMBER.match(name)
    return int(found[1]) if found else None


def is_too_large(number: int) -> bool:
    """Whether the number overflows what the server keeps it in."""
    return not -_LARGEST <= number < _LARGEST


def version_numbers(folder: Folder) -> list[int]:
    """The versions that the server finds in a model's directory, the newest first."""
    numbers = {number_of(name) for name, is_folder in folder.entries.items() if is_folder}
    return sorted((n for n in numbers if n is not None and not is_too_large(n)), reverse=True)


def served_versions(model: Model) -> list[Version]:
    """Those that the version policy leaves, the newest first. `version_policy {}` leaves all, no policy one."""
    numbers, policy = model.versions, model.config.version_policy
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "specific":
        wanted = set(policy.specific.versions)
        numbers = [number for number in numbers if number in wanted]
    elif chosen == "latest":
        numbers = numbers[: policy.latest.num_versions]
    elif not model.config.HasField("version_policy"):
        numbers = numbers[:1]
    # The server writes the number anew, and a negative one as if it had no sign.
    return [Version(number, model.folder.folder(str(number % 2**64))) for number in numbers]
