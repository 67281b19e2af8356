"""What depends on the server's release is certain only where somebody named that release."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from generator.lint.check import Checked, check
from generator.lint.files import MemoryFolder
from generator.lint.server import Server
from generator.problems import Problem, Severity

Files = Mapping[str, bytes]
TENSORS = b"""input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
PLAN = b"ftrt" + bytes(4) + b"\1" + bytes(7) + b"\x1c" + bytes(7) + bytes((10, 9, 0, 0))
OF_A_RELEASE: dict[str, tuple[dict[str, bytes], str]] = {
    "TK607": ({"a..b/config.pbtxt": b'backend: "identity"\n' + TENSORS, "a..b/1/": b""}, "26.10"),
    "TK670": (
        {
            "m/config.pbtxt": b'backend: "identity"\n'
            + TENSORS.replace(b"dims: [ 4 ] } ]\n", b"dims: [ 4 ] } ]\n", 1).replace(
                b'"y"', b'"y" label_filename: "../n/names"'
            ),
            "m/1/": b"",
            "n/config.pbtxt": b'backend: "identity"\n' + TENSORS,
            "n/1/": b"",
            "n/names": b"a\nb\nc\nd\n",
        },
        "26.10",
    ),
    "TK703": ({"m/config.pbtxt": b'platform: "tensorrt_plan"\n' + TENSORS, "m/1/model.plan": PLAN}, "26.10"),
    "TK731": ({"m/config.pbtxt": b'platform: "tensorflow_graphdef"\n' + TENSORS, "m/1/model.graphdef": b""}, "26.10"),
}
PYTHON = b'backend: "python"\n' + TENSORS


def judged(files: Files, server: Server) -> Checked:
    return check([MemoryFolder(files, "")], server)


def only(files: Files, server: Server, code: str) -> Problem:
    (problem,) = [p for p in judged(files, server).problems if p.code == code]
    return problem


@pytest.mark.parametrize("code", OF_A_RELEASE)
def test_without_a_release_it_is_a_warning_that_says_how_to_be_certain(code: str) -> None:
    files, release = OF_A_RELEASE[code]
    certain, assumed = only(files, Server(release), code), only(files, Server(), code)
    assert certain.severity is Severity.ERROR
    assert "--server" not in certain.hint
    assert assumed.severity is Severity.WARNING
    assert assumed.message == certain.message
    assert f"judged for {release}" in assumed.hint
    assert "`--server RELEASE` makes it certain" in assumed.hint
    assert not judged(files, Server()).refused


def test_a_configuration_that_was_rendered_for_a_release_names_it() -> None:
    files = dict(OF_A_RELEASE["TK703"][0])
    head = b"# Rendered by tritonkit from a.yaml for target `t` (Triton 25.06).\n"
    files["m/config.pbtxt"] = head + files["m/config.pbtxt"]
    problem = only(files, Server(), "TK703")
    assert problem.severity is Severity.ERROR
    assert "Triton 25.06 has 10.11.0" in problem.message


@pytest.mark.parametrize(("backend", "image"), [("vllm", "vllm-python-py3"), ("tensorrtllm", "trtllm-python-py3")])
def test_backends_of_other_images_are_a_note_that_names_the_image(backend: str, image: str) -> None:
    files = {"m/config.pbtxt": f'backend: "{backend}"\n'.encode() + TENSORS, "m/1/": b""}
    problem = only(files, Server("25.11"), "TK731")
    assert problem.severity is Severity.NOTE
    assert f"25.11-{image}" in problem.message


def test_syntax_that_a_newer_python_may_know_is_a_warning() -> None:
    files = {"m/config.pbtxt": PYTHON, "m/1/model.py": b"def f(:\n    pass\n"}
    ours = ".".join(map(str, sys.version_info[:2]))
    unknown = only(files, Server(), "TK710")
    assert unknown.severity is Severity.WARNING
    assert f"judged by Python {ours}" in unknown.hint
    assert only(files, Server("24.10"), "TK710").severity is Severity.ERROR  # its image has an older one
    newer = only(files, Server("26.10"), "TK710")
    assert (newer.severity is Severity.ERROR) is (sys.version_info >= (3, 12))


def test_an_environment_of_the_models_own_may_have_any_python() -> None:
    own = b'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/opt/env.tar.gz" } }\n'
    files = {"m/config.pbtxt": PYTHON + own, "m/1/model.py": b"def f(:\n    pass\n"}
    assert only(files, Server("24.10"), "TK710").severity is Severity.WARNING


def test_completion_is_open_where_a_newer_python_may_read_it() -> None:
    text = b"type X = int\nclass TritonPythonModel:\n    @staticmethod\n    def auto_complete_config(config):\n"
    text += b'        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [1]})\n        return config\n'
    text += b"    def execute(self, requests):\n        return []\n"
    checked = judged({"m/config.pbtxt": b'backend: "python"\n', "m/1/model.py": text}, Server("26.10"))
    assert not [p for p in checked.problems if p.severity is Severity.ERROR]


def test_torch_aoti_tells_its_backend_since_26_05() -> None:
    files = {"m/config.pbtxt": b'platform: "torch_aoti"\n' + TENSORS, "m/1/model.pt2": b""}
    problem = only(files, Server("26.04"), "TK611")
    assert "Triton knows it since 26.05, and this server is of 26.04" in problem.hint
    checked = judged(files, Server("26.05"))
    assert not [p for p in checked.problems if p.severity is Severity.ERROR]
    assert checked.models["m"].completed.default_model_filename == "model.pt2"
