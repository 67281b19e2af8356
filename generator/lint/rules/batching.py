"""Batching: preferred sizes, priorities, and the order of answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule

NEEDS = ("dynamic_batching",)
_SOURCE = "core model_config_utils.cc, ValidateModelConfig"
_DYNAMIC = "dynamic_batching"
_POLICY = f"{_DYNAMIC}.default_queue_policy"


def _preferred(model: Model) -> Iterator[tuple[str, int]]:
    """Every preferred batch size that is written, with its path."""
    for i, size in enumerate(model.config.dynamic_batching.preferred_batch_size):
        yield f"{_DYNAMIC}.preferred_batch_size[{i}]", size


@rule("TK630", ERROR, _SOURCE, local=True)
def preferred_size_below_one(model: Model) -> Iterator[Finding]:
    """A preferred batch size that is not positive.

    A batch has one item at least. To have no preferred sizes, leave the field out: the server then prefers batches of
    max_batch_size.

    Bad:
        dynamic_batching { preferred_batch_size: [ 0, 4 ] }
    Good:
        dynamic_batching { preferred_batch_size: [ 2, 4 ] }
    """
    for path, size in _preferred(model):
        if size <= 0:
            yield model.found(
                path, f"the preferred batch size is {size}; valid: 1 or more", "remove it or give a size"
            )


@rule("TK631", ERROR, _SOURCE)
def preferred_size_above_max(model: Model) -> Iterator[Finding]:
    """A preferred batch size above max_batch_size.

    The batcher never makes batches that are larger than max_batch_size, so it cannot prefer them. With
    `max_batch_size: 0` no preferred size is valid, even if the model's own code would raise it later.

    Bad:
        max_batch_size: 4
        dynamic_batching { preferred_batch_size: [ 4, 8 ] }
    Good:
        max_batch_size: 8
        dynamic_batching { preferred_batch_size: [ 4, 8 ] }
    """
    most = model.config.max_batch_size
    if most < 0:
        return
    for path, size in _preferred(model):
        if size > most:
            shown = most if model.text.tree.find("max_batch_size") is not None else "0 where it is not set"
            text = f"the preferred batch size {size} is above max_batch_size, which is {shown}"
            yield model.found(path, text, f"raise max_batch_size to {size}, or remove this size")


@rule("TK632", ERROR, _SOURCE)
def default_priority_out_of_range(model: Model) -> Iterator[Finding]:
    """Priority levels without a valid default level.

    Requests that name no priority get `default_priority_level`. With `priority_levels` above 0 it has to be one of
    the levels, 1 (the highest) up to their number; it has no default.

    Bad:
        dynamic_batching { priority_levels: 2 }
    Good:
        dynamic_batching { priority_levels: 2 default_priority_level: 2 }
    """
    batching = model.config.dynamic_batching
    levels, default = batching.priority_levels, batching.default_priority_level
    if not levels or 1 <= default <= levels:
        return
    valid = f"valid: 1 to {levels}" if levels > 1 else "valid: 1"
    if default:
        text = f"default_priority_level is {default}, and there are {levels} levels; {valid}"
        yield model.found(f"{_DYNAMIC}.default_priority_level", text, "choose one of the levels")
    else:
        text = f"priority_levels is {levels} without a default_priority_level; {valid}"
        yield model.found(f"{_DYNAMIC}.priority_levels", text, f"add `default_priority_level: {levels}`")


@rule("TK633", ERROR, _SOURCE)
def policy_of_no_level(model: Model) -> Iterator[Finding]:
    """A queue policy for a priority level that there is not.

    The keys of `priority_queue_policy` are levels: 1 (the highest) up to `priority_levels`. An entry without `key` is
    one of level 0.

    Bad:
        priority_queue_policy { key: 3 value { max_queue_size: 8 } }
    Good:
        priority_queue_policy { key: 2 value { max_queue_size: 8 } }
    """
    batching = model.config.dynamic_batching
    levels = batching.priority_levels
    for key in batching.priority_queue_policy if levels else ():
        if not 1 <= key <= levels:
            text = f"there is a queue policy for level {key}; valid: 1 to {levels}"
            path = _policy_path(key)
            if model.text.tree.find(path) is None:  # an entry without key
                path = f"{_DYNAMIC}.priority_queue_policy"
            yield model.found(path, text, "correct the key, or raise priority_levels")


def _policy_path(key: int) -> str:
    return f"{_DYNAMIC}.priority_queue_policy[{key}]"


@rule("TK634", ERROR, _SOURCE)
def ordered_levels(model: Model) -> Iterator[Finding]:
    """preserve_ordering with more than one priority level.

    With levels, a later request may overtake an earlier one; `preserve_ordering` promises that none does. The server
    takes it with one level at most.

    Bad:
        dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 2 }
    Good:
        dynamic_batching { priority_levels: 2 default_priority_level: 2 }
    """
    batching = model.config.dynamic_batching
    if batching.preserve_ordering and batching.priority_levels > 1:
        text = f"preserve_ordering goes with one priority level at most, here are {batching.priority_levels}"
        yield model.found(f"{_DYNAMIC}.preserve_ordering", text, "drop one of the two")


@rule("TK635", ERROR, _SOURCE)
def ordered_delay(model: Model) -> Iterator[Finding]:
    """preserve_ordering with requests that are put back after a timeout.

    `timeout_action: DELAY` lets a request that waited too long go behind the others, which `preserve_ordering`
    forbids. That holds for every queue policy that is written, used or not. Without a default timeout it is allowed.

    Bad:
        preserve_ordering: true
        default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1000 }
    Good:
        preserve_ordering: true
        default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 1000 }
    """
    batching = model.config.dynamic_batching
    if not batching.preserve_ordering:
        return
    policies = [(_POLICY, batching.default_queue_policy)]
    policies += [(f"{_policy_path(key)}.value", policy) for key, policy in batching.priority_queue_policy.items()]
    for path, policy in policies:
        if _delays(policy):
            text = "preserve_ordering does not go with `timeout_action: DELAY` and a timeout"
            yield model.found(f"{path}.timeout_action", text, "use REJECT, or drop preserve_ordering")


def _delays(policy: Any) -> bool:
    return bool(policy.timeout_action == policy.DELAY and policy.default_timeout_microseconds)


@rule("TK636", WARNING, "core dynamic_batch_scheduler.cc; seen: accepted, and nothing is batched")
def batching_without_batches(model: Model) -> Iterator[Finding]:
    """A dynamic batcher for a model that does not batch.

    With `max_batch_size: 0`, which is the same as none, every request is run by itself: the server takes
    `dynamic_batching`, and it does nothing. Its queue policies and priorities still work.

    Bad:
        max_batch_size: 0
        dynamic_batching { }
    Good:
        max_batch_size: 8
        dynamic_batching { }
    """
    config = model.config
    if not config.HasField("dynamic_batching") or model.completed.max_batch_size != 0 or model.is_open:
        return
    batching = config.dynamic_batching
    # Preferred sizes are refused in this case, and what works without batches is meant.
    if batching.preferred_batch_size or batching.priority_levels or batching.HasField("default_queue_policy"):
        return
    yield model.found(_DYNAMIC, "max_batch_size is 0, so nothing is batched", "set max_batch_size, or remove it")


@rule("TK637", WARNING, "core scheduler_utils.cc, PriorityQueue; seen: accepted, and without effect")
def priorities_without_levels(model: Model) -> Iterator[Finding]:
    """Settings of priorities without `priority_levels`.

    Without `priority_levels` there is one queue with the default policy. `default_priority_level` and
    `priority_queue_policy` are then taken and never looked at.

    Bad:
        dynamic_batching { default_priority_level: 1 }
    Good:
        dynamic_batching { priority_levels: 2 default_priority_level: 1 }
    """
    batching = model.config.dynamic_batching
    if batching.priority_levels:
        return
    fields = (
        ("default_priority_level", batching.default_priority_level),
        ("priority_queue_policy", batching.priority_queue_policy),
    )
    for name, value in fields:
        if value:
            yield model.found(
                f"{_DYNAMIC}.{name}", f"{name} does nothing without priority_levels", "add priority_levels"
            )
