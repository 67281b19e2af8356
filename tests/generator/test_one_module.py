"""A generated module alone, and the package after or before it: one set of messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = [
    ("tritonclient.grpc.model_config_pb2", "ModelConfig", "tritonclient.grpc", "package.service_pb2.model__config__pb2.ModelConfig"),
    ("onnx.onnx_ml_pb2", "ModelProto", "onnx", "package.ModelProto"),
]  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize(("module", "message", "package", "of_package"), CASES)
def test_the_package_has_the_same_messages_later(module: str, message: str, package: str, of_package: str) -> None:
    attribute = module.rpartition(".")[2]
    told = run(
        "import importlib, sys\n"
        "from generator.one_module import import_alone\n"
        f"alone = import_alone({module!r})\n"
        f"print({package!r} in sys.modules, import_alone({module!r}) is alone)\n"
        f"package = importlib.import_module({package!r})\n"
        f"print({of_package} is alone.{message}, {attribute!r} in dir(package))\n"
    )
    assert told.split() == ["False", "True", "True", "True"]


@pytest.mark.parametrize(("module", "message", "package", "of_package"), CASES)
def test_the_module_of_a_package_that_is_there_is_taken(
    module: str, message: str, package: str, of_package: str
) -> None:
    told = run(
        f"import importlib\nimport {module} as known\npackage = importlib.import_module({package!r})\n"
        "from generator.one_module import import_alone\n"
        f"print(import_alone({module!r}) is known, {of_package} is known.{message})\n"
    )
    assert told.split() == ["True", "True"]


@pytest.mark.parametrize("name", ["no_such_package.module", "onnx.no_such_module", "json.no_such_module"])
def test_what_is_not_there(name: str) -> None:
    told = run(
        "import sys\nfrom generator.one_module import import_alone\n"
        f"try:\n    import_alone({name!r})\nexcept ImportError as error:\n    print(type(error).__name__)\n"
        f"print({name!r} in sys.modules)\n"
    )
    assert told.split() == ["ModuleNotFoundError", "False"]
