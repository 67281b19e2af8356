"""Causes read from real logs of tritonserver 2.51 (logs/): shortened, their paths replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.embedded import log

LOGS = Path(__file__).parent / "logs"

# log, (model, kind, beginning of the sentence) of each cause
EXPECTED: list[tuple[str, list[tuple[str, str, str]]]] = [
    (
        "pbtxt_field",
        [("echo", "config", 'echo/config.pbtxt:3:15: there is no field "max_batch_sise" in ModelConfig')],
    ),
    ("pbtxt_enum", [("echo", "config", 'echo/config.pbtxt:4:41: "TYPE_FP31" is no value of data_type')]),
    ("pbtxt_syntax", [("echo", "config", "echo/config.pbtxt:6:43: Expected identifier, got: ]")]),
    (
        "init_raise",
        [
            (
                "echo",
                "python",
                "RuntimeError: labels file has 3 lines, the model 10 classes (echo/1/model.py:4, in initialize)",
            )
        ],
    ),
    (
        "init_multiline",
        [("echo", "python", "ValueError: first line / second line (echo/1/model.py:4, in initialize)")],
    ),
    ("import_error", [("echo", "python", "ModuleNotFoundError: No module named 'not_a_module' (echo/1/model.py:1")]),
    ("syntax_error", [("echo", "python", "SyntaxError: expected ':' (model.py, line 3)")]),
    ("no_class", [("echo", "python", "AttributeError: module '1.model' has no attribute 'TritonPythonModel'")]),
    ("nonumpy", [("echo", "python", "ModuleNotFoundError: No module named 'numpy'")]),
    ("init_exit", [("echo", "crash", "its Python process ended while it started")]),
    ("missing_model_py", [("echo", "python", "its 1/model.py is missing")]),
    ("kind_gpu", [("echo", "gpu", "it asks for a GPU (KIND_GPU)")]),
    ("backend_unknown", [("echo", "backend", "it needs the backend onnxruntime")]),
    ("bad_dims", [("echo", "config", "model input 'x' dimension must be integer >= 1, or -1")]),
    ("name_mismatch", [("echo", "config", "unexpected directory name 'echo' for model 'other'")]),
    ("no_version", [("echo", "config", "it has no version that its version policy allows")]),
    ("version_policy", [("echo", "config", "version 3 is specified for model 'echo', but the version directory")]),
    ("ensemble_type", [("pipe", "config", "ensemble tensor b: inconsistent data type: TYPE_INT32")]),
    ("ensemble_missing", [("pipe", "config", "its member echo is not in the repository")]),
    ("ensemble_member_fails", [("echo", "python", "RuntimeError: weights are gone")]),
    (
        "two_fail",
        [
            ("second", "config", 'second/config.pbtxt:3:15: there is no field "max_batch_sise"'),
            ("echo", "python", "RuntimeError: weights are gone"),
        ],
    ),
    ("nolib", [("", "libpython", "a library of the server's is missing: libpython3.12.so.1.0")]),
    ("shm", [("echo", "shm", "the shared memory of this machine is too small: each instance takes 57220 MiB")]),
    ("port_http", [("", "port", "port 18777, wanted for HTTP, is taken")]),
    ("port_grpc", [("", "port", "port 18777, wanted for GRPC, is taken")]),
    ("port_metrics", [("", "port", "port 18777, wanted for Metrics, is taken")]),
    ("flag", [("", "flag", "the server refused its command line: unrecognized option '--no-such-flag=1'")]),
    ("restricted", [("", "flag", "the server refused its command line: unknown restricted api 'bogus'")]),
    ("no_repository", [("", "config", "there is no model repository /srv/models")]),
    ("okay", []),
]


def read(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


@pytest.mark.parametrize(("name", "expected"), EXPECTED, ids=[name for name, _ in EXPECTED])
def test_causes(name: str, expected: list[tuple[str, str, str]]) -> None:
    found = log.causes(read(name))
    assert [(cause.model, cause.kind) for cause in found] == [(model, kind) for model, kind, _ in expected]
    for cause, (_, _, sentence) in zip(found, expected, strict=True):
        assert cause.sentence.startswith(sentence)
        assert "\n" not in cause.sentence


def test_every_kept_log_is_tried() -> None:
    assert {path.stem for path in LOGS.glob("*.log")} == {name for name, _ in EXPECTED}


@pytest.mark.parametrize("name", [name for name, _ in EXPECTED])
def test_only_two_failures_hang_the_server(name: str) -> None:
    assert log.hangs(read(name)) == (name in ("missing_model_py", "nolib"))


def test_mending_is_told() -> None:
    assert "pip install not_a_module" in log.causes(read("import_error"))[0].hint
    assert "'numpy>=1.26,<2'" in log.causes(read("nonumpy"))[0].hint
    assert "--shm-size" in log.causes(read("shm"))[0].hint
    assert "class TritonPythonModel" in log.causes(read("no_class"))[0].hint


def test_tail_keeps_what_matters(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(read("init_raise"))
    lines = log.tail(path)
    assert lines[-1] == "error: creating server: Internal - failed to load all models"
    assert any("labels file has 3 lines" in line for line in lines)
    assert not any(line.startswith(("|", "+")) or "Timeout" in line or "cuda_memory" in line for line in lines)
    path.write_text("x" * 5000)
    assert len(log.tail(path)[0]) < 400
    assert log.tail(tmp_path / "nowhere") == []


def test_progress() -> None:
    steps = [log.progress(line) for line in read("okay").splitlines()]
    assert [step for step in steps if step] == [("loading", "echo"), ("loaded", "echo")]
