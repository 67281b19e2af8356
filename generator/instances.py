"""Where the instances of a model run: read here alone, in the spec's words or in Triton's own (`config`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.spec.serving import InstanceGroup

ON_A_GPU = frozenset({"gpu", "auto"})  # kinds of instances
_KINDS = {"KIND_CPU": "cpu", "KIND_GPU": "gpu", "KIND_AUTO": "auto", "KIND_MODEL": "model"}


@dataclass(frozen=True)
class Group:
    """Instances of a model: `kind` in the spec's words, `count` on each GPU, `gpus` their numbers (none: all)."""

    kind: str
    count: int
    gpus: tuple[int, ...]


def groups_of(own: Sequence[InstanceGroup], config: Mapping[str, Any]) -> Iterator[Group]:
    """Those that `config` has in Triton's own words, where it has any there; else the spec's `own`.

    What Triton does not know is left out: rendering refuses it, or the server.
    """
    if "instance_group" not in config:
        for group in own:
            yield Group(group.kind, group.count, tuple(group.gpus))
        return
    said = config["instance_group"]
    for one in said if isinstance(said, list) else ():
        if (found := in_tritons_words(one)) is not None:
            yield found


def in_tritons_words(said: object) -> Group | None:
    """One group; without a kind it is Triton's to choose, without a count one instance. None for what is no group."""
    if not isinstance(said, Mapping):
        return None
    kind, count, gpus = said.get("kind", "KIND_AUTO"), said.get("count", 1), said.get("gpus", [])
    if not (isinstance(kind, str) and kind in _KINDS and _is_whole(count)):
        return None
    if not (isinstance(gpus, list) and all(_is_whole(number) and number >= 0 for number in gpus)):
        return None
    return Group(_KINDS[kind], max(1, count), tuple(gpus))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
