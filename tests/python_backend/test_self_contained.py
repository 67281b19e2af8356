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
    assert not [path for path in with_engine if path.split("/")[1] in ("buffered", "device")], "no program runs these"
    with pytest.raises(ParameterError, match="there is no engine 'tvm'"):
        sources({"tvm"})


def test_the_copy_is_what_is_imported(tmp_path: Path) -> None:
    for path, content in sources().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tritonkit_runtime import programs; "
    code += "print(programs.__file__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path / "tritonkit_runtime" / "programs" / "__init__.py")
