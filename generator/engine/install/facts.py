"""What an engine.json says of the machine and the tools that an engine was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPILED, JUDGED_WITH = "compiled", "judged_with"


def facts_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """`gpu`, `compute_capability`, `version_compatible` and more: of the compiler; of an engine that was built
    elsewhere, of what has run it here. Empty where neither is known.
    """
    found = (manifest.get(COMPILED), manifest.get(JUDGED_WITH))
    return next((facts for facts in found if isinstance(facts, Mapping)), {})


def is_from_elsewhere(manifest: Mapping[str, Any]) -> bool:
    """Whether it was built elsewhere, and only judged here."""
    return not isinstance(manifest.get(COMPILED), Mapping) and isinstance(manifest.get(JUDGED_WITH), Mapping)
