"""What an object on the cluster becomes when a release is upgraded: Helm's three-way merge, done here to show it.

What the release had and has no more is removed, what it has is set, and what others wrote beside it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Lists that the API merges by a key of their items, and does not exchange as a whole.
_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey",),
}
# Of these no key stays that the release does not name: a volume that was an emptyDir is not a claim as well.
_WHOLE = frozenset({"volumes", "strategy", "updateStrategy"})
_BUILT_IN = ("", "apps", "batch", "autoscaling", "policy")


def merged(live: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The object that takes the place of `live` when the release changes from `old` (empty: it was not in it)
    to `new`. None of the three is changed."""
    group = str(new.get("apiVersion", "")).rpartition("/")[0]
    by_items = group in _BUILT_IN or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")
    result = _mapping(live, old, new, by_items=by_items)
    result["apiVersion"] = new.get("apiVersion")
    return result


def _mapping(
    live: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], *, by_items: bool
) -> dict[str, Any]:
    result = {name: value for name, value in live.items() if name in new or name not in old}
    for name, value in new.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _value(name, live.get(name), old.get(name), value, by_items=by_items)
    return result


def _value(name: str, live: Any, old: Any, new: Any, *, by_items: bool) -> Any:
    if isinstance(new, Mapping):
        if not isinstance(live, Mapping):
            return {key: value for key, value in new.items() if value is not None}
        result = _mapping(live, old if isinstance(old, Mapping) else {}, new, by_items=by_items)
        return {key: value for key, value in result.items() if key in new} if name in _WHOLE else result
    key = _key_of(name, live, new) if by_items else None
    return new if key is None else _list(name, key, live, old if isinstance(old, list) else [], new)


def _key_of(name: str, live: Any, new: Any) -> str | None:
    """The key by which both lists' items are told apart, if there is one."""
    for key in _KEYS.get(name, ()) if isinstance(live, list) and isinstance(new, list) else ():
        if all(isinstance(item, Mapping) and key in item for item in (*live, *new)):
            values = [item[key] for item in new]
            return key if len(set(map(str, values))) == len(values) else None
    return None


def _list(name: str, key: str, live: Sequence[Any], old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    lives = {str(item[key]): item for item in live}
    olds = {str(item[key]): item for item in old if isinstance(item, Mapping) and key in item}
    result = []
    for item in new:
        there = lives.pop(str(item[key]), {})
        became = _mapping(there, olds.get(str(item[key]), {}), item, by_items=True)
        result.append({k: v for k, v in became.items() if k in item} if name in _WHOLE else became)
    return result + [item for value, item in lives.items() if value not in olds]
