"""Mutations of a sequence batcher: controls, states, and their first values."""

from __future__ import annotations

from random import Random
from typing import Any

from oracle_mutations import on
from oracle_repository import Model, value_of
from oracle_tensors import TYPES

_CONTROL = ("int32_false_true", "fp32_false_true", "bool_false_true")


def _has_sequences(model: Model) -> bool:
    """Whether the model has a sequence batcher, which one without any scheduler gets here."""
    if model.config.WhichOneof("scheduling_choice") is None:
        model.config.ClearField("response_cache")
        model.config.sequence_batching.SetInParent()
    return bool(model.config.HasField("sequence_batching"))


@on(16, weight=3)
def controls(random: Random, model: Model) -> str:
    if not _has_sequences(model):
        return ""
    batching = model.config.sequence_batching
    way = random.choice(("new", "new", "name", "values", "values", "kind", "type", "second", "slots", "nothing"))
    if way == "slots":
        batching.direct.minimum_slot_utilization = random.choice((0.0, 1.0, 1.1, -0.1, 0.3, float("nan")))
        return "minimum_slot_utilization"
    if way == "new" or not batching.control_input:
        added = batching.control_input.add(name=random.choice(("START", "READY", "new", "new2", "", "in0", "CORRID")))
        if random.random() < 0.9:
            _fill(random, added.control.add(kind=random.randrange(4)))
        return f"control {added.name!r}"
    entry = random.choice(list(batching.control_input))
    if way == "name":
        entry.name = random.choice(("", "START", "READY", "END", entry.name + "x"))
        return f"control name {entry.name!r}"
    if way == "nothing" or not entry.control:
        del entry.control[:]
        return "no control"
    if way == "second":
        _fill(random, entry.control.add(kind=random.randrange(4)))
        return "a second control of one tensor"
    control = random.choice(list(entry.control))
    if way == "kind":
        control.kind = random.randrange(4)
    elif way == "type":
        control.data_type = random.choice(range(15))
    else:
        _fill(random, control)
    return f"{way} of a control"


def _fill(random: Random, control: Any) -> None:
    """The values of a control: mostly one pair."""
    for name in _CONTROL:
        control.ClearField(name)
    if control.kind == 3 and random.random() < 0.8:
        control.data_type = value_of(
            random.choice(("TYPE_UINT64", "TYPE_STRING", "TYPE_FP32", "TYPE_INT32", "TYPE_UINT8"))
        )
        return
    for name in random.choice((_CONTROL[:1], _CONTROL[1:2], _CONTROL[2:], _CONTROL[:2], ())):
        getattr(control, name).extend(random.choice(([0, 1], [0, 1], [0, 1], [1, 0], [1], [0, 1, 1])))


def _stateful(random: Random, model: Model) -> Any:
    """One of the model's states; a model without one gets one, if it can have sequences."""
    if not _has_sequences(model):
        return None
    every = model.config.sequence_batching.state
    if not every:
        every.add(input_name="kept", output_name="kept_out", data_type=value_of("TYPE_FP32"), dims=[2])
    return random.choice(list(every))


@on(17, weight=1.5)
def states(random: Random, model: Model) -> str:
    state = _stateful(random, model)
    if state is None:
        return ""
    every = model.config.sequence_batching.state
    way = random.choice(("names", "buffer", "again", "nothing"))
    if way == "names":
        others = [each.input_name for each in every] + [each.output_name for each in every]
        state.input_name = random.choice([*others, "", "in0", "other"])
        state.output_name = random.choice([*others, "", "out0", state.output_name])
    elif way == "buffer":
        state.use_same_buffer_for_input_output = random.random() < 0.5
        state.use_growable_memory = random.random() < 0.5
    elif way == "again":
        every.add().CopyFrom(state)
    return f"{way} of a state"


@on(17, weight=3)
def initial_states(random: Random, model: Model) -> str:
    state = _stateful(random, model)
    if state is None:
        return ""
    if not state.initial_state:
        size = [3 if d == -1 else d for d in state.dims]
        state.initial_state.add(name="first", data_type=state.data_type, dims=size, zero_data=True)
    initial = state.initial_state[0]
    way = random.choice(("dims", "dims", "type", "name", "second", "file", "unset", "nothing"))
    if way == "second":
        state.initial_state.add().CopyFrom(initial)
    elif way == "name":
        initial.name = random.choice(("", "other", state.input_name))
    elif way == "type":
        (initial if random.random() < 0.7 else state).data_type = value_of(random.choice(TYPES))
    elif way == "file":
        initial.data_file = random.choice(("none", "", "../x", initial.data_file))
    elif way == "unset":
        initial.ClearField("zero_data")
        initial.ClearField("data_file")
        if random.random() < 0.6:
            initial.zero_data = random.random() < 0.6
    elif way == "dims":
        _resize(random, random.choice((state, initial, initial)).dims)
    return f"{way} of an initial state"


def _resize(random: Random, size: Any) -> None:
    """Other dims: one more, or one of another size."""
    if random.random() < 0.3 or not size:
        size.append(random.choice((1, 2, -1)))
    else:
        size[random.randrange(len(size))] = random.choice((-1, 1, 2, 3, 7, 0))
