"""Implicit states of the sequence batcher: what the server keeps between the requests of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.rules.files import UNSEEN, resolve
from generator.lint.words import counted_items, element_bytes, enum_name, in_64_bits, is_type, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

NEEDS = ("sequence_batching",)
_CREATE = "core sequence_batch_scheduler.cc, Create"
_INITIAL = "core sequence_batch_scheduler.cc, GenerateInitialStateData"
_FOLDER = "initial_state"


@kept
def _states(model: Model) -> tuple[tuple[str, Any], ...]:
    """Each state and where it stands."""
    if not model.config.HasField("sequence_batching"):
        return ()
    states = model.config.sequence_batching.state
    return tuple((f"sequence_batching.state[{i}]", state) for i, state in enumerate(states))


def _initial(model: Model) -> Iterator[tuple[str, Any, Any]]:
    """Each state with exactly one initial_state: where that stands, the state, and itself."""
    for path, state in _states(model):
        if len(state.initial_state) == 1:
            yield f"{path}.initial_state[0]", state, state.initial_state[0]


def _type(message: Any) -> str:
    return enum_name(message, "data_type")


def _is_text(initial: Any) -> bool:
    return type_name(initial) == "STRING"


def _size_bytes(initial: Any) -> int:
    """How many bytes the server takes an initial state for."""
    return in_64_bits(counted_items(initial.dims) * element_bytes(type_name(initial)))


def _shown(dims: Iterable[int]) -> str:
    return f"[{', '.join(map(str, dims))}]"


@rule("TK785", ERROR, f"{_CREATE} and GenerateInitialStateData")
def incomplete_initial_state(model: Model) -> Iterator[Finding]:
    """An initial_state has no name or no data, or a state has several.

    A state has one initial_state at most. That needs a `name` and one of `zero_data` and `data_file`; the server
    refuses the model otherwise, after its instances were started already.

    Bad:
        initial_state { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }
    Good:
        initial_state { name: "empty" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }
    """
    for path, state in _states(model):
        if len(state.initial_state) > 1:
            text = f"a state has {len(state.initial_state)} initial_states; one is allowed"
            yield model.found(f"{path}.initial_state[1]", text, "leave one")
    for path, _, initial in _initial(model):
        if not initial.name:
            yield model.found(path, "an initial_state has no `name`; Triton wants one", 'add `name: "…"`, any text')
        if initial.WhichOneof("state_data") is None:
            text = "an initial_state has no data; it needs `zero_data` or `data_file`"
            yield model.found(path, text, "`zero_data: true` begins with zeros")


@rule("TK786", ERROR, _INITIAL)
def another_initial_state(model: Model) -> Iterator[Finding]:
    """An initial_state has another data type or shape than its state.

    Data type and number of dims must be equal, and each dim the state's one, or anything fixed where the state has
    -1. The initial state itself is data, so it has no -1. A count of elements below 0 ends the server.

    Bad:
        state {
          input_name: "past"
          output_name: "next"
          data_type: TYPE_FP32
          dims: [ -1, 4 ]
          initial_state { name: "empty" data_type: TYPE_FP32 dims: [ -1, 4 ] zero_data: true }
        }
    Good:
        state {
          input_name: "past"
          output_name: "next"
          data_type: TYPE_FP32
          dims: [ -1, 4 ]
          initial_state { name: "empty" data_type: TYPE_FP32 dims: [ 1, 4 ] zero_data: true }
        }
    """
    for path, state, initial in _initial(model):
        if initial.data_type != state.data_type:
            text = f"an initial_state of {_type(initial)} for a state of {_type(state)}"
            yield model.found(f"{path}.data_type", text, "Triton wants both alike")
        if len(initial.dims) != len(state.dims):
            text = f"an initial_state of dims {_shown(initial.dims)} for a state of dims {_shown(state.dims)}"
            yield model.found(f"{path}.dims[0]", text, "give it as many dims")
            continue
        wrong = next((i for i, dim in enumerate(initial.dims) if dim == -1 or state.dims[i] not in (-1, dim)), None)
        if wrong is None:
            data = initial.WhichOneof("state_data")
            if _size_bytes(initial) < 0 and (data == "zero_data" or not _is_text(initial)):
                ends = ", and the server ends when it makes room for it" if data == "zero_data" else ""
                text = f"dims {_shown(initial.dims)} are no shape{ends}"
                yield model.found(f"{path}.dims[0]", text, "take dims of 1 or more")
        elif initial.dims[wrong] == -1:
            text = "an initial_state has a dim of -1; it is data, so each of its dims is known"
            yield model.found(f"{path}.dims[{wrong}]", text, "write the size that a sequence begins with")
        else:
            text = f"dim {wrong} of the initial_state is {initial.dims[wrong]}, that of its state {state.dims[wrong]}"
            yield model.found(f"{path}.dims[{wrong}]", text, "Triton wants both alike")


@rule("TK787", ERROR, _INITIAL)
def initial_state_file(model: Model) -> Iterator[Finding]:
    """The file of an initial_state is missing or too small.

    `data_file` names a file in the model's directory `initial_state/`, with the raw values in row-major order. It
    may not be smaller than the shape asks for (TYPE_STRING may have any size). A directory of that name ends the
    server. What the file has beyond the shape is ignored without a word.

    Bad:
        initial_state { name: "ones" data_type: TYPE_FP32 dims: [ 8 ] data_file: "ones.bin" }
    Good:
        initial_state { name: "ones" data_type: TYPE_FP32 dims: [ 2 ] data_file: "ones.bin" }
    """
    for path, _, initial in _initial(model):
        if initial.WhichOneof("state_data") == "data_file":
            yield from _data_file(model, f"{path}.data_file", initial)


def _data_file(model: Model, path: str, initial: Any) -> Iterator[Finding]:
    shown = f"{_FOLDER}/{initial.data_file}"
    if not initial.data_file:
        yield model.found(path, f"`data_file` is empty; it names a file in {_FOLDER}/", "or write `zero_data: true`")
        return
    found = resolve(model, shown)
    if found is UNSEEN:
        return
    if found is None:
        yield model.found(path, f"there is no file {shown} in the model's directory", "Triton looks nowhere else")
        return
    folder, name = found
    if not folder.has_file(name):
        yield model.found(path, f"{shown} is a directory, which ends the server", "name a file in it")
        return
    try:
        given = folder.size_bytes(name)
    except OSError as error:
        yield model.found(path, f"{shown} cannot be read: {error.strerror}")
        return
    needed = _size_bytes(initial)
    if _is_text(initial) or needed == given or needed < 0 or -1 in initial.dims:
        return
    text = f"{shown} has {given} bytes; dims {_shown(initial.dims)} of {_type(initial)} take"
    if given < needed:
        yield model.found(path, f"{text} {needed}", "write all values, in row-major order")
    else:
        yield model.found(path, f"{text} only {needed}, the rest is ignored", "look at dims", severity=WARNING)


@rule("TK788", ERROR, f"{_INITIAL} and sequence_state.cc, Initialize")
def state_twice(model: Model) -> Iterator[Finding]:
    """Two states have the same input_name or output_name.

    With an initial_state in both, a second `input_name` is refused. Otherwise the server accepts the model, logs a
    warning at the first request, and leaves one of the two states out.

    Bad:
        state { input_name: "past" output_name: "a" data_type: TYPE_FP32 dims: [ 1 ] initial_state { name: "i" data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }
        state { input_name: "past" output_name: "b" data_type: TYPE_FP32 dims: [ 1 ] initial_state { name: "j" data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }
    Good:
        state { input_name: "past" output_name: "a" data_type: TYPE_FP32 dims: [ 1 ] initial_state { name: "i" data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }
        state { input_name: "past_b" output_name: "b" data_type: TYPE_FP32 dims: [ 1 ] initial_state { name: "j" data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }
    """  # noqa: E501
    inputs: dict[str, bool] = {}
    outputs: set[str] = set()
    for path, state in _states(model):
        has_initial = len(state.initial_state) == 1
        if state.input_name in inputs:
            severity = ERROR if has_initial and inputs[state.input_name] else WARNING
            text = f"`{state.input_name}` is the input_name of another state, too"
            yield model.found(f"{path}.input_name", text, "each state needs its own", severity=severity)
        if state.output_name in outputs:
            text = f"`{state.output_name}` is the output_name of another state, too; one of them is left out"
            yield model.found(f"{path}.output_name", text, "each state needs its own", severity=WARNING)
        inputs[state.input_name] = inputs.get(state.input_name, False) or has_initial
        outputs.add(state.output_name)


@rule("TK789", WARNING, "core sequence_state.cc, Initialize")
def broken_state(model: Model) -> Iterator[Finding]:
    """A state is accepted, and fails at the first request.

    The server looks at a state only when a sequence begins. Without input_name the first request ends the whole
    server. Without data type or with dims below 1 a Python model's process ends. A state that is called like an input
    replaces what clients send. use_growable_memory without use_same_buffer_for_input_output or on a CPU leaves the
    model without its states, with one line in the log.

    Bad:
        state { output_name: "next" data_type: TYPE_FP32 dims: [ 4 ] }
    Good:
        state { input_name: "past" output_name: "next" data_type: TYPE_FP32 dims: [ 4 ] }
    """
    if not _states(model):
        return
    inputs = {tensor.name for tensor in model.config.input}
    kinds = {enum_name(group, "kind") for group in model.completed.instance_group}
    for path, state in _states(model):
        if not state.input_name:
            text = "a state has no `input_name`: the first request ends the server"
            yield model.found(path, text, "name the tensor that the model reads it from")
        elif state.input_name in inputs:
            text = f"the state `{state.input_name}` is an input, too: what clients send in it is replaced"
            yield model.found(f"{path}.input_name", text, "take it out of `input`: the server adds it by itself")
        if not state.output_name:
            text = "a state has no `output_name`, so the model cannot write it"
            yield model.found(path, text, "name the tensor that the model writes it to")
        if not is_type(type_name(state)):
            what = f"the `data_type` {_type(state)}, which stands for none" if state.data_type else "no `data_type`"
            yield model.found(f"{path}.data_type", f"a state has {what}: requests fail", "give it one")
        if not state.dims:
            yield model.found(path, "a state has no `dims`, so it holds nothing", "give it `dims`")
        wrong = next((i for i, dim in enumerate(state.dims) if dim < 1 and dim != -1), None)
        if wrong is not None:
            text = f"a dim of {state.dims[wrong]}; valid are 1 and more, and -1 for any size"
            yield model.found(f"{path}.dims[{wrong}]", text, "requests fail or the state holds nothing")
        if state.use_growable_memory:
            yield from _growable(model, path, state, kinds)


def _growable(model: Model, path: str, state: Any, kinds: set[str]) -> Iterator[Finding]:
    path, name = f"{path}.use_growable_memory", f"`{state.input_name}`"
    if not state.use_same_buffer_for_input_output:
        text = f"use_growable_memory needs use_same_buffer_for_input_output: without it there is no state {name}"
        yield model.found(path, text, "add `use_same_buffer_for_input_output: true`")
    if kinds & {"KIND_CPU", "KIND_MODEL"}:
        text = f"use_growable_memory works on GPUs alone: on a CPU there is no state {name}"
        yield model.found(path, text, "use KIND_GPU, or take it away")
