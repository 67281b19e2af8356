"""Plain data in Triton's words → the fields of a ModelConfig, by walking the protobuf's descriptor.

It merges twice: first what the friendly names say, then the user's `config:`. What the friendly names have set,
`config:` may repeat and refine, never change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor

from generator.collector import did_you_mean, names
from generator.config import codes
from generator.config.descriptors import Field, fields_of
from generator.config.values import BadValueError, describe, map_key, scalar

Path = tuple[str | int, ...]
# (code, path inside the data, sentence, hint)
Report = Callable[[str, Path, str, str], None]
# Where in the message: field names, positions in lists, keys of maps.
Slot = tuple[Any, ...]
# What sets a slot: `` `batching.preferred` (specs/digits.yaml:9:3) ``.
Owner = Callable[[Slot], str]

# Entries of these lists are known by their name; the others by their position.
_NAMED = {("input",), ("output",), ("model_warmup",)}
# What the Plan declares: other parts (buffers, clients) count on it, so that `config` cannot add to it.
_CLOSED_NAMES = {("input",), ("output",)}


class Merger:
    """Merges data into one message; `merge` is called for the friendly names, then `finish`, then for `config`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._report: Report = _unset
        self._taken: dict[Slot, Any] = {}
        self._closed = False

    def merge(self, message: Any, data: Any, report: Report) -> None:
        """Sets every field that `data` names. All problems go to `report`; a wrong value is left out."""
        self._report = report
        self._message(message, data, (), ())

    def finish(self) -> None:
        """From now on nothing that is already set may change."""
        self._closed = True

    def _bad(self, error: BadValueError, at: Path) -> None:
        self._report(error.code, at, error.message, error.hint)

    def _contradiction(self, at: Path, slot: Slot, found: str) -> None:
        value = self._taken.get(slot)
        to = "" if value is None else f" to {describe(value)}"
        text = f"{found}, but {self._owner(slot)} sets it{to}"
        self._report(codes.CONTRADICTION, at, text, "say it in one place")

    def _is_taken(self, slot: Slot) -> bool:
        return self._closed and slot in self._taken

    def _take(self, slot: Slot, value: Any = None) -> None:
        if not self._closed:
            self._taken[slot] = value

    def _message(self, message: Any, data: Any, at: Path, slot: Slot) -> None:
        kind: Descriptor = message.DESCRIPTOR
        if kind.full_name == "inference.ModelParameter" and not isinstance(data, dict):
            # `parameters: {x: "y"}` is short for `{x: {string_value: "y"}}`.
            self._field(message, fields_of(kind)["string_value"], data, at, (*slot, "string_value"))
            return
        if not isinstance(data, dict):
            hint = "an empty mapping is `{}`" if data is None else ""
            what = f"`{at[-1]}`" if at and isinstance(at[-1], str) else "an entry"
            text = f"{what} is a mapping with fields of {kind.name}; found {describe(data)}"
            self._report(codes.WRONG_TYPE, at, text, hint)
            return
        message.SetInParent()
        fields = fields_of(kind)
        for name, value in data.items():
            field = fields.get(name) if isinstance(name, str) else None
            if field is None:
                valid = list(kind.fields_by_name)
                text = f"{kind.name} has no field `{name}`; it has {names(valid)}"
                self._report(codes.UNKNOWN_FIELD, (*at, name), text, did_you_mean(str(name), valid))
            elif not field.oneof or self._may_choose(message, field, data, at, slot):
                self._field(message, field, value, (*at, name), (*slot, name))

    def _may_choose(self, message: Any, field: Field, data: dict[str, Any], at: Path, slot: Slot) -> bool:
        """Whether no other member of the field's oneof is set, here or by the friendly names."""
        given = [name for name in data if name in field.oneof]
        if given[0] != field.name:
            text = f"`{field.name}` and `{given[0]}` exclude each other"
            self._report(codes.ONE_OF, (*at, field.name), text, f"keep one of {names(field.oneof)}")
            return False
        current = next((name for name in field.oneof if message.HasField(name)), None)
        if current in {None, field.name}:
            return True
        self._contradiction((*at, field.name), (*slot, current), f"`{field.name}` excludes `{current}`")
        return False

    def _field(self, message: Any, field: Field, value: Any, at: Path, slot: Slot) -> None:
        if field.key is not None:
            self._map(getattr(message, field.name), field, value, at, slot)
        elif field.is_repeated:
            if not isinstance(value, list | tuple):
                text = f"`{field.name}` is a list; found {describe(value)}"
                self._report(codes.WRONG_TYPE, at, text, f"write it as `{field.name}: [ … ]`")
            elif field.is_message:
                self._messages(getattr(message, field.name), value, at, slot)
            else:
                self._scalars(getattr(message, field.name), field, value, at, slot)
        elif field.is_message:
            self._message(getattr(message, field.name), value, at, slot)
        else:
            try:
                new = scalar(field.descriptor, value)
            except BadValueError as error:
                self._bad(error, at)
                return
            if not self._is_taken(slot):
                setattr(message, field.name, new)
                self._take(slot, value)
            elif new != getattr(message, field.name):
                self._contradiction(at, slot, f"`{field.name}` is {describe(value)} here")

    def _scalars(self, target: Any, field: Field, values: Any, at: Path, slot: Slot) -> None:
        """A list of scalars is one value: it is set as a whole."""
        new = []
        for index, value in enumerate(values):
            try:
                new.append(scalar(field.descriptor, value))
            except BadValueError as error:
                self._bad(error, (*at, index))
                return
        if not self._is_taken(slot):
            target.extend(new)
            self._take(slot, list(values))
        elif new != list(target):
            self._contradiction(at, slot, f"`{field.name}` is {describe(values)} here")

    def _messages(self, target: Any, values: Any, at: Path, slot: Slot) -> None:
        taken = self._is_taken(slot)
        length = len(target)
        done: set[int] = set()
        for index, value in enumerate(values):
            place = index
            if taken and slot in _NAMED:
                found = self._by_name(target, value, (*at, index), slot, done)
                if found is None:
                    continue
                place = found
            elif taken and index >= length:
                text = f"`{slot[-1]}` has {len(values)} entries here, but {self._owner(slot)} gives {length}"
                self._report(codes.CONTRADICTION, (*at, index), text, "add further ones there")
                return
            entry = target[place] if place < len(target) else target.add()
            self._message(entry, value, (*at, index), (*slot, place))
        self._take(slot)

    def _by_name(self, target: Any, value: Any, at: Path, slot: Slot, done: set[int]) -> int | None:
        """The position of the entry that has the name of `value`; one past the end for a new one."""
        name = value.get("name", "") if isinstance(value, dict) else ""
        known = [entry.name for entry in target]
        if name not in known:
            if slot not in _CLOSED_NAMES:
                return len(target)
            text = f"an entry of `{slot[0]}` has the `name` of a tensor of the model: {names(known)}"
            found = f"found {describe(name)}" if name else "it has none"
            self._report(codes.NO_SUCH_ENTRY, at, f"{text}; {found}", did_you_mean(str(name), known))
            return None
        position = known.index(name)
        if position in done:
            self._report(codes.NO_SUCH_ENTRY, at, f"`{name}` has two entries in `{slot[0]}`", "make them one")
            return None
        done.add(position)
        return position

    def _map(self, target: Any, field: Field, data: Any, at: Path, slot: Slot) -> None:
        if not isinstance(data, dict):
            text = f"`{field.name}` is a mapping; found {describe(data)}"
            self._report(codes.WRONG_TYPE, at, text, "an empty mapping is `{}`" if data is None else "")
            return
        assert field.key is not None and field.value is not None  # noqa: S101,PT018  (of a map)
        for raw, value in data.items():
            here = (*at, raw)
            try:
                key = map_key(field.key.descriptor, raw)
                if field.value.is_message:
                    self._message(target[key], value, here, (*slot, key))
                    continue
                new = scalar(field.value.descriptor, value)
            except BadValueError as error:
                self._bad(error, here)
                continue
            if not self._is_taken((*slot, key)):
                target[key] = new
                self._take((*slot, key), value)
            elif target[key] != new:
                self._contradiction(here, (*slot, key), f"`{raw}` is {describe(value)} here")


def _unset(code: str, at: Path, text: str, hint: str) -> None:
    raise AssertionError(f"{code} {at}: {text} {hint}")
