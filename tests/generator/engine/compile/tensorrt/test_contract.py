"""The real bindings of every supported TensorRT have what the code uses of them, and lack what it asks for first.

The wheels are downloaded once, into build/wheels. They hold the bindings alone; libraries of that name with nothing
in them, made by the C compiler, let the loader go on, so that classes and signatures can be looked at without a GPU.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.engine.compile.tensorrt import api

ROOT = Path(__file__).resolve().parents[5]
PACKAGE = ROOT / "generator" / "engine" / "compile" / "tensorrt"
RUNTIME = ROOT / "python_backend" / "tritonkit_runtime" / "buffered"
FILES = [*sorted(PACKAGE.glob("*.py")), *sorted(RUNTIME.glob("tensorrt*.py"))]
WHEELS = ROOT / "build" / "wheels"
# 8.6.1 was never built for Python 3.12, and runs where the tests run on 3.11.
VERSIONS = {
    "8.6.1": "tensorrt-bindings",
    "10.15.1.29": "tensorrt_cu13_bindings",
    "10.16.1.11": "tensorrt_cu13_bindings",
    "11.4.0.106": "tensorrt_cu13_bindings",
}
if sys.version_info >= (3, 12):
    del VERSIONS["8.6.1"]
SYMBOLS = [
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
]
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")

LOOK = """
import json, sys
import tensorrt_bindings as trt
seen = {"version": trt.__version__}
for name in json.loads(sys.argv[1]):
    owner = trt
    for part in name.split("."):
        owner = getattr(owner, part, None)
    seen[name] = None if owner is None else (getattr(owner, "__init__") if isinstance(owner, type) else owner).__doc__ or ""
seen["IOutputAllocator"] = trt.IOutputAllocator.__doc__ + trt.IOutputAllocator.__init__.__doc__
try:
    trt.Builder(trt.Logger(trt.Logger.WARNING))
    seen["builder"] = "made"
except TypeError as error:
    seen["builder"] = str(error)
print(json.dumps(seen))
"""


def wheel(version: str) -> Path:
    """The bindings' wheel for this interpreter."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    pattern = f"tensorrt*bindings-{version}-cp{sys.version_info[0]}{sys.version_info[1]}-*.whl"
    if not list(WHEELS.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--only-binary", ":all:", "--dest", str(WHEELS), f"{VERSIONS[version]}=={version}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    [found] = WHEELS.glob(pattern)
    return found


def environment(version: str, folder: Path) -> dict[str, str]:
    """What a process needs to import the real bindings of `version`."""
    with zipfile.ZipFile(wheel(version)) as archive:
        archive.extractall(folder / "site")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    major = version.split(".", maxsplit=1)[0]
    for name in LIBRARIES:
        library = f"lib{name}.so.{major}"
        command = ["cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", str(source), "-o", str(folder / library)]
        subprocess.run(command, check=True)
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": path}


@pytest.fixture(scope="module", params=list(VERSIONS))
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A version, and name → documentation (with the signature) of what its bindings have; None where they lack it."""
    version: str = request.param
    names = [use.name for use in api.USED]
    command = [sys.executable, "-c", LOOK, json.dumps(names)]
    env = environment(version, tmp_path_factory.mktemp("trt"))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return version, json.loads(done.stdout.splitlines()[-1])


def test_each_version_has_what_the_table_says_and_nothing_else(real: tuple[str, dict[str, Any]]) -> None:
    version, seen = real
    assert seen["version"] == version
    major = int(version.split(".")[0])
    wrong = {
        use.name: seen[use.name] is not None
        for use in api.USED
        if (major in use.versions) != (seen[use.name] is not None)
    }
    assert not wrong, f"TensorRT {version}: name → whether it is there"


def test_the_arguments_are_those_that_the_code_gives(real: tuple[str, dict[str, Any]]) -> None:
    version, seen = real
    for use in api.USED:
        if use.arguments is None or seen[use.name] is None:
            continue
        signatures = list(parameters(seen[use.name]))
        assert any(takes(signature, use.arguments) for signature in signatures), (version, use.name, signatures)


def test_an_output_allocator_is_called_by_the_names_that_ours_has(real: tuple[str, dict[str, Any]]) -> None:
    version, seen = real
    expected = "reallocate_output_async" if int(version.split(".")[0]) >= 10 else "reallocate_output"
    assert f"def {expected}(self, tensor_name, memory, size, alignment" in seen["IOutputAllocator"]
    assert "def notify_shape(self, tensor_name, shape" in seen["IOutputAllocator"]


def test_without_a_gpu_the_builder_is_a_null_pointer(real: tuple[str, dict[str, Any]]) -> None:
    _, seen = real
    assert "nullptr" in seen["builder"]


@pytest.mark.parametrize("version", VERSIONS)
def test_our_code_imports_the_real_bindings_and_says_what_is_missing(version: str, tmp_path: Path) -> None:
    code = "import json; from generator.engine.compile.tensorrt.apart import probe; print(json.dumps(probe()))"
    env = {**environment(version, tmp_path), "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["tensorrt"] == version
    assert facts["strongly_typed"] == (not version.startswith("8"))
    assert facts["reason"]


def parameters(documentation: str) -> Iterator[list[tuple[str, bool]]]:
    """Of each overload in pybind11's text: name of each parameter and whether it has a default, without self."""
    for match in re.finditer(r"^(?:\d+\. )?\w+\((.*)\) -> ", documentation, re.MULTILINE):
        parts = re.split(r", (?=\w+:)", match[1])
        named = [(part.split(":")[0].strip(), "=" in part) for part in parts if part.strip()]
        yield [(name, default) for name, default in named if name != "self"]


def takes(signature: list[tuple[str, bool]], arguments: tuple[str, ...]) -> bool:
    given, rest = signature[: len(arguments)], signature[len(arguments) :]
    return tuple(name for name, _ in given) == arguments and all(default for _, default in rest)


# The code holds itself to the table --------------------------------------------------------------------------------

CLASSES = {
    "builder": "Builder", "config": "IBuilderConfig", "network": "INetworkDefinition", "parser": "OnnxParser",
    "parser_error": "ParserError", "profile": "IOptimizationProfile", "cache": "ITimingCache", "tensor": "ITensor",
    "layer": "ILayer", "registry": "IPluginRegistry", "runtime": "Runtime", "engine": "ICudaEngine",
    "context": "IExecutionContext", "inspector": "EngineInspector", "flags": "NetworkDefinitionCreationFlag",
}  # fmt: skip
OWN = {("runner.py", "tensor"), ("tensorrt.py", "tensor")}  # variables of this name that are our own classes


def used_in(file: Path) -> Iterator[str]:
    """Names as the table has them of every attribute that the file asks TensorRT's objects for."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        chain = dotted(node)
        for start, word in enumerate(chain[:-1]):
            plain = word.lstrip("_")
            if plain == "trt":
                yield ".".join(chain[start + 1 :]).removesuffix(".__init__")
            elif plain in CLASSES and (file.name, plain) not in OWN:
                yield f"{CLASSES[plain]}.{chain[start + 1]}"


def dotted(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


def test_the_code_uses_nothing_of_tensorrt_that_is_not_in_the_table() -> None:
    known = {use.name for use in api.USED} | {use.name.split(".")[0] for use in api.USED} | {"__version__"}
    used = {(file.name, name) for file in FILES for name in used_in(file)}
    assert len(used) > 60, "the scan finds what the code does"
    assert sorted((file, name) for file, name in used if name not in known) == []


def test_the_table_holds_nothing_that_the_code_does_not_use() -> None:
    source = "".join(file.read_text() for file in FILES if file.name != "api.py")
    source += (PACKAGE / "api.py").read_text().split('"""\n\n\n@dataclass')[1]
    words = set(re.findall(r"\w+", source))
    assert [use.name for use in api.USED if use.name.rpartition(".")[2] not in words] == []
