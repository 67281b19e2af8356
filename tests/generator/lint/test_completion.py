"""What the server adds to a configuration, where the embedded one cannot be asked: GPUs, ONNX Runtime, TensorRT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_cases import CORPUS, parse
from google.protobuf import text_format

from generator.lint.completion import completions
from generator.lint.files import MemoryFolder
from generator.lint.model import Model, Repository
from generator.lint.server import EMBEDDED, Server

ONNX = parse(CORPUS / "TK741" / "bad.txtar").repositories[""]["m/1/model.onnx"]
COMPLETING = replace(EMBEDDED, auto_complete=True)
ON_GPU = Server(gpus=2, auto_complete=True)


def model(config: str, server: Server = EMBEDDED, **files: bytes) -> Model:
    tree = {"config.pbtxt": config.encode(), "1/": b""} | {f"1/{name}": data for name, data in files.items()}
    return Model(MemoryFolder(tree, "m"), Repository(server))


def added(it: Model) -> dict[str, str]:
    return {each.field: each.value for each in completions(it)}


def test_what_is_added_is_told_in_order_and_with_the_reason() -> None:
    found = completions(model('backend: "python"\nmax_batch_size: 8\ndynamic_batching { }'))
    assert [each.field for each in found] == [
        "name", "default_model_filename", "version_policy", "dynamic_batching.preferred_batch_size",
        "optimization.input_pinned_memory.enable", "optimization.output_pinned_memory.enable",
        "instance_group[0].name", "instance_group[0].kind", "instance_group[0].count",
    ]  # fmt: skip
    assert found[0] == ("name", '"m"', "the server takes the directory's name")
    assert found[3].value == "[ 8 ]"
    assert all(each.why for each in found)


def test_nothing_is_added_to_what_says_it_all() -> None:
    whole = model('backend: "python"\nmax_batch_size: 8')
    written = model(text_format.MessageToString(whole.completed))
    assert completions(written) == []
    assert written.completed == written.config == whole.completed


def test_completing_leaves_what_is_written_alone() -> None:
    it = model("max_batch_size: 8")
    before = it.config.SerializeToString(deterministic=True)
    assert it.completed.SerializeToString(deterministic=True) != before
    assert it.config.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("group", "gpus", "expected"),
    [
        ("", 0, ("KIND_CPU", 1, [])),
        ("", 2, ("KIND_GPU", 1, [0, 1])),
        ("", None, ("KIND_AUTO", 1, [])),
        ("gpus: [ 1 ]", 2, ("KIND_GPU", 1, [1])),
        ("gpus: [ 2 ]", 2, ("KIND_CPU", 1, [2])),
        ("kind: KIND_GPU count: 3", 2, ("KIND_GPU", 3, [0, 1])),
        ("kind: KIND_GPU", None, ("KIND_GPU", 1, [])),
        ("kind: KIND_MODEL", 2, ("KIND_MODEL", 1, [])),
    ],
)
def test_instance_groups_on_machines_with_gpus(
    group: str, gpus: int | None, expected: tuple[str, int, list[int]]
) -> None:
    it = model(f'backend: "python" instance_group [ {{ {group} }} ]', Server(gpus=gpus))
    (found,) = it.completed.instance_group
    assert (found.Kind.Name(found.kind), found.count, list(found.gpus)) == expected


@pytest.mark.parametrize(
    ("backend", "count"), [("onnxruntime", 2), ("tensorflow", 2), ("openvino", 1), ("python", 1)]
)
def test_instances_on_the_cpu(backend: str, count: int) -> None:
    (group,) = model(f'backend: "{backend}"').completed.instance_group
    assert (group.Kind.Name(group.kind), group.count) == ("KIND_CPU", count)


def test_openvino_stays_on_the_cpu() -> None:
    (group,) = model('backend: "openvino"', Server(gpus=2)).completed.instance_group
    assert group.Kind.Name(group.kind) == "KIND_CPU"


@pytest.mark.parametrize(
    ("config", "file", "expected"),
    [
        ("", "model.plan", ("tensorrt", "tensorrt_plan", "model.plan")),
        ("", "model.onnx", ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ("", "model.pt", ("pytorch", "pytorch_libtorch", "model.pt")),
        ("", "model.xml", ("openvino", "", "model.xml")),
        ("", "model.py", ("python", "", "model.py")),
        ("", "model.graphdef", ("tensorflow", "tensorflow_graphdef", "model.graphdef")),
        ("", "other.py", ("", "", "")),
        ('platform: "tensorrt_plan"', "x", ("tensorrt", "tensorrt_plan", "model.plan")),
        ('default_model_filename: "model.onnx"', "x", ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        (
            'backend: "onnxruntime" default_model_filename: "a.onnx"',
            "x",
            ("onnxruntime", "onnxruntime_onnx", "a.onnx"),
        ),
        ('platform: "tensorflow_savedmodel"', "x", ("tensorflow", "tensorflow_savedmodel", "model.savedmodel")),
        ('backend: "pytorch" runtime: "model.py"', "x", ("pytorch", "pytorch_libtorch", "")),
    ],
)
def test_backend_platform_and_file_follow_from_each_other(
    config: str, file: str, expected: tuple[str, str, str]
) -> None:
    done = model(config, **{file: b""}).completed
    assert (done.backend, done.platform, done.default_model_filename) == expected


def test_the_first_directory_by_name_is_looked_into() -> None:
    tree = {"1/model.py": b"", "0x/": b""}
    assert Model(MemoryFolder(tree, "m"), Repository(EMBEDDED)).completed.backend == ""
    assert Model(MemoryFolder(tree, "m.custom"), Repository(EMBEDDED)).completed.backend == "custom"


def test_onnx_runtime_reads_the_file_of_a_model_that_declares_nothing() -> None:
    it = model('backend: "onnxruntime"', COMPLETING, **{"model.onnx": ONNX})
    assert not it.is_open
    done = it.completed
    assert [(t.name, t.data_type, list(t.dims)) for t in (*done.input, *done.output)] == [
        ("x", 11, [4]),
        ("y", 11, [2]),
    ]
    assert (done.max_batch_size, list(done.dynamic_batching.preferred_batch_size)) == (4, [4])
    assert {"max_batch_size", "dynamic_batching", "input[0]", "output[0]"} <= set(added(it))
    assert "input[0]" not in added(model('backend: "onnxruntime"', EMBEDDED, **{"model.onnx": ONNX}))


def test_onnx_runtime_keeps_what_is_declared() -> None:
    config = 'backend: "onnxruntime" max_batch_size: 1 input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]'
    it = model(config, COMPLETING, **{"model.onnx": ONNX})
    assert (it.completed.max_batch_size, it.completed.WhichOneof("scheduling_choice")) == (1, None)
    assert [list(tensor.dims) for tensor in it.completed.input] == [[3]]
    assert [tensor.name for tensor in it.completed.output] == ["y"]


@pytest.mark.parametrize("data", [b"", b"nothing"], ids=["empty", "text"])
def test_an_onnx_file_that_cannot_be_read_leaves_it_open(data: bytes) -> None:
    it = model('backend: "onnxruntime"', COMPLETING, **{"model.onnx": data})
    assert it.is_open
    assert not it.completed.input


def test_tensorrt_adds_the_batcher_and_the_rest_is_open() -> None:
    config = 'backend: "tensorrt" max_batch_size: 8'
    assert model(config, ON_GPU).completed.HasField("dynamic_batching")
    assert model(config, ON_GPU).is_open
    assert not model(config, replace(ON_GPU, auto_complete=False)).completed.HasField("dynamic_batching")
    assert not model(config, replace(ON_GPU, gpus=0)).completed.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("class TritonPythonModel: pass", False),
        ("class TritonPythonModel:\n    def auto_complete_config(config): return config", False),
        ("class TritonPythonModel:\n    def auto_complete_config(config): return more(config)", True),
        (
            "class TritonPythonModel:\n    def auto_complete_config(config):\n        config.add_input(x)\n        return config",
            True,
        ),
        ("class TritonPythonModel(Base): pass", True),
        ("from other import TritonPythonModel", True),
        ("class", False),
    ],
)
def test_a_python_model_is_open_if_its_code_may_complete(text: str, is_open: bool) -> None:
    assert model("", COMPLETING, **{"model.py": text.encode()}).is_open is is_open
    assert not model("", EMBEDDED, **{"model.py": text.encode()}).is_open


def test_what_the_code_does_in_any_case_is_completed() -> None:
    calls = (
        'config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [-1], "optional": True})',
        'config.add_output({"name": "y", "data_type": "TYPE_INT32", "dims": [4]})',
        "config.set_max_batch_size(8)",
        "config.set_dynamic_batching()",
        'config.set_model_transaction_policy({"decoupled": True})',
        "return config",
    )
    code = "class TritonPythonModel:\n    @staticmethod\n    def auto_complete_config(config):\n"
    code += "".join(f"        {call}\n" for call in calls)
    it = model("", COMPLETING, **{"model.py": code.encode()})
    assert not it.is_open
    done = it.completed
    assert (done.input[0].name, list(done.input[0].dims), done.input[0].optional) == ("x", [-1], True)
    assert (done.output[0].name, list(done.output[0].dims)) == ("y", [4])
    assert (done.max_batch_size, done.HasField("dynamic_batching")) == (8, True)
    assert done.model_transaction_policy.decoupled
    assert not model("", EMBEDDED, **{"model.py": code.encode()}).completed.input


def test_an_ensemble_that_goes_in_circles_has_an_end() -> None:
    text = 'platform: "ensemble" ensemble_scheduling { step { model_name: "%s" } }'
    repository = Repository(EMBEDDED)
    for name, other in (("a", "b"), ("b", "a")):
        files = {"config.pbtxt": (text % other).encode(), "1/": b""}
        repository.add(Model(MemoryFolder(files, name), repository))
    assert repository.models["a"].completed.model_transaction_policy.decoupled is False


def test_the_committed_repositories_are_read() -> None:
    """Every field that is told to be added stands in the completed configuration and not in the written one."""
    root = Path(__file__).parents[3] / "model_repository" / "embedded"
    from generator.lint.files import DiskFolder

    repository = Repository(EMBEDDED)
    for folder in sorted(root.iterdir()):
        repository.add(Model(DiskFolder(folder), repository))
    for it in repository.models.values():
        for each in completions(it):
            assert it.text.tree.find(each.field) is None, (it.name, each)
