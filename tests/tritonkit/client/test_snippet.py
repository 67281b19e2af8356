"""Snippets are pasted into real shells and into Python, and answer."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tritonclient.utils import np_to_triton_dtype

from generator.problems import UserError
from tritonkit import Contract, Pipeline, TensorContract
from tritonkit.client.snippet import curl_snippet, python_snippet


def contract_of(server: Any, name: str) -> Contract:
    with Pipeline(name, server.addresses["grpc"]) as pipeline:
        return pipeline.contract


def paste(shell: list[str], text: str, folder: Path) -> str:
    done = subprocess.run(shell, input=text, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.server
@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("size_bytes", [0, 1, 37, 252, 65_536, 1_000_003])  # each byte of the length prefix is met
def test_curl_sends_a_file_of_any_bytes(server: Any, tmp_path: Path, shell: str, size_bytes: int) -> None:
    text_shown = b"The model answers with 32 bytes."
    data = (text_shown + random.Random(size_bytes).randbytes(size_bytes))[:size_bytes]
    (tmp_path / "it's a file.bin").write_bytes(data)
    text = curl_snippet(contract_of(server, "echo"), server.addresses["http"], "it's a file.bin")
    outputs = {o["name"]: o["data"] for o in json.loads(paste([shell], text, tmp_path))["outputs"]}
    assert outputs["text"] == [data[:32].decode()]
    assert outputs["size"] == [size_bytes]
    assert outputs["score"] == [size_bytes, 0.5, -1.0]


@pytest.mark.server
def test_curl_shows_the_servers_error_and_stops_without_the_file(server: Any, tmp_path: Path) -> None:
    text = curl_snippet(contract_of(server, "echo"), server.addresses["http"], "a.bin")
    done = subprocess.run(["sh"], input=text, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "a.bin" in done.stderr
    (tmp_path / "a.bin").write_bytes(b"bad one")
    assert json.loads(paste(["sh"], text, tmp_path)) == {"error": "cannot decode bad one: not an image"}


@pytest.mark.server
def test_curl_sends_numbers(server: Any, tmp_path: Path) -> None:
    text = curl_snippet(contract_of(server, "numeric"), server.addresses["http"])
    outputs = {o["name"]: o["data"] for o in json.loads(paste(["sh"], text, tmp_path))["outputs"]}
    assert outputs == {"twice": [1.0] * 6, "total": [1]}


@pytest.mark.server
def test_curl_mixes_files_text_numbers_and_binary_numbers(server: Any, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"12345")
    inputs = (
        TensorContract("matrix", "FP32", (2, 3)),
        TensorContract("half", "FP16", (2,)),
        TensorContract("counts", "INT32", (-1,)),
        TensorContract("words", "STRING", (2,)),
    )
    contract = Contract("numeric", inputs, (TensorContract("total", "INT32", (1,)),), 4)
    text = curl_snippet(contract, server.addresses["http"])
    assert json.loads(paste(["sh"], text, tmp_path))["outputs"][0]["data"] == [1 + len("texttext")]


@pytest.mark.server
@pytest.mark.parametrize("how", [["-"], ["-i", "-q"]])  # as a program, and at the prompt
def test_python_sends_a_file(server: Any, tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "a.bin").write_bytes(b"hello")
    text = python_snippet(contract_of(server, "echo"), server.addresses["grpc"], "a.bin")
    assert len(text.splitlines()) <= 12
    argv = [sys.executable, *how]
    done = subprocess.run(argv, input=text, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ast.literal_eval(done.stdout) == {"text": [[b"hello"]], "size": [[5]], "score": [[5.0, 0.5, -1.0]]}


@pytest.mark.server
def test_python_sends_numbers_and_text(server: Any, tmp_path: Path) -> None:
    contract = contract_of(server, "numeric")
    inputs = tuple(TensorContract(t.name, t.dtype, t.dims) for t in contract.inputs)
    text = python_snippet(Contract("numeric", inputs, contract.outputs, 4), server.addresses["grpc"])
    found = ast.literal_eval(paste([sys.executable, "-"], text, tmp_path))
    assert found == {"twice": [[[1.0] * 3] * 2], "total": [[1 + len("texttext")]]}


def test_names_that_python_or_the_shell_would_misread_are_quoted() -> None:
    inputs = (TensorContract("class", "FP32", (1,)), TensorContract("it's $(x)", "BF16", (1,)))
    contract = Contract("a b'c", inputs, (TensorContract('o"ut', "FP32", (1,)),), 0)
    ast.parse(python_snippet(contract, "localhost:8001"))
    text = curl_snippet(contract, "localhost:8000")
    shown = subprocess.run(
        ["sh"], input=text.replace("curl ", "cat #"), capture_output=True, text=True, timeout=60, check=True
    ).stdout
    header, end = json.JSONDecoder().raw_decode(shown)
    assert [i["name"] for i in header["inputs"]] == ["class", "it's $(x)"]
    assert header["outputs"][0]["name"] == 'o"ut'
    assert shown[end:] == "\0\0"
    assert "/v2/models/a%20b%27c/infer" in text


def test_curl_cannot_show_what_json_cannot_hold() -> None:
    contract = Contract("m", (), (TensorContract("half", "FP16", (1,)),), 0)
    with pytest.raises(UserError, match="'m' has no output that JSON can hold, so curl cannot show it") as caught:
        curl_snippet(contract, "localhost:8000")
    assert caught.value.hint == "use --python"


def test_python_makes_arrays_of_every_dtype() -> None:
    dtypes = ["BOOL", "FP16", "FP32", "FP64", "BF16", "STRING"]
    dtypes += [f"{sign}{bits}" for sign in ("INT", "UINT") for bits in (8, 16, 32, 64)]
    inputs = tuple(TensorContract(f"x_{dtype}", dtype, (2,)) for dtype in dtypes)
    lines = python_snippet(Contract("m", inputs, (), 0), "localhost:8001").splitlines()
    known: dict[str, Any] = {}
    exec("\n".join(line for line in lines if line.startswith(("import", "x_"))), known)
    found = {dtype: np_to_triton_dtype(known[f"x_{dtype}"].dtype) for dtype in dtypes}
    assert found == {dtype: "BYTES" if dtype == "STRING" else dtype for dtype in dtypes}


@pytest.mark.server
def test_a_version_is_asked_for(server: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    contract = contract_of(server, "echo")
    curl = curl_snippet(contract, server.addresses["http"], "a.bin", "1")
    assert "/v2/models/echo/versions/1/infer" in curl
    outputs = {o["name"]: o["data"] for o in json.loads(paste(["sh"], curl, tmp_path))["outputs"]}
    assert outputs["size"] == [3]
    python = python_snippet(contract, server.addresses["grpc"], "a.bin", "1")
    assert ast.literal_eval(paste([sys.executable, "-"], python, tmp_path))["size"] == [[3]]
    gone = curl_snippet(contract, server.addresses["http"], "a.bin", "9")
    assert "version 9 is not found" in json.loads(paste(["sh"], gone, tmp_path))["error"]
