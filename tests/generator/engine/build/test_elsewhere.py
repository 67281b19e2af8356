"""An ONNX file that was made elsewhere takes the place of what a build would have made, if it is such as was asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_projects import digits_graph, digits_project, files, int8, loud_channel, merged, model, with_batch
from google.protobuf.message import EncodeError
from onnx import numpy_helper

from generator.engine.build.elsewhere import graph
from generator.engine.build.elsewhere.taking import one_of
from generator.engine.build.jobs import Job, jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.problems import UserError
from generator.project import Project
from generator.workspace import open_workspace


def jobs(project: Project) -> list[Job]:
    work = open_workspace(project)
    work.stop_on_errors()
    return jobs_of(work)


def build(project: Project) -> Outcome:
    [job] = jobs(project)
    return Builder(project, lambda _text: None).build(job)


def take(project: Project, file: Path, **options: Any) -> Outcome:
    [job] = jobs(project)
    return Builder(project, lambda _text: None, **options).take(job, file)


def quantised_of(folder: Path, graph: bytes | None = None) -> bytes:
    """The digits in int8, as some other tool may have quantised them."""
    project = digits_project(folder, int8(calibration={"method": "minmax"}))
    if graph is not None:
        (project.root / "models" / "digits.onnx").write_bytes(graph)
    [job] = jobs(project)
    kept = folder / "kept"
    Builder(project, lambda _text: None, until="compile", keep=kept).build(job)
    [file] = kept.rglob("int8-model.onnx")
    return file.read_bytes()


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return quantised_of(tmp_path_factory.mktemp("quantised") / "project")


@pytest.mark.parametrize("name", [b"\xff2.onnx", b"two\nlines.onnx"])
def test_a_file_of_any_name_is_taken(project: Project, quantised: bytes, tmp_path: Path, name: bytes) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    file.write_bytes(quantised)
    outcome = take(project, file)
    assert outcome.status == "installed", outcome.problems
    assert outcome.installed is not None
    said = json.loads((outcome.installed.folder / "engine.json").read_text(encoding="utf-8"))["elsewhere"]["file"]
    assert said == {b"\xff2.onnx": "\\xff2.onnx", b"two\nlines.onnx": "two\\nlines.onnx"}[name]
    file.write_bytes(b"hello")
    assert all("\n" not in problem.message for problem in take(project, file).problems)


@pytest.mark.parametrize("given", ["", "digits_engine/1=", "digits_engine="])
def test_no_file_is_no_file(project: Project, given: str) -> None:
    with pytest.raises(UserError, match="`--from` names no file"):
        one_of(jobs(project), given)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The spec asks for int8, and says nothing of how: it was built elsewhere."""
    return digits_project(tmp_path / "project", model(precision="int8", build=None))


def written(tmp_path: Path, data: bytes, name: str = "theirs.onnx") -> Path:
    file = tmp_path / name
    file.write_bytes(data)
    return file


def test_a_good_one_is_judged_and_installed(project: Project, quantised: bytes, tmp_path: Path) -> None:
    found = take(project, written(tmp_path, quantised))
    assert found.status == "installed"
    assert found.installed is not None
    manifest = found.installed.manifest
    assert (found.installed.folder / "model.onnx").read_bytes() == quantised
    assert manifest["elsewhere"] == {"file": "theirs.onnx"}
    assert manifest["accuracy"]["metric"]["value"] >= 0.98
    assert manifest["judged_with"]["onnxruntime"]
    assert set(manifest["measured"]["latency_us"]) == {"1", "8", "16", "32"}
    # Nothing is told that is not known: neither how it was quantised nor what the graph was before.
    assert not {"graph_sha256", "calibration", "quantised", "compiled"} & set(manifest)


def test_it_is_current_until_the_spec_changes(project: Project, quantised: bytes, tmp_path: Path) -> None:
    take(project, written(tmp_path, quantised))
    assert build(project).status == "current"
    gate = project.root / "data" / "digits-gate.npz"
    gate.write_bytes(gate.read_bytes() + b"\0")
    [job] = jobs(Project(project.root))
    assert not job.is_current(project)


def test_a_bad_one_is_refused_and_what_was_there_stays(project: Project, quantised: bytes, tmp_path: Path) -> None:
    assert take(project, written(tmp_path, quantised)).status == "installed"
    before = files(project.root)
    bad = quantised_of(tmp_path / "bad", loud_channel(digits_graph()))
    found = take(project, written(tmp_path, bad, "bad.onnx"))
    assert found.status == "refused"
    assert {"TK972", "TK973"} <= {problem.code for problem in found.problems}
    hints = {line for problem in found.problems for line in problem.hint.split("\n") if line}
    assert hints == {"make it anew there, or let `tritonkit build` make one"}
    assert files(project.root) == before


def test_until_a_stage_nothing_is_installed(project: Project, quantised: bytes, tmp_path: Path) -> None:
    for stage in ("inspect", "compile", "validate", "measure"):
        assert take(project, written(tmp_path, quantised), until=stage).status == "looked"
    assert not (project.root / "engines").exists()


def renamed(data: bytes, name: str) -> bytes:
    made = onnx.load_from_string(data)
    old = made.graph.input[0].name
    made.graph.input[0].name = name
    for node in made.graph.node:
        node.input[:] = [name if one == old else one for one in node.input]
    return bytes(made.SerializeToString())


def with_output(data: bytes) -> bytes:
    made = onnx.load_from_string(data)
    made.graph.node.append(onnx.helper.make_node("Identity", [made.graph.output[0].name], ["more"], "more"))
    made.graph.output.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, ["batch", 10]))
    return bytes(made.SerializeToString())


def doubles(data: bytes) -> bytes:
    made = onnx.load_from_string(data)
    old = made.graph.input[0].name
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    made.graph.node.insert(0, onnx.helper.make_node("Cast", [old], ["cast"], "cast", to=onnx.TensorProto.FLOAT))
    for node in list(made.graph.node)[1:]:
        node.input[:] = ["cast" if one == old else one for one in node.input]
    return bytes(made.SerializeToString())


WRONG: dict[str, tuple[Callable[[bytes], bytes], str, list[str]]] = {
    "another input": (lambda data: renamed(data, "image"), "TK992",
                      ["has the input `image`, which the spec's graph has not",
                       "has no input `pixels`, which the spec's graph has"]),
    "another type": (doubles, "TK992", ["has FP64 as input `pixels`, which is FP32 in the spec's graph"]),
    "another output": (with_output, "TK992", ["has the output `more`, which the spec's graph has not"]),
    "smaller batches": (lambda data: with_batch(data, 1), "TK992",
                        ["does not take `pixels` [32, 1, 8, 8], which the spec's batching and shapes ask for"]),
    "not quantised": (lambda _data: digits_graph(), "TK992",
                      ["has no operator that quantises, and the spec asks for int8"]),
    "no ONNX": (lambda _data: b"a plan, say", "TK901", ["the file is text, not an ONNX model"]),
    "cut short": (lambda data: data[: len(data) // 2], "TK902", ["damaged"]),
    "empty": (lambda _data: b"", "TK901", ["empty"]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_as_asked_for_is_refused(project: Project, quantised: bytes, tmp_path: Path, what: str) -> None:
    change, code, said = WRONG[what]
    file = written(tmp_path, change(quantised))
    found = take(project, file)
    assert found.status == "refused"
    assert [problem.code for problem in found.problems] == [code] * len(said)
    for problem, words in zip(found.problems, said, strict=True):
        assert words in problem.message
        assert str(file) in problem.message
    assert not (project.root / "engines").exists()


def test_a_file_that_is_not_there(project: Project, tmp_path: Path) -> None:
    [problem] = take(project, tmp_path / "gone.onnx").problems
    assert problem.code == "TK992"
    assert "gone.onnx cannot be read: No such file or directory" in problem.message
    [problem] = take(project, tmp_path).problems
    assert problem.code == "TK992"
    assert "is not an ordinary file" in problem.message
    [problem] = take(project, tmp_path / ("x" * 300)).problems
    assert problem.code == "TK992"
    assert "cannot be read: File name too long" in problem.message
    [job] = jobs(project)
    with pytest.raises(UserError, match="there is no engine"):
        one_of([job], f"{'x' * 300}=a.onnx")


def test_a_quantised_file_is_not_fp16(quantised: bytes, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    [problem] = take(project, written(tmp_path, quantised)).problems
    assert "is quantised, and the spec asks for fp16" in problem.message
    [problem] = take(project, written(tmp_path, digits_graph())).problems
    assert "has no layer in fp16, which the spec asks for" in problem.message


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"precision": "fp32"}, "models/digits.onnx itself is served"),
        ({"engine": "auto", "precision": "int8"}, "`engine: auto` serves what was the fastest"),
    ],
)
def test_a_spec_without_a_place_for_it(asked: dict[str, Any], said: str, quantised: bytes, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(**asked))
    problems = take(project, written(tmp_path, quantised)).problems
    assert [problem.code for problem in problems] == ["TK992"]
    assert said in problems[0].message
    assert problems[0].hint


def test_data_beside_it_is_taken_in(project: Project, quantised: bytes, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    onnx.save(
        onnx.load_from_string(quantised), beside / "theirs.onnx", save_as_external_data=True, location="theirs.data",
        size_threshold=0,
    )  # fmt: skip
    found = take(project, beside / "theirs.onnx")
    assert found.installed is not None
    for file in beside.iterdir():
        file.unlink()
    kept = onnx.load(found.installed.folder / "model.onnx")
    whole = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(quantised).graph.initializer
    }
    assert all(np.array_equal(numpy_helper.to_array(one), whole[one.name]) for one in kept.graph.initializer)


def test_data_beside_it_that_makes_it_too_large(
    project: Project, quantised: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 2 GB protobuf writes nothing."""
    onnx.save(
        onnx.load_from_string(quantised), tmp_path / "theirs.onnx", save_as_external_data=True,
        location="theirs.data", size_threshold=0,
    )  # fmt: skip

    class TooLarge:
        def __init__(self, model: onnx.ModelProto) -> None:
            self.model = model

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

        def SerializeToString(self, **_options: Any) -> bytes:  # noqa: N802
            raise EncodeError("Failed to serialize proto")

    read = graph.read_graph
    monkeypatch.setattr(graph, "read_graph", lambda *given: TooLarge(read(*given)))
    [problem] = take(project, tmp_path / "theirs.onnx").problems
    assert problem.code == "TK992"
    assert "is too large for one file with the data beside it" in problem.message


def test_weights_of_7_bits_are_seen(project: Project, quantised: bytes, tmp_path: Path) -> None:
    made = onnx.load_from_string(quantised)
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((values // 2).astype(np.int8), tensor.name))
    for node in made.graph.node:  # half the weight, twice the step
        for name in node.input[1:2] if node.op_type == "DequantizeLinear" else ():
            scale = next((one for one in made.graph.initializer if one.name == name and len(one.dims)), None)
            if scale is not None:
                scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(2), name))
    found = take(project, written(tmp_path, made.SerializeToString()))
    assert found.installed is not None, [problem.message for problem in found.problems]
    assert found.installed.manifest["reduced_range"] is True
    whole = take(project, written(tmp_path, quantised))
    assert whole.installed is not None
    assert "reduced_range" not in whole.installed.manifest


# Which engine it is for ------------------------------------------------------------------------------------


def several(root: Path) -> list[Job]:
    versions = {1: "models/digits.onnx", 2: "models/digits.onnx"}
    return jobs(digits_project(root, merged(int8(), model(onnx=versions))))


def test_of_several_one_is_named(tmp_path: Path) -> None:
    found = several(tmp_path / "project")
    job, file = one_of(found, "digits_engine/2=a/b=c.onnx")
    assert (job.version, file) == (2, Path("a/b=c.onnx"))
    assert one_of(found[:1], "some.onnx") == (found[0], Path("some.onnx"))
    odd = tmp_path / "x=1.onnx"
    odd.write_bytes(b"")
    assert one_of(found[:1], str(odd)) == (found[0], odd)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a.onnx", "2 were named: embedded: digits_engine 1; embedded: digits_engine 2"),
        ("digits_engine=a.onnx", "2 were named: embedded: digits_engine 1; embedded: digits_engine 2"),
        ("other=a.onnx", "no engine `other` to take a file for; there are: embedded: digits_engine 1; "),
    ],
)
def test_what_names_no_single_engine(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        one_of(several(tmp_path / "project"), given)
    assert said in caught.value.message
    assert caught.value.hint


def test_what_is_told_can_be_json(project: Project, quantised: bytes, tmp_path: Path) -> None:
    told = json.loads(json.dumps(take(project, written(tmp_path, quantised)).to_json()))
    assert (told["status"], told["engine"], told["precision"]) == ("installed", "onnxruntime", "int8")
