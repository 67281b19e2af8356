"""`tritonkit infer` sends the inputs of a pipeline that has two of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from story_tools import CLONE, make_project, render_to, running, tritonkit

pytestmark = pytest.mark.server
STEP = """
import numpy as np


class Caption:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        rows = zip(tensors["image"][:, 0], tensors["text"][:, 0])
        said = [[f"{text.decode()}: {len(image)} bytes".encode()] for image, text in rows]
        return {"caption": np.array(said, object)}


class Scale:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        if tensors["unit"][0, 0] == b"":
            fail(0, "the unit is empty")
        return {"scaled": tensors["x"] * 2, "unit_back": tensors["unit"]}
"""
SPECS = {
    "caption.yaml": """
name: caption
inputs: {image: {type: bytes}, text: {type: string}}
outputs: {caption: {type: string}}
models:
  only:
    python: steps/named.py:Caption
    inputs: {image: {type: bytes}, text: {type: string}}
    outputs: {caption: {type: string}}
""",
    "scale.yaml": """
name: scale
inputs: {x: {type: fp32, dims: [2]}, unit: {type: string}}
outputs: {scaled: {type: fp32, dims: [2]}, unit_back: {type: string}}
models:
  only:
    python: steps/named.py:Scale
    inputs: {x: {type: fp32, dims: [2]}, unit: {type: string}}
    outputs: {scaled: {type: fp32, dims: [2]}, unit_back: {type: string}}
""",
}
Infer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def infer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infer]:
    """`tritonkit infer` to a server of both pipelines, in a folder with an image and an array."""
    root = tmp_path_factory.mktemp("named") / "project"
    project = make_project(root, SPECS)
    (root / "steps" / "named.py").write_text(STEP, encoding="utf-8")
    (root / "a.png").write_bytes((CLONE / "data" / "examples" / "seven.png").read_bytes())
    (root / "x=y.png").write_bytes(b"1234")
    np.save(root / "x.npy", np.array([1.5, -3], np.float32))
    np.save(root / "long.npy", np.zeros(3, np.float32))
    with running(render_to(root / "out", project)) as server:

        def sent(*arguments: str, protocol: str = "grpc") -> subprocess.CompletedProcess[str]:
            address = server.server.grpc_address if protocol == "grpc" else server.server.http_address
            return tritonkit(root, "infer", *arguments, "--address", address, "--protocol", protocol)

        yield sent


def size() -> int:
    return (CLONE / "data" / "examples" / "seven.png").stat().st_size


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_file_and_a_text(infer: Infer, protocol: str) -> None:
    done = infer("caption", "image=a.png", "text=hello there", protocol=protocol)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"image=a.png text=hello there: caption hello there: {size()} bytes\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [("=a.png", "a.png"), ("==", "="), ("data", "data"), ("", ""), ("e.g. this.one", "e.g. this.one"),
     ("3.14", "3.14"), ("ü\n", "ü\n"), ("a=b", "a=b"), ("x" * 5000, "x" * 5000)],
)  # fmt: skip
def test_what_is_text(infer: Infer, value: str, text: str) -> None:
    done = infer("caption", f"text={value}", "image=x=y.png", "--json")
    assert done.returncode == 0, done.stderr
    [answer] = json.loads(done.stdout)
    assert answer["outputs"] == {"caption": [f"{text}: 4 bytes"]}
    assert answer["error"] is None


def test_an_array(infer: Infer) -> None:
    done = infer("scale", "unit=mm", "x=x.npy", "--json")
    assert done.returncode == 0, done.stderr
    [answer] = json.loads(done.stdout)
    assert answer["outputs"] == {"scaled": [3.0, -6.0], "unit_back": ["mm"]}
    assert answer["source"] == "unit=mm x=x.npy"


def test_what_the_pipeline_refuses(infer: Infer) -> None:
    done = infer("scale", "unit=", "x=x.npy")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the unit is empty" in done.stderr
    done = infer("scale", "unit=mm", "x=long.npy")
    assert (done.returncode, done.stdout) == (1, "")
    assert "input 'x' takes FP32 [2], found FP32 [3]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["caption", "a.png"], "`caption` takes 2 inputs: `image` (STRING [1]), `text` (STRING [1])",
         "tritonkit infer caption image=... text=..."),
        (["caption", "image=a.png"], "no value for `text` (STRING [1])", "`text=...`"),
        (["caption", "image=a.png", "txt=hello"], "`caption` has no input `txt`", "`image` (STRING [1]), `text`"),
        (["caption", "text=a", "image=a.png", "text=b"], "input `text` is given twice: `a` and `b`", "give it once"),
        (["caption", "image=a.png", "hello"], "`hello` says not of which input it is", "INPUT=VALUE"),
        (["caption", "x=y.png", "text=a"], "`x=y.png` says not of which input it is", "INPUT=VALUE"),
        (["caption", "image=b.png", "text=a"], "there is no file b.png for input `image`", "`image==b.png`"),
        (["scale", "x=1.5", "unit=mm"], "input `x` takes FP32 [2], found `1.5`", "x=FILE.npy"),
        (["scale", "x=no.npy", "unit=mm"], "there is no file no.npy for input `x`", ""),
    ],
)  # fmt: skip
def test_mistakes(infer: Infer, arguments: list[str], says: str, hint: str) -> None:
    done = infer(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {says}")
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
