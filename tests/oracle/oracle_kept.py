"""What is not asked of a live server: it would end, or wait for ever. All of it was seen on 2.51. And one thing that
lint cannot see."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from oracle_repository import Model, Repository

from generator.pbtxt.reader import read

ENDS, WAITS = "the server ends", "the server waits for ever"
_NUMBER = re.compile(r"^\s*[+-]?\d+")
_MOST_BYTES = 1 << 28
_STRATEGY = "TRITON_BATCH_STRATEGY_PATH"


def kept_away(repository: Repository, config_name: str = "") -> str:
    """Why a live server may not be asked about it; empty: it may. `config_name` is its --model-config-name."""
    configs = {model.folder: _config(model, config_name) for model in repository.models.values()}
    for model in repository.models.values():
        found = _versions(model) or _code(model, configs[model.folder])
        if found:
            return found
        config = configs[model.folder]
        if config is not None:
            for found in (
                *_strategies(config),
                *_batch_outputs(config),
                *_warmups(model, config),
                *_states(model, config),
                *_labels(model, config),
            ):
                return found
    return _above_a_circle(configs)


def _config(model: Model, config_name: str) -> Any:
    """What the server reads; None where it reads nothing, and stops at that."""
    named = model.files.get(f"configs/{config_name}.pbtxt")
    return read((model.text or "") if named is None else named, model.folder).message


def _folders(model: Model) -> set[str]:
    """The directories in the model's own."""
    return {name.split("/")[0] for name in model.files if "/" in name} | {name.split("/")[0] for name in model.empty}


def _versions(model: Model) -> str:
    for name in _folders(model):
        match = _NUMBER.match(name)
        if match and not -(2**63) <= int(match[0]) < 2**63:
            return f"a version directory's number does not fit into 64 bits: {ENDS}"
        if match and int(match[0]) < 0:
            return "a version directory's number is negative: unloading it hangs"
    return ""


def _code(model: Model, config: Any) -> str:
    """A Python model without its code in a version directory."""
    if model.is_ensemble and (config is None or not config.backend):
        return ""
    name = (config.default_model_filename if config is not None else "") or "model.py"
    for folder in _folders(model):
        match = _NUMBER.match(folder)
        # The server looks in a directory that is called as the number is, whatever the name goes on with.
        if match and f"{int(match[0])}/{name}" not in model.files:
            return f"a version has no model.py: {WAITS}"
    return ""


def _strategies(config: Any) -> Iterator[str]:
    given = config.parameters[_STRATEGY].string_value if _STRATEGY in config.parameters else ""
    if given and not config.HasField("sequence_batching"):
        yield "a batching strategy somewhere on the server's machine: lint cannot see it"


def _batch_outputs(config: Any) -> Iterator[str]:
    if any(not entry.target_name for entry in config.batch_output):
        yield f"a batch_output has no target: {ENDS}"


def _warmups(model: Model, config: Any) -> Iterator[str]:
    codes = [data for name, data in model.files.items() if name.endswith(".py")]
    for sample in config.model_warmup:
        if sample.batch_size and any(b"class TritonPythonModel" in c and b"def execute" not in c for c in codes):
            yield f"a warm-up of a model that cannot run: {ENDS}, at times"
        if sample.batch_size > max(config.max_batch_size, 1):
            yield f"a warm-up batch is larger than max_batch_size: {ENDS}"
        for key, entry in sample.inputs.items():
            if not key:
                yield f"a warm-up input without a name: {ENDS}"
            if entry.WhichOneof("input_data_type") == "input_data_file" and not entry.input_data_file:
                yield f"a warm-up file without a name: {ENDS}"
            if math.prod(max(size, 1) for size in entry.dims) > _MOST_BYTES:
                yield "warm-up data beyond all memory"


def _states(model: Model, config: Any) -> Iterator[str]:
    has_folder = "initial_state" in _folders(model)
    for state in config.sequence_batching.state:
        for initial in state.initial_state:
            if initial.WhichOneof("state_data") == "data_file" and not initial.data_file and has_folder:
                yield f"a state's file without a name: {ENDS}"
            if math.prod(initial.dims) < 0 and -1 not in initial.dims:
                yield f"an initial state of less than no elements: {ENDS}"
            if math.prod(max(size, 1) for size in initial.dims) > _MOST_BYTES:
                yield f"an initial state beyond all memory: {ENDS}"


def _labels(model: Model, config: Any) -> Iterator[str]:
    folders = _folders(model)
    for output in config.output:
        parts = [part for part in output.label_filename.split("/") if part not in ("", ".")]
        if output.label_filename and (not parts or (len(parts) == 1 and parts[0] in {*folders, ".."})):
            yield f"a file of labels that is a directory: {ENDS}"


def _above_a_circle(configs: dict[str, Any]) -> str:
    """An ensemble above a circle of others that it is not part of."""
    below = {
        name: {step.model_name for step in config.ensemble_scheduling.step} & set(configs)
        if config is not None
        else set()
        for name, config in configs.items()
    }
    reached = {name: _reached(name, below) for name in below}
    circles = {name for name in below if name in reached[name]}
    if any(reached[name] & circles and name not in circles for name in below):
        return f"an ensemble above a circle of ensembles: {ENDS}"
    return ""


def _reached(name: str, below: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(below[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += below[one]
    return found
