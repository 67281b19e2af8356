"""Reads and checks tritonkit.json, the one file through which a model learns what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

FILE_NAME = "tritonkit.json"
FORMAT = 1

# Triton's names of data types, without TYPE_. BF16 is missing: numpy has no such type, and buffers alone can hold it.
DTYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING",
)  # fmt: skip

_T = TypeVar("_T")


class ParameterError(ValueError):
    """A model's parameters are malformed or contradict each other: one sentence for the person who wrote them."""


@dataclass(frozen=True)
class TensorSpec:
    """A declared tensor. `dims` has no batch axis when the model batches; -1 is any length.

    A request may leave an `optional` input out.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class Limits:
    """What one encoded image may cost: its own size, and width x height once decoded."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class StepSpec:
    """A step's name and the keyword arguments of its class."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class StepsProgram:
    """One input tensor goes through a chain of steps."""

    steps: tuple[StepSpec, ...]


Copies = Literal["auto", "inside", "beside"]
COPIES: tuple[Copies, ...] = ("auto", "inside", "beside")
Preprocess = Literal["auto", "cpu", "gpu"]
PREPROCESS: tuple[Preprocess, ...] = ("auto", "cpu", "gpu")
Where = Literal["host", "device"]
WHERE: tuple[Where, ...] = ("host", "device")
Process = Literal["own", "shared"]
PROCESS: tuple[Process, ...] = ("own", "shared")


@dataclass(frozen=True)
class Buffers:
    """That an engine's tensors lie in memory which is allocated once.

    `buckets`: the sizes of batch that are run, smallest first; `slots`: batches that have memory at a time; `copies`:
    where they go, one of COPIES; `preprocess`: where the steps before the engine run, one of PREPROCESS; `decode`:
    where JPEG files are decoded, likewise. `lengths`: those of the tensors' open axis (-1) that are run, smallest
    first; empty where no tensor has one. `inputs`: whether they may come in the GPU's memory (`device`), request by
    request; `outputs`: whether they stay there. `process`: whose process runs the engine, one of PROCESS; one that
    is `shared` by all instances on a GPU merges their batches, and its `buckets` may end beyond the largest of them.
    """

    buckets: tuple[int, ...]
    slots: int
    copies: Copies
    preprocess: Preprocess = "cpu"
    lengths: tuple[int, ...] = ()
    inputs: Where = "host"
    outputs: Where = "host"
    decode: Preprocess = "cpu"
    process: Process = "own"


@dataclass(frozen=True)
class EngineProgram:
    """An engine runs a model file; `file` counts from the version directory. On a GPU it has `buffers`."""

    engine: str
    file: str
    intra_op_threads: int
    buffers: Buffers | None = None


@dataclass(frozen=True)
class PythonProgram:
    """A user's own class, from a file beside model.py or from an importable module: exactly one of the two."""

    class_name: str
    file: str | None
    module: str | None
    parameters: Mapping[str, Any]


SingleProgram = StepsProgram | EngineProgram | PythonProgram


@dataclass(frozen=True)
class StageSpec:
    """One model of a flow: its tensors, and which of the flow's it `takes` and `gives` (its name -> the flow's)."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    takes: Mapping[str, str]
    gives: Mapping[str, str]
    program: SingleProgram


@dataclass(frozen=True)
class FlowProgram:
    """Several models in one process, each after those whose tensors it takes."""

    stages: tuple[StageSpec, ...]


Program = SingleProgram | FlowProgram


@dataclass(frozen=True)
class Parameters:
    """All of tritonkit.json. `max_batch_size` 0 means that tensors have no batch axis."""

    pipeline: str
    model: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    limits: Limits
    program: Program


def load(folder: Path) -> Parameters:
    """The parameters in `folder`/tritonkit.json; raises ParameterError."""
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ParameterError(f"{path} is not JSON: {error}") from error
    try:
        return parse(document)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from error


def parse(document: object) -> Parameters:
    """The parameters in a parsed JSON document; raises ParameterError."""
    top = _typed(document, dict, "the document")
    found = _get(top, "format", int, "")
    if found != FORMAT:
        raise ParameterError(
            f"format is {found}, this runtime reads {FORMAT}: render the repository again, "
            "or install the runtime that belongs to it"
        )
    limits = _get(top, "limits", dict, "")
    program = _program(_get(top, "program", dict, ""))
    parts = [stage.program for stage in program.stages] if isinstance(program, FlowProgram) else [program]
    valid = _dtypes(*parts)
    return Parameters(
        pipeline=_get(top, "pipeline", str, ""),
        model=_get(top, "model", str, ""),
        max_batch_size=_at_least(0, _get(top, "max_batch_size", int, ""), "max_batch_size"),
        inputs=_tensors(top, "inputs", "", valid),
        outputs=_tensors(top, "outputs", "", valid),
        limits=Limits(
            max_bytes=_at_least(1, _get(limits, "max_bytes", int, "limits."), "limits.max_bytes"),
            max_pixels=_at_least(1, _get(limits, "max_pixels", int, "limits."), "limits.max_pixels"),
        ),
        program=program,
    )


def _dtypes(*programs: SingleProgram) -> tuple[str, ...]:
    """The types that tensors around these programs may have."""
    buffers = any(isinstance(program, EngineProgram) and program.buffers is not None for program in programs)
    return (*DTYPES, "BF16") if buffers else DTYPES


def _program(program: dict[str, Any]) -> Program:
    if _get(program, "kind", str, "program.") != "flow":
        return _single(program, "program.", "steps, engine, python and flow")
    stages = _get(program, "stages", list, "program.")
    if not stages:
        raise ParameterError("program.stages is empty: a flow has at least one")
    return FlowProgram(tuple(_stage(stage, f"program.stages[{i}].") for i, stage in enumerate(stages)))


def _stage(stage: object, where: str) -> StageSpec:
    fields = _typed(stage, dict, where.removesuffix("."))
    program = _single(_get(fields, "program", dict, where), f"{where}program.", "steps, engine and python")
    return StageSpec(
        name=_get(fields, "name", str, where),
        inputs=_tensors(fields, "inputs", where, _dtypes(program)),
        outputs=_tensors(fields, "outputs", where, _dtypes(program)),
        takes=_names(fields, "takes", where),
        gives=_names(fields, "gives", where),
        program=program,
    )


def _names(fields: dict[str, Any], key: str, where: str) -> dict[str, str]:
    pairs = _get(fields, key, dict, where)
    return {name: _typed(value, str, f"{where}{key}.{name}") for name, value in pairs.items()}


def _single(program: dict[str, Any], where: str, valid: str) -> SingleProgram:
    kind = _get(program, "kind", str, where)
    if kind == "steps":
        steps = _get(program, "steps", list, where)
        if not steps:
            raise ParameterError(f"{where}steps is empty: a chain needs at least one step")
        return StepsProgram(tuple(_step(step, f"{where}steps[{i}]") for i, step in enumerate(steps)))
    if kind == "engine":
        threads = _get(program, "intra_op_threads", int, where)
        return EngineProgram(
            engine=_get(program, "engine", str, where),
            file=_get(program, "file", str, where),
            intra_op_threads=_at_least(1, threads, f"{where}intra_op_threads"),
            buffers=_buffers(_get(program, "buffers", dict, where), f"{where}buffers.")
            if "buffers" in program
            else None,
        )
    if kind == "python":
        if ("file" in program) == ("module" in program):
            raise ParameterError(
                f"{where.removesuffix('.')} needs exactly one of file and module to find its class in"
            )
        return PythonProgram(
            class_name=_get(program, "class", str, where),
            file=_get(program, "file", str, where) if "file" in program else None,
            module=_get(program, "module", str, where) if "module" in program else None,
            parameters=_get(program, "parameters", dict, where) if "parameters" in program else {},
        )
    raise ParameterError(f"{where}kind is {kind!r}; valid are {valid}")


def _buffers(fields: dict[str, Any], where: str) -> Buffers:
    buckets = _rising(_get(fields, "buckets", list, where), f"{where}buckets", "sizes of batch")
    lengths: tuple[int, ...] = ()
    if "lengths" in fields:
        lengths = _rising(_get(fields, "lengths", list, where), f"{where}lengths", "lengths")
    copies = _one_of(COPIES, _get(fields, "copies", str, where), f"{where}copies")
    slots = _at_least(2, _get(fields, "slots", int, where), f"{where}slots")
    preprocess, decode = (
        _one_of(PREPROCESS, _get({word: "cpu", **fields}, word, str, where), f"{where}{word}")
        for word in ("preprocess", "decode")
    )
    if decode != "cpu" and preprocess == "cpu":
        raise ParameterError(
            f"{where}decode is {decode!r}, and the steps after it run on the CPU: say preprocess too"
        )
    inputs, outputs = (
        _one_of(WHERE, _get({side: "host", **fields}, side, str, where), f"{where}{side}")
        for side in ("inputs", "outputs")
    )
    if lengths and "device" in (inputs, outputs):
        raise ParameterError(f"{where}lengths is given, and tensors with an open axis do not stay on the device")
    process = _one_of(PROCESS, _get({"process": "own", **fields}, "process", str, where), f"{where}process")
    alone = {"preprocess": preprocess == "auto", "lengths": bool(lengths), "copies": copies == "inside"}
    alone |= {side: place == "device" for side, place in (("inputs", inputs), ("outputs", outputs))}
    if process == "shared" and any(alone.values()):
        said = ", ".join(word for word, wanted in alone.items() if wanted)
        raise ParameterError(f"{where}process is 'shared', and does not go with all that is said; found {said}")
    return Buffers(buckets, slots, copies, preprocess, lengths, inputs, outputs, decode, process)


def _rising(sizes: list[Any], where: str, what: str) -> tuple[int, ...]:
    found = [_at_least(1, _typed(size, int, f"{where}[{i}]"), f"{where}[{i}]") for i, size in enumerate(sizes)]
    if not found or found != sorted(set(found)):
        raise ParameterError(f"{where} is {_shown(found)}; it must hold {what} that rise")
    return tuple(found)


def _one_of(valid: Sequence[_T], said: object, where: str) -> _T:
    for known in valid:
        if known == said:
            return known
    raise ParameterError(f"{where} is {said!r}; valid are {', '.join(map(str, valid))}")


def _step(step: object, where: str) -> StepSpec:
    arguments = dict(_typed(step, dict, where))
    name = _get(arguments, "step", str, f"{where}.")
    del arguments["step"]
    return StepSpec(name, arguments)


def _tensors(fields: dict[str, Any], key: str, where: str, valid: Sequence[str]) -> tuple[TensorSpec, ...]:
    found = _get(fields, key, list, where)
    tensors = tuple(_tensor(item, f"{where}{key}[{i}]", valid) for i, item in enumerate(found))
    if not tensors:
        raise ParameterError(f"{where}{key} is empty: a model has at least one")
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ParameterError(f"{where}{key} holds the same name twice: {', '.join(t.name for t in tensors)}")
    return tensors


def _tensor(item: object, where: str, valid: Sequence[str]) -> TensorSpec:
    fields = _typed(item, dict, where)
    dtype = _get(fields, "dtype", str, f"{where}.")
    if dtype not in valid:
        hint = " (numpy has no BF16: use FP32 between Python models)" if dtype == "BF16" else ""
        raise ParameterError(f"{where}.dtype is {dtype!r}{hint}; valid are {', '.join(valid)}")
    dims = _get(fields, "dims", list, f"{where}.")
    for length in dims:
        if _typed(length, int, f"{where}.dims") < -1:
            raise ParameterError(f"{where}.dims holds {length}; a length is -1 (any) or at least 0")
    optional = fields.get("optional", False)
    if not isinstance(optional, bool):
        raise ParameterError(f"{where}.optional is {_shown(optional)}; it must be true or false")
    return TensorSpec(_get(fields, "name", str, f"{where}."), dtype, tuple(dims), optional)


def _get(fields: Mapping[str, Any], key: str, kind: type[_T], prefix: str) -> _T:
    if key not in fields:
        raise ParameterError(f"{prefix}{key} is missing")
    return _typed(fields[key], kind, f"{prefix}{key}")


_WORDS: Mapping[type, str] = {dict: "an object", list: "a list", str: "a string", int: "a whole number"}


def _typed(value: object, kind: type[_T], where: str) -> _T:
    # JSON's true is an int to Python, but never a number to a person.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ParameterError(f"{where} is {_shown(value)}; it must be {_WORDS[kind]}")
    return value


def _at_least(least: int, value: int, where: str) -> int:
    if value < least:
        raise ParameterError(f"{where} is {value}; it must be at least {least}")
    return value


def _shown(value: object) -> str:
    text = json.dumps(value) if isinstance(value, (str, int, float, Sequence, dict)) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
