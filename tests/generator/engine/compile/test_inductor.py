"""The Inductor compiler where there is no torch: what it says, what it asks of its worker, and how workers end.

What it compiles is judged where torch is, by benchmarks/engines_inductor.py.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.inductor import answers, worker
from generator.engine.compile.inductor.compiler import InductorCompiler
from generator.engine.compile.inductor.process import run_worker
from generator.engine.compile.inductor.runner import in_rows
from generator.engine.errors import StageError
from generator.engine.runner import OnnxRunner
from tritonkit_runtime.buffered import inductor_module

ROOT = Path(__file__).parents[4]
PROFILE: Profile = {"pixels": ShapeRange((1, 1, 8, 8), (8, 1, 8, 8), (32, 1, 8, 8))}
SETTINGS = Settings("fp32", [PROFILE])
DEADLINE_S = 60.0


class Forced(InductorCompiler):
    """Goes on where something is missing, as on a machine whose torch breaks."""

    def missing(self) -> str:
        return ""


@pytest.fixture(scope="module")
def graph() -> bytes:
    return (ROOT / "models" / "digits.onnx").read_bytes()


def finding_of(compiler: InductorCompiler, graph: bytes, settings: Settings = SETTINGS) -> Any:
    with pytest.raises(StageError) as raised:
        compiler.compile(graph, settings, lambda _: None)
    [finding] = raised.value.findings
    assert "\n" not in finding.message
    return finding


def script(file: Path, text: str) -> str:
    """An interpreter that does something else than its worker."""
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_importing_it_imports_no_torch() -> None:
    import subprocess

    code = (
        "import sys, generator.engine.compile.inductor.compiler, generator.engine.compile.inductor.runner;"
        "print([m for m in ('torch', 'onnx', 'numpy', 'onnx2torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_torch_it_says_so_in_one_sentence(graph: bytes) -> None:
    finding = finding_of(InductorCompiler(), graph)
    assert (finding.code, finding.about) == ("TK961", "engine")
    assert finding.message == (
        "engine inductor needs `torch` and `onnx2torch`, which this Python does not have; "
        '`pip install -c constraints.txt -e python_backend -e ".[inductor]"` in the clone brings it'
    )
    assert "onnx2torch" not in InductorCompiler(factory="net:make").missing()


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    assert "needs `torch`" in InductorCompiler(python=str(tmp_path / "python")).missing()


def test_without_a_compiler_of_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "needs a C++ compiler" in InductorCompiler(python=script(tmp_path / "python", "exit 0")).missing()


def test_what_the_worker_is_asked(graph: bytes) -> None:
    wider: Profile = {"pixels": ShapeRange((2, 1, 8, 8), (16, 1, 8, 8), (64, 1, 8, 8))}
    request = InductorCompiler().request(graph, Settings("fp32", [PROFILE, wider]))
    assert request["ranges"] == {
        "pixels": {
            "dtype": "float32", "min": [1, 1, 8, 8], "opt": [8, 1, 8, 8], "max": [64, 1, 8, 8],
            "axes": ["batch", "", "", ""],
        }
    }  # fmt: skip
    assert (request["outputs"], request["dynamic"]) == (["logits"], True)
    assert json.loads(json.dumps(request)) == request
    fixed: Profile = {"pixels": ShapeRange((1, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 8))}
    assert InductorCompiler().request(graph, Settings("fp32", [fixed]))["dynamic"] is False


def test_a_factory_has_the_shapes_of_the_profile() -> None:
    request = InductorCompiler(factory="net.py:make", root=ROOT).request(b"", SETTINGS)
    assert list(request["ranges"]) == ["pixels"]
    assert (request["factory"], request["root"], request["outputs"]) == ("net.py:make", str(ROOT), [])


def test_no_profile(graph: bytes) -> None:
    finding = finding_of(Forced(), graph, Settings("fp32", []))
    assert (finding.code, finding.about) == ("TK962", "build")


def test_a_worker_that_cannot_go_on_says_in_which_step(graph: bytes) -> None:
    """The real worker in this interpreter, which has no torch."""
    finding = finding_of(Forced(), graph)
    assert finding.code == "TK962"
    assert "at the step “import”: ModuleNotFoundError: No module named 'torch'" in finding.message


def test_a_worker_that_crashes(graph: bytes, tmp_path: Path) -> None:
    finding = finding_of(Forced(python=script(tmp_path / "python", "echo last words; kill -SEGV $$")), graph)
    assert (finding.code, finding.message) == ("TK962", "Inductor died of SIGSEGV: last words")
    finding = finding_of(Forced(python=script(tmp_path / "python", "exit 3")), graph)
    assert finding.message.startswith("Inductor ended with status 3")


def test_torch_compile_takes_the_place_of_a_compiler_that_dies(graph: bytes, tmp_path: Path) -> None:
    """As AOTInductor did on CUDA, which leaves nothing to answer with."""
    code = (
        "import json, os, pathlib, signal, sys; folder = pathlib.Path(sys.argv[2])\n"
        "if json.loads((folder / 'request.json').read_text())['ahead_of_time']: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "(folder / 'engine').write_bytes(b'cache')\n"
        "(folder / 'result.json').write_text(json.dumps({'kind': 'torch.compile', 'why': ''}))\n"
    )
    (tmp_path / "worker.py").write_text(code)
    python = script(tmp_path / "python", f'exec {sys.executable} {tmp_path / "worker.py"} "$@"')
    told: list[str] = []
    made = Forced(python=python).compile(graph, SETTINGS, told.append)
    assert (made.data, made.facts) == (b"cache", {"kind": "torch.compile", "why": "AOTInductor died of SIGSEGV"})
    assert told[1:] == ["inductor: AOTInductor died of SIGSEGV; torch.compile takes its place"]


def test_a_worker_that_takes_too_long(graph: bytes, tmp_path: Path) -> None:
    finding = finding_of(Forced(python=script(tmp_path / "python", "sleep 600"), limit_s=0.3), graph)
    assert finding.code == "TK963"
    assert "did not finish within 0.3 s" in finding.message
    assert "max_autotune" in finding.hint


def gone(pid: int) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


CHILD = "sleep 600 & echo $! > {pid}; wait"


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ended = run_worker([script(tmp_path / "w", CHILD.format(pid=pid))], tmp_path / "log", 1.0, os.environ)
    assert ended.timed_out
    assert ended.status == -signal.SIGKILL
    assert gone(int(pid.read_text()))


def test_ctrl_c_ends_the_worker(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and not (pid.exists() and pid.read_text().strip()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_worker([script(tmp_path / "w", CHILD.format(pid=pid))], tmp_path / "log", DEADLINE_S, os.environ)
    thread.join()
    assert gone(int(pid.read_text()))


def test_a_worker_that_ends_by_itself(tmp_path: Path) -> None:
    ended = run_worker([script(tmp_path / "w", "echo $WORD; exit 7")], tmp_path / "log", DEADLINE_S, {"WORD": "well"})
    assert (ended.status, ended.timed_out, ended.words) == (7, False, "well")


# The worker's own parts that need no torch ---------------------------------------------------------------------------


def test_a_factory_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "net.py").write_text("def make():\n    return 'a module'\n")
    assert worker.factory("nets/net.py:make", str(tmp_path))() == "a module"


def test_classes_of_a_factorys_file_are_found_by_the_names_of_their_modules(tmp_path: Path) -> None:
    """As torch up to 2.11 looks for them while it traces; a file called json.py hides no other module."""
    (tmp_path / "json.py").write_text("class Net:\n    pass\n\n\ndef make():\n    return Net()\n")
    first = type(worker.factory("json.py:make", str(tmp_path))())
    assert importlib.import_module(first.__module__).Net is first
    assert type(worker.factory("json.py:make", str(tmp_path))()) is first
    (tmp_path / "json.py").write_text("class Net:\n    bias = 1\n\n\ndef make():\n    return Net()\n")
    second = type(worker.factory("json.py:make", str(tmp_path))())
    assert second is not first
    assert importlib.import_module(second.__module__).Net is second
    assert sys.modules["json"] is json


def test_a_factorys_file_that_breaks_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("class Net:\n    pass\n\n\n1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        worker.factory("net.py:make", str(tmp_path))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.py:make", "there is no file absent.py"),
        ("net.py:other", "net.py has no function other"),
        ("no_such_module_here:make", "there is no file no_such_module_here"),
    ],
)
def test_a_factory_that_is_not_there(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "net.py").write_text("make = None\n")
    with pytest.raises(ValueError, match=words):
        worker.factory(name, str(tmp_path))


def test_a_factorys_error_is_its_own_code(graph: bytes) -> None:
    result: Mapping[str, str] = {"step": "model", "error": "ValueError: there is no file net.py"}
    finding = InductorCompiler(factory="net.py:make")._finding(result)
    assert (finding.code, finding.about) == ("TK964", "engine")
    assert "net.py:make cannot be used: ValueError: there is no file net.py" in finding.message
    unknown = InductorCompiler()._finding({"step": "model", "error": "NotImplementedError: QuantizeLinear"})
    assert (unknown.code, "torch factory" in unknown.hint) == ("TK962", True)


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (2, 8, 8, 3), (1, 1, 8, 1)])
def test_arrays_have_the_strides_that_their_shape_says(shape: tuple[int, ...]) -> None:
    """Those of one channel are in C order whatever the stride of that axis is."""
    images = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    pixels = np.transpose(images, (0, 3, 1, 2))
    made = in_rows(pixels)
    assert made.strides == np.empty(pixels.shape, np.float32).strides
    np.testing.assert_array_equal(made, pixels)
    number = np.array(3.0, np.float32)
    assert (in_rows(number).shape, in_rows(number)) == ((), number)


def with_names(a, b, c=None):  # type: ignore[no-untyped-def]
    """A forward."""


def with_any(*tensors):  # type: ignore[no-untyped-def]
    """A forward."""


@pytest.mark.parametrize(
    ("forward", "names", "order"),
    [
        (with_names, ["b", "a"], ["a", "b"]),
        (with_names, ["c", "b", "a"], ["a", "b", "c"]),
        (with_names, ["y", "x"], ["y", "x"]),
        (with_names, ["b", "x"], ["b", "x"]),
        (with_any, ["z", "y", "x"], ["z", "y", "x"]),
    ],
)
def test_inputs_go_by_name_or_else_by_place(forward: Any, names: list[str], order: list[str]) -> None:
    made = worker.in_order_of(forward, {name: name.upper() for name in names})
    assert list(made.items()) == [(name, name.upper()) for name in order]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "d"]])
def test_another_number_of_inputs(names: list[str]) -> None:
    with pytest.raises(ValueError, match=rf"takes 2 inputs \(a, b, c\), and the ONNX file has {len(names)}: a"):
        worker.in_order_of(with_names, dict.fromkeys(names))


def test_shapes_are_given_as_forward_takes_them() -> None:
    def one_and_more(first: Any, *others: Any) -> None:
        """A forward."""

    shapes = ({0: "n"}, {0: "m"})
    assert worker.as_forward_takes(with_names, shapes) == shapes
    assert worker.as_forward_takes(with_any, shapes) == (shapes,)
    assert worker.as_forward_takes(one_and_more, shapes) == ({0: "n"}, ({0: "m"},))


@pytest.mark.parametrize("channels_last", [None, True, False])
def test_the_layout_is_asked_for(graph: bytes, channels_last: bool | None) -> None:
    request = InductorCompiler().request(graph, Settings("fp32", [PROFILE], channels_last=channels_last))
    assert request["channels_last"] is channels_last
    options = worker.layout(request["channels_last"])
    assert set(options.values()) == (set() if channels_last is None else {channels_last})
    assert request["expected"] == [{"name": "logits", "dtype": "float32", "dims": [None, 10]}]


@pytest.mark.parametrize(
    ("low", "opt", "high", "expected"),
    [
        (8, 8, 8, 8),
        (1, 1, 32, 2),
        (1, 8, 32, 9),
        (1, 8, 8, 7),
        (1, 16, 32, 16),
        (1, 1, 1, 1),
        (1, 2, 2, 2),
        (7, 8, 9, 9),
    ],
)
def test_usual_lengths_are_none_of_the_fixed_ones(low: int, opt: int, high: int, expected: int) -> None:
    assert inductor_module.usual_length(low, opt, high, {1, 8}) == expected


def test_lengths_that_were_tensors() -> None:
    values = np.arange(24).reshape(2, 3, 4)
    assert inductor_module.reshaped(values, [0, -1]).shape == (2, 12)
    assert inductor_module.reshaped(values, [-1, 0, 2]).shape == (4, 3, 2)


def test_an_output_that_is_one_of_several_comes_through_a_node_of_its_own() -> None:
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Split", ["x"], ["first", "second"], axis=0, num_outputs=2),
        onnx.helper.make_node("Relu", ["first"], ["y"]),
    ]
    floats = onnx.TensorProto.FLOAT
    outputs = [value("y", floats, [1]), value("first", floats, [1])]
    graph = onnx.helper.make_graph(nodes, "split", [value("x", floats, [2])], outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    made = inductor_module.with_identities(onnx, model)
    onnx.checker.check_model(made, full_check=True)
    assert [(node.op_type, list(node.input), list(node.output)) for node in made.graph.node] == [
        ("Split", ["x"], ["first/part", "second"]),
        ("Relu", ["first/part"], ["y"]),
        ("Identity", ["first/part"], ["first"]),
    ]
    answer = OnnxRunner(made.SerializeToString(), threads=1).run({"x": np.array([1, -1], np.float32)})
    assert {name: array.tolist() for name, array in answer.items()} == {"y": [1], "first": [1]}


def test_the_worker_runs_where_nothing_of_the_project_is(tmp_path: Path) -> None:
    """Its two files alone, from another folder."""
    for module in (worker, answers):
        assert module.__file__ is not None
        (tmp_path / Path(module.__file__).name).write_bytes(Path(module.__file__).read_bytes())
    (tmp_path / "request.json").write_text('{"precision": "fp32"}')
    log = tmp_path / "log"
    ended = run_worker([sys.executable, "-I", "-c", ALONE, str(tmp_path)], log, DEADLINE_S, os.environ)
    assert (ended.status, ended.words) == (0, "")
    assert json.loads((tmp_path / "result.json").read_text())["step"] == "import"


# Isolated, it finds no package that is installed for development; a file's folder it would find by itself.
ALONE = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.path[:] = [place for place in sys.path if "site-packages" not in place]
sys.argv[0] = f"{sys.argv[1]}/worker.py"
runpy.run_path(sys.argv[0], run_name="__main__")
assert "generator" not in sys.modules
"""
