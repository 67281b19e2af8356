"""Reading ONNX files: every way in which one can be broken is one clear finding, never a traceback."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
import onnx.parser
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from generator.engine.errors import StageError
from generator.engine.inspect import read_graph

DIGITS = Path(__file__).parents[4] / "models" / "digits.onnx"
HEAD = '<ir_version: 8, opset_import: ["": 17, "acme.ops": 1, "own": 1]>\n'


def refused(file: Path) -> list[tuple[str, str]]:
    """Code and message of everything that is found."""
    with pytest.raises(StageError) as caught:
        read_graph(file)
    assert all("\n" not in finding.message and len(finding.message) < 500 for finding in caught.value.findings)
    return [(finding.code, finding.message) for finding in caught.value.findings]


def found_in(file: Path) -> set[str]:
    """The codes of what is found; none where the file can be read."""
    try:
        read_graph(file)
    except StageError as error:
        return {finding.code for finding in error.findings}
    return set()


def saved(folder: Path, text: str) -> Path:
    """A model in ONNX's own text form, as a file."""
    file = folder / "model.onnx"
    file.write_bytes(onnx.parser.parse_model(HEAD + text).SerializeToString())
    return file


def beside(folder: Path) -> Path:
    """The digits with their weights in `weights.bin`."""
    file = folder / "model.onnx"
    onnx.save(onnx.load(DIGITS), file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return file


def test_a_model_is_read_whole() -> None:
    model = read_graph(DIGITS)
    assert model == onnx.load(DIGITS)


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"", "TK901", "empty"),
        (b"this is no model\n", "TK901", "text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "TK901", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "TK901", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(64), "TK901", "not an ONNX model"),
        (b"\x08\x08", "TK902", "no outputs"),
        (DIGITS.read_bytes()[:-1], "TK902", "damaged"),
        (DIGITS.read_bytes()[:1000], "TK902", "damaged"),
    ],
)  # fmt: skip
def test_files_that_are_no_model(tmp_path: Path, content: bytes, code: str, says: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    [(found, message)] = refused(file)
    assert found == code
    assert says in message


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path) == [("TK900", "it is a directory, not an ONNX file")]
    assert refused(tmp_path / "nothing.onnx") == [("TK900", "there is no such file")]
    assert refused(tmp_path / "pipe") == [("TK900", "it is not an ordinary file")]
    assert refused(tmp_path / "a\0b")[0][0] == "TK900"


@given(cut=st.integers(0, DIGITS.stat().st_size - 1), flip=st.integers(0, 255))
@example(cut=0, flip=0)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_copy_is_read_or_refused_and_nothing_else(tmp_path: Path, cut: int, flip: int) -> None:
    file = tmp_path / "model.onnx"
    data = DIGITS.read_bytes()
    file.write_bytes(data[:cut])
    refused(file)
    file.write_bytes(data[:cut] + bytes([flip]) + data[cut + 1 :])
    assert found_in(file) <= {"TK901", "TK902", "TK903", "TK905", "TK906", "TK907"}


def test_data_beside_the_model_is_loaded(tmp_path: Path) -> None:
    model = read_graph(beside(tmp_path))
    assert [tensor.raw_data for tensor in model.graph.initializer] == [
        tensor.raw_data for tensor in onnx.load(DIGITS).graph.initializer
    ]


def test_data_beside_the_model_that_is_not_there(tmp_path: Path) -> None:
    file = beside(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(file, tmp_path / "elsewhere" / "model.onnx")
    [(code, message)] = refused(Path(moved))
    assert code == "TK903"
    assert "`weights.bin`, which holds 8 of the model's weights" in message


def test_data_beside_the_model_of_another_size(tmp_path: Path) -> None:
    file = beside(tmp_path)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-40])
    [(code, message)] = refused(file)
    assert code == "TK904"
    assert "ends at" in message


def test_data_beside_the_model_that_is_a_pointer_or_a_link(tmp_path: Path) -> None:
    file = beside(tmp_path)
    weights = tmp_path / "weights.bin"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert refused(file)[0] == (
        "TK903",
        "`weights.bin`, which holds weights, is a Git LFS pointer, not the file itself",
    )
    weights.unlink()
    weights.symlink_to(DIGITS)
    assert "symbolic link" in refused(file)[0][1]


@pytest.mark.parametrize("where", ["../weights.bin", "/etc/hostname", ""])
def test_data_outside_of_the_models_folder(tmp_path: Path, where: str) -> None:
    file = beside(tmp_path)
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        for pair in tensor.external_data:
            if pair.key == "location":
                pair.value = where
    file.write_bytes(model.SerializeToString())
    assert {code for code, _ in refused(file)} == {"TK903"}


@pytest.mark.parametrize("value", ["-8", "much", "99999999999999999999"])
def test_offsets_that_are_none(tmp_path: Path, value: str) -> None:
    file = beside(tmp_path)
    model = onnx.load(file, load_external_data=False)
    next(pair for pair in model.graph.initializer[0].external_data if pair.key == "offset").value = value
    file.write_bytes(model.SerializeToString())
    assert refused(file)[0][0] == "TK904"


def test_an_unknown_domain_is_named_with_its_nodes(tmp_path: Path) -> None:
    file = saved(tmp_path, "g (float[N] x) => (float[N] z) { y = acme.ops.Blur(x)\n z = acme.ops.Sharpen(y) }")
    [(code, message)] = refused(file)
    assert code == "TK905"
    assert "`acme.ops` of `Blur`, `Sharpen`" in message


def test_a_models_own_functions_are_written_out(tmp_path: Path) -> None:
    text = """g (float[N] x) => (float[N] y) { y = own.Twice(x) }
              <domain: "own", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }"""
    model = read_graph(saved(tmp_path, text))
    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert not model.functions


def test_a_circle_is_named(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        HEAD + "g (float[N] x) => (float[N] c) { a = Relu(x)\n b = Add(a, a)\n c = Neg(b) }"
    )
    for node, name in zip(model.graph.node, ("first", "second", "third"), strict=True):
        node.name = name
    model.graph.node[0].input[0] = "c"
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    assert refused(file) == [("TK907", "the graph runs in a circle: `first` → `second` → `third` → `first`")]


def test_what_the_checker_refuses(tmp_path: Path) -> None:
    file = saved(tmp_path, "g (float[N] x) => (float[N] y) { y = Relu(x, x) }")
    [(code, message)] = refused(file)
    assert code == "TK907"
    assert message.startswith("ONNX's checker refuses the graph: ")


def test_a_weight_that_claims_to_be_huge(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    model = onnx.load(DIGITS)
    model.graph.initializer[0].dims[0] = 2**40
    file.write_bytes(model.SerializeToString())
    assert refused(file)[0][0] == "TK907"


@pytest.mark.parametrize("dims", [[24, 1, 3, 2], [0], [-24, 1, 3, 3], [24, 1, 3]])
def test_values_that_do_not_fill_their_shape(tmp_path: Path, dims: list[int]) -> None:
    file = tmp_path / "model.onnx"
    model = onnx.load(DIGITS)
    model.graph.initializer[0].dims[:] = dims
    file.write_bytes(model.SerializeToString())
    assert refused(file)[0][0] in {"TK902", "TK907"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(DIGITS.read_bytes().replace(b"conv_0", b"conv\xff0"))
    assert refused(file) == [("TK902", "the file is damaged: names in its graph are not UTF-8")]


@pytest.mark.parametrize(("opset", "version"), [(99, 8), (17, 99)])
def test_newer_than_the_onnx_package(tmp_path: Path, opset: int, version: int) -> None:
    model = onnx.load(DIGITS)
    model.opset_import[0].version, model.ir_version = opset, version
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    [(code, message)] = refused(file)
    assert code == "TK906"
    assert "99" in message
