"""`image=seven.png text=hello`: the inputs of one request, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generator.problems import UserError

if TYPE_CHECKING:
    from tritonkit.client.contract import Contract, TensorContract
    from tritonkit.client.values import Value

_NAMED = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_LIKE_A_FILE = re.compile(r"\S*[\w)]\.[A-Za-z]\w{0,4}")


def split(arguments: Sequence[str], inputs: Sequence[str]) -> dict[str, str] | None:
    """Input → value; None where the arguments are files. A file with a `=` in its name is a file if it is there.

    `inputs` are the pipeline's: their names have characters that others do not have, as TensorFlow's `image:0`.
    Raises UserError: an input given twice, or names beside files.
    """
    found = [None if _exists(argument) else _named(argument, inputs) for argument in arguments]
    named = [pair for pair in found if pair is not None]
    if not named:
        return None
    for argument, pair in zip(arguments, found, strict=True):
        if pair is None:
            raise UserError(f"`{argument}` says not of which input it is, as `{'='.join(named[0])}` does",
                            "give every input as INPUT=VALUE, or files alone")  # fmt: skip
    values: dict[str, str] = {}
    for name, value in named:
        if name in values:
            raise UserError(f"input `{name}` is given twice: `{values[name]}` and `{value}`", "give it once")
        values[name] = value
    return values


def _named(argument: str, inputs: Sequence[str]) -> tuple[str, str] | None:
    """Input and value; of an input that the pipeline lacks where it looks like a name. None for what names none."""
    if known := [name for name in inputs if argument.startswith(f"{name}=")]:
        name = max(known, key=len)  # a name may have a `=` itself
        return name, argument[len(name) + 1 :]
    match = _NAMED.fullmatch(argument)
    return None if match is None else (match[1], match[2])


def one_input(contract: Contract) -> None:
    """Raises UserError where files alone do not say which of several inputs they are."""
    if len(contract.required_inputs) > 1:
        inputs = contract.required_inputs
        example = " ".join(f"{tensor.name}=..." for tensor in inputs)
        raise UserError(
            f"`{contract.name}` takes {len(inputs)} inputs: {_listed(inputs)}",
            f"give each by name: `tritonkit infer {contract.name} {example}`",
        )


def item_of(contract: Contract, named: Mapping[str, str]) -> dict[str, Value]:
    """What the client sends for the named values. Raises UserError with what is missing, unknown or no such value."""
    known = {tensor.name: tensor for tensor in contract.inputs}
    unknown = [f"`{name}`" for name in named if name not in known]
    if unknown:
        raise UserError(
            f"`{contract.name}` has no input {', '.join(unknown)}", f"it takes {_listed(contract.inputs)}"
        )
    missing = [tensor for tensor in contract.required_inputs if tensor.name not in named]
    if missing:
        example = " ".join(f"{tensor.name}=..." for tensor in missing)
        raise UserError(f"no value for {_listed(missing)}", f"give it as `{example}`")
    return {name: _value(known[name], value) for name, value in named.items()}


def _listed(tensors: Sequence[TensorContract]) -> str:
    return ", ".join(f"`{tensor.name}` ({tensor.describe()})" for tensor in tensors)


def _value(tensor: TensorContract, value: str) -> Value:
    if tensor.dtype != "STRING":
        if not value.endswith(".npy"):
            raise UserError(f"input `{tensor.name}` takes {tensor.describe()}, found `{value}`",
                            f"give an array in a .npy file: `{tensor.name}=FILE.npy`")  # fmt: skip
        return _file(tensor, value)
    if value.startswith("="):
        return _text(value[1:])
    return _file(tensor, value) if _exists(value, of_a_file=True) or _LIKE_A_FILE.fullmatch(value) else _text(value)


def _file(tensor: TensorContract, value: str) -> Path:
    if not _exists(value):
        hint = f"`{tensor.name}=={value}` sends it as text" if tensor.dtype == "STRING" else ""
        raise UserError(f"there is no file {value} for input `{tensor.name}`", hint)
    return Path(value)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")  # as the shell gave it


def _exists(value: str, *, of_a_file: bool = False) -> bool:
    try:
        return bool(value) and (Path(value).is_file() if of_a_file else Path(value).exists())
    except (OSError, ValueError):  # longer than a name may be
        return False
