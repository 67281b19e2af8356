"""Calls to paste: a pipeline from a shell with curl, and from Python with tritonclient alone."""

from __future__ import annotations

import json
import keyword
import math
import re
import shlex
from typing import Any
from urllib.parse import quote

from generator.problems import UserError
from tritonkit.client.contract import Contract, TensorContract

# Triton carries these over HTTP in binary form only.
_BINARY_BYTES = {"FP16": 2, "BF16": 2}
_NUMPY = {
    "BOOL": "bool_", "FP16": "float16", "FP32": "float32", "FP64": "float64", "STRING": "object",
    **{f"{sign.upper()}{bits}": f"{sign}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_TAKEN = {"np", "triton", "client", "inputs", "result", "Path", "value", "name", "print"}


def curl_snippet(
    contract: Contract, http_address: str, example_file: str = "example.png", version: str | None = None
) -> str:
    """Shell lines that send one item with curl and print the answer as JSON; POSIX tools only.

    STRING inputs of one value are the bytes of `example_file`; other inputs are numbers or text to replace.
    Raises UserError if no output can be shown as JSON.
    """
    shown = [t.name for t in contract.outputs if t.dtype not in _BINARY_BYTES]
    if not shown:
        raise UserError(f"{contract.name!r} has no output that JSON can hold, so curl cannot show it", "use --python")
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in shown]
    inputs: list[dict[str, Any]] = []
    files: list[str] = []
    body = ['printf %s "$header"']
    for tensor in contract.required_inputs or contract.inputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "shape": _shape(contract, tensor),
            "datatype": tensor.wire_dtype,
        }
        if _is_file(tensor):
            number = str(len(files) + 1) if files else ""
            files.append(f"file{number}={shlex.quote(example_file)}")
            files.append(f'size{number}=$(wc -c < "$file{number}")')
            # The number is put in by the shell: it stands in a place that JSON text cannot otherwise hold.
            entry["parameters"] = {"binary_data_size": f"@size{number}@"}
            body += [_length_prefix(f"size{number}"), f'cat "$file{number}"']
        elif tensor.dtype in _BINARY_BYTES:
            size = _BINARY_BYTES[tensor.dtype] * math.prod(_item_dims(tensor))
            entry["parameters"] = {"binary_data_size": size}
            body.append(f"head -c {size} /dev/zero")
        else:
            entry["data"] = [_example(tensor)] * math.prod(_item_dims(tensor))
        inputs.append(entry)
    text = shlex.quote(json.dumps({"inputs": inputs, "outputs": outputs}))
    header = re.sub(r'"@(size\d*)@"', r"'$((\1 + 4))'", text)
    model = quote(contract.name) + (f"/versions/{version}" if version else "")
    url = shlex.quote(f"http://{http_address}/v2/models/{model}/infer")
    lines = [*files, f"header={header}"]
    request = f"{{ {'; '.join(body)}; }}"
    curl = f"curl -sS -w '\\n' -H \"Inference-Header-Content-Length: ${{#header}}\" --data-binary @- {url}"
    return " &&\n".join([*lines, f"{request} |\n  {curl}"]) + "\n"


def python_snippet(
    contract: Contract, grpc_address: str, example_file: str = "example.png", version: str | None = None
) -> str:
    """Python lines that send one item with tritonclient over gRPC and print the outputs.

    They hold no indented block, so that they may be pasted at a Python prompt too.
    """
    tensors = contract.required_inputs or contract.inputs
    imports = ["import numpy as np", "import tritonclient.grpc as triton"]
    if any(t.dtype == "BF16" for t in tensors):
        imports.insert(0, "import ml_dtypes")
    if any(map(_is_file, tensors)):
        imports = ["from pathlib import Path", "", *imports]
    lines = [*imports, ""]
    lines += [f"client = triton.InferenceServerClient({grpc_address!r})", "inputs = []"]
    for tensor in tensors:
        name = _variable(tensor.name)
        lines.append(f"{name} = {_python_array(contract, tensor, example_file)}")
        made = f"triton.InferInput({tensor.name!r}, list({name}.shape), {tensor.wire_dtype!r})"
        lines.append(f"inputs.append({made}.set_data_from_numpy({name}))")
    wanted = f", model_version={version!r}" if version else ""
    lines.append(f"result = client.infer({contract.name!r}, inputs{wanted}, client_timeout=10.0)")
    names = tuple(t.name for t in contract.outputs)
    lines.append(f"print({{name: result.as_numpy(name).tolist() for name in {names!r}}})")
    return "\n".join([*lines, "client.close()"]) + "\n"


def _is_file(tensor: TensorContract) -> bool:
    return tensor.dtype == "STRING" and math.prod(_item_dims(tensor)) == 1


def _item_dims(tensor: TensorContract) -> list[int]:
    """The dims of an example: axes of any length have one element."""
    return [max(d, 1) for d in tensor.dims]


def _shape(contract: Contract, tensor: TensorContract) -> list[int]:
    return [*([1] if contract.max_batch_size else []), *_item_dims(tensor)]


def _example(tensor: TensorContract) -> Any:
    if tensor.dtype == "STRING":
        return "text"
    if tensor.dtype == "BOOL":
        return True
    return 0.5 if tensor.dtype.startswith(("FP", "BF")) else 1


def _length_prefix(variable: str) -> str:
    """Prints a number as the 4 bytes, least significant first, that stand before each value of a BYTES tensor."""
    octets = " ".join(f"$(({variable} >> {shift} & 255))" for shift in (0, 8, 16, 24))
    return f"printf \"$(printf '\\\\%03o' {octets})\""


def _python_array(contract: Contract, tensor: TensorContract, example_file: str) -> str:
    shape = tuple(_shape(contract, tensor))
    if _is_file(tensor):
        return f"np.array([Path({example_file!r}).read_bytes()], dtype=object).reshape({shape})"
    dtype = (
        "ml_dtypes.bfloat16"
        if tensor.dtype == "BF16"
        else f"np.{_NUMPY[tensor.dtype]}".replace("np.object", "object")
    )
    return f"np.full({shape}, {_example(tensor)!r}, dtype={dtype})"


def _variable(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    taken = not plain.isidentifier() or keyword.iskeyword(plain) or plain in _TAKEN
    return f"input_{plain}" if taken else plain
