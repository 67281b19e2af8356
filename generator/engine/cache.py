"""Results of stages kept by the hash of everything that they depend on, so that a build repeats only what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from generator.whole_file import write_whole

FOLDER = "build/engines"
T = TypeVar("T")


def key_of(facts: Mapping[str, Any]) -> str:
    """The SHA-256 of facts that JSON can hold, in any order."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """Files below `root`, one a stage and key. With `fresh` nothing is read, only written."""

    root: Path
    fresh: bool = False

    def value(
        self, stage: str, facts: Mapping[str, Any], make: Callable[[], bytes], read: Callable[[bytes], T]
    ) -> T:  # fmt: skip
        """What `read` makes of the bytes that `make` gave for the same facts before, or gives now.

        A file that cannot be kept is no failure, and one that was kept and cannot be read is made anew.
        """
        path = self.root / stage / key_of(facts)
        if not self.fresh:
            try:
                return read(path.read_bytes())
            except Exception:  # noqa: BLE001, S110  (there is none, or whatever a damaged one leads to)
                pass
        data = make()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError:
            pass
        return read(data)

    def json(self, stage: str, facts: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """The same for what JSON can hold."""
        return self.value(stage, facts, lambda: json.dumps(make(), sort_keys=True).encode(), json.loads)
