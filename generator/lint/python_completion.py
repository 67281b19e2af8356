"""What a Python model's `auto_complete_config` makes of its configuration, as far as that can be read."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from generator.lint.model import tensor_map
from generator.lint.python_source import Function, Source, certain_calls, sources
from generator.lint.words import enum_name

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig
    from generator.lint.model import Model

Call = tuple[ast.Call, str, list[object]]
NAME = "auto_complete_config"
PROPERTIES = ("name", "data_type", "dims")


def readable_calls(model: Model, config: ModelConfig) -> list[Call] | None:
    """The calls that complete a model in any case; none where it has no such function. None where more may happen
    than can be read, or another thing in another version."""
    found: list[list[Call]] = []
    for source in sources(model, config):
        calls = _of(source)
        if calls is None:
            return None
        found.append(calls)
    said = [[(name, arguments) for _, name, arguments in calls] for calls in found]
    return None if any(each != said[0] for each in said) else found[0] if found else []


def _of(source: Source) -> list[Call] | None:
    if not source.may_complete:
        return []
    method = source.parsed.method(NAME)
    if method is None or source.parsed.is_mixed or isinstance(method, ast.AsyncFunctionDef):
        return None
    calls = certain_calls(method)
    known = {id(node) for node, _, arguments in calls if None not in arguments and not node.keywords}
    return calls if all(_is_plain(statement, known) for statement in method.body) and _gives_back(method) else None


def _is_plain(statement: ast.stmt, known: set[int]) -> bool:
    """Whether a statement does nothing, or only what is known."""
    if isinstance(statement, ast.Pass | ast.Return):
        return True
    return isinstance(statement, ast.Expr) and (
        isinstance(statement.value, ast.Constant) or id(statement.value) in known
    )


def _gives_back(method: Function) -> bool:
    """Whether a function of plain statements returns its last argument."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    last = method.body[-1]
    value = last.value if isinstance(last, ast.Return) else None
    return bool(arguments) and isinstance(value, ast.Name) and value.id == arguments[-1].arg


def complete(config: ModelConfig, calls: list[Call]) -> tuple[ast.Call, str] | None:
    """Make the calls on `config`, up to the first that raises: its node, and what is wrong with it."""
    known = {"input": tensor_map(config.input), "output": tensor_map(config.output)}
    for node, name, arguments in calls:
        given = arguments[0] if arguments else None
        wrong = ""
        if name == "set_max_batch_size" and isinstance(given, int):
            wrong = _batch_size(config, given)
        elif name == "set_dynamic_batching":
            wrong = _batcher(config)
        elif name == "set_model_transaction_policy" and isinstance(given, dict):
            wrong = _policy(config, given)
        elif name in ("add_input", "add_output") and isinstance(given, dict):
            where = name.removeprefix("add_")
            wrong = _tensor(config, where, given, known[where])
        if wrong:
            return node, wrong
    return None


def _batch_size(config: ModelConfig, given: int) -> str:
    if given < config.max_batch_size:
        return (
            f"auto_complete_config lowers max_batch_size to {_shown(given)}, and {config.max_batch_size} is written"
        )
    if given < 2**31:
        config.max_batch_size = given
    return ""


def _batcher(config: ModelConfig) -> str:
    if config.HasField("sequence_batching"):
        return "auto_complete_config sets the dynamic batcher, and sequence_batching is written"
    config.dynamic_batching.SetInParent()
    return ""


def _policy(config: ModelConfig, given: dict[str, Any]) -> str:
    for key in given:
        if key != "decoupled":
            return (
                f"auto_complete_config gives model_transaction_policy the property `{_shown(key)}`; valid: decoupled"
            )
    decoupled = bool(given.get("decoupled", False))
    policy = config.model_transaction_policy
    if config.HasField("model_transaction_policy") and given and policy.decoupled != decoupled:
        text = "true" if policy.decoupled else "false"
        return f"auto_complete_config changes decoupled, and model_transaction_policy is written with {text}"
    policy.decoupled = decoupled
    return ""


def _tensor(config: ModelConfig, where: str, given: dict[str, Any], known: dict[str, Any]) -> str:
    allowed = PROPERTIES if where == "output" else (*PROPERTIES, "optional")
    for key in given:
        if key not in allowed:
            return f"auto_complete_config gives an {where} the property `{_shown(key)}`; valid: {', '.join(allowed)}"
    for key in PROPERTIES:
        if key not in given:
            return f"auto_complete_config adds an {where} without `{key}`"
    tensors = getattr(config, where)
    same = known.get(given["name"]) if isinstance(given["name"], str) else None
    types = tensors.add().DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_name
    del tensors[-1]
    if same is not None:
        written = enum_name(same, "data_type")
        if written not in ("TYPE_INVALID", given["data_type"]):
            return f"auto_complete_config gives `{same.name}` another type than {written}, which is written"
        if same.dims and list(same.dims) != given["dims"]:
            return f"auto_complete_config gives `{same.name}` other dims than are written"
        if where == "input" and "optional" in given and same.optional != given["optional"]:
            return f"auto_complete_config changes `optional` of `{same.name}`, which is written"
    dims = given["dims"]
    if same is None and _are_dims(dims) and any(size < 1 and size != -1 for size in dims):
        return f"auto_complete_config gives `{_shown(given['name'])}` an axis that is neither 1 or more nor -1"
    is_known = isinstance(given["data_type"], str) and given["data_type"] in types
    if not is_known or not _is_text(given["name"]) or not _are_dims(dims):
        return ""
    tensor = known[given["name"]] = tensors.add(name=given["name"]) if same is None else same
    tensor.data_type = types[given["data_type"]].number
    tensor.dims[:] = dims
    if given.get("optional"):
        tensor.optional = True
    return ""


def _is_text(name: object) -> bool:
    """Whether a name can stand in a configuration: half of a pair of surrogates is a str in Python, and no text."""
    return isinstance(name, str) and not any("\ud800" <= character <= "\udfff" for character in name)


def _shown(value: object) -> str:
    """A literal in a message. Python writes no number of thousands of digits, and no lone surrogate."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _are_dims(dims: object) -> bool:
    return isinstance(dims, list) and all(isinstance(size, int) and -(2**63) <= size < 2**63 for size in dims)
