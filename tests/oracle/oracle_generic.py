"""Mutations that know nothing of what a field means: any field of the message, changed, removed, doubled or set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from oracle_mutations import MESSAGE, Change, mutation
from oracle_repository import Model, Repository

_SIGNED = {Field.TYPE_INT32: 31, Field.TYPE_INT64: 63}
_UNSIGNED = {Field.TYPE_UINT32: 32, Field.TYPE_UINT64: 64}
_INTEGERS = _SIGNED | _UNSIGNED
_FLOATS = {Field.TYPE_FLOAT, Field.TYPE_DOUBLE}
_WORDS = ("", "x", "in0", "out0", "t0", "a b", "é", "../x", "1", "yes", "labels.txt", "-1", "KIND_CPU")

# A large number here is no wrong config but a slow one: so many processes, slots, queues, samples or bytes.
_MODEST = {
    "count": 3, "max_batch_size": 64, "max_candidate_sequences": 64, "priority_levels": 64, "batch_size": 64,
    "dims": 512, "dim": 512, "shape": 512,
}  # fmt: skip
# A file that is not there makes the Python backend wait for ever.
_LEFT_ALONE = {"default_model_filename", "model_repository_agents", "batch_size"}
_RULES: dict[str, tuple[int, ...]] = {
    "name": (2,), "platform": (6,), "backend": (6,), "runtime": (21,), "version_policy": (3,), "max_batch_size": (7, 12),
    "input": (8,), "output": (8,), "input.reshape": (9,), "output.reshape": (9,), "input.format": (10,),
    "input.is_shape_tensor": (10,), "input.is_non_linear_format_io": (10,), "output.is_shape_tensor": (10,),
    "output.is_non_linear_format_io": (10,), "input.optional": (11,), "output.label_filename": (21,),
    "dynamic_batching.preferred_batch_size": (12,), "sequence_batching.oldest.preferred_batch_size": (12,),
    "dynamic_batching.priority_levels": (13,), "dynamic_batching.default_priority_level": (13,),
    "dynamic_batching.priority_queue_policy": (13, 14), "dynamic_batching.default_queue_policy": (14,),
    "dynamic_batching.preserve_ordering": (14,), "response_cache": (15,), "model_transaction_policy": (15,),
    "sequence_batching.control_input": (16,), "sequence_batching.direct": (16,), "sequence_batching.state": (17,),
    "instance_group": (18,), "instance_group.profile": (18, 10), "instance_group.rate_limiter": (23,),
    "batch_input": (19,), "batch_output": (19,), "model_metrics": (1, 20), "model_warmup": (22,),
    "ensemble_scheduling": (24, 25), "ensemble_scheduling.step.model_name": (24, 26),
    "ensemble_scheduling.step.model_version": (26,), "ensemble_scheduling.step.input_map": (25, 28),
    "ensemble_scheduling.step.output_map": (25, 28), "ensemble_scheduling.max_inflight_requests": (1,),
}  # fmt: skip


def rules_of(path: str, *, in_ensemble: bool) -> tuple[int, ...]:
    """The rules about a field such as `input.dims`: those of the longest known beginning of its path."""
    words = path.split(".")
    for end in range(len(words), 0, -1):
        found = _RULES.get(".".join(words[:end]))
        if found is not None:
            return (*found, *((27, 28, 29) if in_ensemble and words[0] in ("input", "output") else ()))
    return ()


@dataclass(frozen=True)
class Site:
    """A set field of some message inside a config. `path` has no positions."""

    owner: Any
    field: Field
    path: str

    @property
    def value(self) -> Any:
        """What stands there."""
        return getattr(self.owner, self.field.name)


def sites(message: Any, prefix: str = "") -> Iterator[Site]:
    """Every field that is set, those of messages inside others included."""
    for field, value in message.ListFields():
        path = prefix + field.name
        yield Site(message, field, path)
        if field.message_type is None:
            continue
        if is_map(field):
            entries = value.values() if _entry(field).message_type else ()
        else:
            entries = value if field.is_repeated else (value,)
        for entry in entries:
            yield from sites(entry, path + ".")


def is_map(field: Field) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _pick(random: Random, config: Any) -> Site | None:
    """Any site: first a field of the top, then one at or below it, so that long lists do not get all."""
    found = [site for site in sites(config) if site.field.name not in _LEFT_ALONE]
    tops = sorted({site.path.split(".")[0] for site in found})
    if not tops:
        return None
    top = random.choice(tops)
    return random.choice([site for site in found if site.path.split(".")[0] == top])


def _number(random: Random, field: Field, old: int) -> int:
    limit: int | None = _MODEST.get(field.name)
    bits: int = _INTEGERS[field.type]
    near = [old, old + 1, old - 1, old * 2, 0, 1, 2, 4, -1, -2]
    far = [limit, -limit] if limit else [2**bits - 1, 2**31 - 1, -(2**bits) + 1]
    value: int = random.choice(near if random.random() < 0.8 else far)
    if field.type in _UNSIGNED:
        return min(max(value, 0), 2**bits - 1) if not limit else min(abs(value), limit)
    low, high = -(2**bits), 2**bits - 1
    return min(max(value, low), high) if not limit else min(max(value, -limit), limit)


def _enum(field: Field) -> EnumDescriptor:
    """The enum of a field that has one."""
    assert field.enum_type is not None
    return field.enum_type


def _entry(field: Field) -> Field:
    """The field of a map's values."""
    assert field.message_type is not None
    found: Field = field.message_type.fields_by_name["value"]
    return found


def scalar(random: Random, field: Field, old: Any, config: Any) -> Any:
    """Another value for a field that is no message."""
    if field.type in _INTEGERS:
        return _number(random, field, int(old))
    if field.type in _FLOATS:
        return random.choice((0.0, 1.0, 0.5, -0.5, 1.5, 1e30, float("nan"), float("inf")))
    if field.type == Field.TYPE_BOOL:
        return not old
    if field.type == Field.TYPE_ENUM:
        return random.choice(list(_enum(field).values)).number
    return _word(random, str(old), config)


def _word(random: Random, old: str, config: Any) -> str:
    others = [
        site.value for site in sites(config) if site.field.type == Field.TYPE_STRING and not site.field.is_repeated
    ]
    return random.choice((old + "x", old[:-1], old.upper(), random.choice(_WORDS), random.choice(others or [""])))


def _where(random: Random, repository: Repository) -> tuple[str, Model]:
    key = random.choice(list(repository.models))
    if random.random() < 0.4:
        key = repository.top
    return key, repository.models[key]


def _change(repository: Repository, key: str, path: str, what: str) -> Change:
    return Change(key, f"{what} {path}", rules_of(path, in_ensemble=len(repository.models) > 1))


@mutation(MESSAGE, 7)
def change_any(random: Random, repository: Repository) -> Change | None:
    """Another value."""
    key, model = _where(random, repository)
    site = _pick(random, model.config)
    if site is None or is_map(site.field):
        return _change_map(random, repository, key, site)
    value = site.value
    if site.field.message_type is not None:
        return None
    if site.field.is_repeated:
        at = random.randrange(len(value))
        value[at] = scalar(random, site.field, value[at], model.config)
    else:
        setattr(site.owner, site.field.name, scalar(random, site.field, value, model.config))
    return _change(repository, key, site.path, "change")


def _change_map(random: Random, repository: Repository, key: str, site: Site | None) -> Change | None:
    """Another key for an entry, an entry more, or one entry's value for another's."""
    if site is None or not site.value or site.field.name == "priority_queue_policy":
        return None
    value, names = site.value, sorted(site.value)
    name = random.choice(names)
    way = random.choice(("rename", "double", "swap"))
    other = random.choice((name + "x", name.upper(), "", "in0", "in1", "out0", random.choice(names)))
    if _entry(site.field).message_type is not None:
        if way == "swap" or other == name:
            return None
        value[other].CopyFrom(value[name])
    elif way == "swap":
        value[name] = value[random.choice(names)]
    else:
        value[other] = value[name]
    if way == "rename" and other != name:
        del value[name]
    return _change(repository, key, site.path, f"{way} a key of")


@mutation(MESSAGE, 4)
def remove_any(random: Random, repository: Repository) -> Change | None:
    """A field less, or an entry of it."""
    key, model = _where(random, repository)
    site = _pick(random, model.config)
    if site is None:
        return None
    value = site.value
    if is_map(site.field) and len(value) > 1 and random.random() < 0.8:
        del value[random.choice(sorted(value))]
    elif site.field.is_repeated and not is_map(site.field) and len(value) > 1 and random.random() < 0.8:
        del value[random.randrange(len(value))]
    else:
        site.owner.ClearField(site.field.name)
    return _change(repository, key, site.path, "remove")


@mutation(MESSAGE, 2)
def double_any(random: Random, repository: Repository) -> Change | None:
    """An entry of a list twice, or two in the other order."""
    key, model = _where(random, repository)
    site = _pick(random, model.config)
    if site is None or not site.field.is_repeated or is_map(site.field):
        return None
    value = site.value
    if len(value) > 1 and random.random() < 0.4:
        first, *rest = list(value)
        del value[:]
        value.extend([*rest, first])
        return _change(repository, key, site.path, "rotate")
    if len(value) > 8:
        return None
    value.append(value[random.randrange(len(value))])
    return _change(repository, key, site.path, "double")


@mutation(MESSAGE, 3)
def set_any(random: Random, repository: Repository) -> Change | None:
    """A field that was not set, with any value."""
    key, model = _where(random, repository)
    messages = [("", model.config)]
    for site in sites(model.config):
        if site.field.message_type is not None and not is_map(site.field) and site.field.name not in _LEFT_ALONE:
            entry = random.choice(list(site.value)) if site.field.is_repeated else site.value
            messages.append((site.path + ".", entry))
    prefix, owner = random.choice(messages)
    present = {field.name for field, _ in owner.ListFields()}
    free = [f for f in owner.DESCRIPTOR.fields if f.name not in present | _LEFT_ALONE and not is_map(f)]
    if not free:
        return None
    field = random.choice(free)
    if field.message_type is not None:
        (getattr(owner, field.name).add() if field.is_repeated else getattr(owner, field.name).SetInParent())
    elif field.is_repeated:
        getattr(owner, field.name).append(scalar(random, field, field.default_value or 0, model.config))
    else:
        setattr(owner, field.name, scalar(random, field, field.default_value, model.config))
    return _change(repository, key, prefix + field.name, "set")
