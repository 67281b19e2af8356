"""What specs have in common is read once a run, and shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.project import OneRun, Project
from generator.resolve import onnx_graph
from generator.workspace import open_workspace, render_trees
from generator_projects import SHORT, make_project


def test_one_run_reads_once_and_the_next_one_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    run = OneRun(tmp_path)
    assert (run.read("a"), Project(tmp_path).read("a")) == (b"old", b"old")
    (tmp_path / "a").write_bytes(b"new")
    assert (run.read("a"), Project(tmp_path).read("a"), OneRun(tmp_path).read("a")) == (b"old", b"new", b"new")


def test_a_file_that_was_not_there_is_looked_for_again(tmp_path: Path) -> None:
    run = OneRun(tmp_path)
    with pytest.raises(FileNotFoundError):
        run.read("a")
    (tmp_path / "a").write_bytes(b"here")
    assert run.read("a") == b"here"


def test_specs_share_the_bytes_of_a_graph_that_is_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    messages = onnx_graph.onnx_messages

    class Counting:
        TensorProto = messages().TensorProto

        class ModelProto:
            @staticmethod
            def FromString(data: bytes) -> object:  # noqa: N802  (protobuf's name)
                parsed.append(len(data))
                return messages().ModelProto.FromString(data)

    monkeypatch.setattr(onnx_graph, "onnx_messages", Counting)
    specs = {name: SHORT.replace("name: small", f"name: {name}") for name in ("a", "b", "c")}
    work = open_workspace(make_project(tmp_path / "p", specs), target="embedded")
    assert len(parsed) == 1
    [tree] = render_trees(work)
    graphs = [data for path, data in tree.files.items() if path.endswith("model.onnx")]
    assert len(graphs) == 3
    assert len({id(data) for data in graphs}) == 1
