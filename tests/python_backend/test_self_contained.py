from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.self_contained import sources


def test_only_sources_and_only_the_engine_that_is_used() -> None:
    plain, with_engine = sources(), sources({"onnxruntime"})
    assert all(path.startswith("tritonkit_runtime/") and path.endswith(".py") for path in with_engine)
    assert {"tritonkit_runtime/adapter.py", "tritonkit_runtime/steps/decode.py"} <= set(plain)
    assert set(with_engine) - set(plain) == {"tritonkit_runtime/engines/onnxruntime.py"}
    assert list(plain) == sorted(plain)
    assert not [path for path in with_engine if "buffered" in path or "device" in path], "it runs in no buffers"
    with pytest.raises(ParameterError, match="there is no engine 'tvm'"):
        sources({"tvm"})


def test_engines_in_buffers_bring_what_they_are_made_of() -> None:
    plain, onnx, plan = set(sources()), set(sources((), {"onnxruntime"})), set(sources((), {"tensorrt"}))
    shared = {f"tritonkit_runtime/{name}.py" for name in ("buffered/ring", "device/cuda", "programs/buffered")}
    assert shared <= (onnx & plan) - plain
    own = {"tritonkit_runtime/buffered/onnxruntime.py", "tritonkit_runtime/engines/onnxruntime.py"}
    assert onnx - plan == own
    assert plan - onnx == {f"tritonkit_runtime/buffered/{name}.py" for name in ("tensorrt", "tensorrt_bindings")}
    assert set(sources({"onnxruntime"}, {"onnxruntime", "tensorrt"})) == onnx | plan
    with pytest.raises(ParameterError, match="there is no engine 'tvm'; valid are onnxruntime, tensorrt"):
        sources((), {"tvm"})


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_such_a_copy_says_what_is_missing_and_no_more(tmp_path: Path, engine: str) -> None:
    """Whatever the engine imports of the package is there."""
    for path, content in sources((), {engine}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "model").write_bytes(b"nonsense")
    code = f"""import sys; sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
from tritonkit_runtime.parameters import Buffers, EngineProgram, Limits, ParameterError, TensorSpec
from tritonkit_runtime.programs.runners import Signature, single_runner
x = TensorSpec("x", "FP32", (4,))
program = EngineProgram({engine!r}, "model", 1, Buffers((1,), 2, "auto"))
try: single_runner(program, Signature((x,), (x,), 1, Limits()), Path({str(tmp_path)!r}), "m")
except ParameterError as error: print(error)
import tritonkit_runtime.buffered.{engine} as found; print(found.__file__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, file = done.stdout.strip().splitlines()
    assert told.startswith("ONNX Runtime cannot load" if engine == "onnxruntime" else "TensorRT runs on a GPU")
    assert file == str(tmp_path / "tritonkit_runtime" / "buffered" / f"{engine}.py")


def test_steps_on_the_gpu_bring_the_kernel_and_no_others_do(tmp_path: Path) -> None:
    plain, kernel = sources((), {"tensorrt"}), sources((), {"tensorrt"}, preprocess=True)
    assert {path.split("/", 1)[1] for path in set(kernel) - set(plain)} == {
        "programs/pairs.py", "programs/preprocessed.py",
        *(f"preprocess/{name}.py" for name in (
            "__init__", "decoder", "errors", "filling", "jpeg", "kernel", "nvimgcodec", "nvrtc", "packing", "parcel",
            "pattern", "recipe", "source", "staging", "wanted",
        )),
    }  # fmt: skip
    shared, both = (sources((), {"tensorrt"}, preprocess=asked, shared=True) for asked in (False, True))
    added = {path.split("/", 1)[1] for path in set(both) - set(kernel) - set(shared)}
    assert added == {"engine_process/decoding.py", "programs/handed_over.py"}, "what joins the two"
    for path, content in kernel.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tritonkit_runtime.programs.preprocessed as p"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(p.__file__)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "tritonkit_runtime" / "programs" / "preprocessed.py")


def test_the_copy_is_what_is_imported(tmp_path: Path) -> None:
    for path, content in sources().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tritonkit_runtime import programs; "
    code += "print(programs.__file__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path / "tritonkit_runtime" / "programs" / "__init__.py")
