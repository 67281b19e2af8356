from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import onnx
import pytest
from cli_session import CLONE, Session

from generator.project import Project
from written_graphs import as_released, written

DIGITS = CLONE / "models" / "digits.onnx"


def save(folder: Path, text: str, name: str = "model.onnx") -> Path:
    file = folder / name
    file.write_bytes(written(text).SerializeToString())
    return file


TEXT = """g (int64[batch,tokens] ids, uint8[batch,4] bytes) => (float[batch,8] y, int64[batch,1] best)
    <float[100,8] table, float[4,8] w>
    { a = Gather(table, ids)
      s = ReduceMean<axes=[1], keepdims=0>(a)
      t = Identity(bytes)
      f = Cast<to=1>(t)
      m = MatMul(f, w)
      e = Exp(m)
      y = Add(s, e)
      best = ArgMax<axis=1>(y) }"""


def test_a_file_and_what_is_suspicious(session: Session) -> None:
    save(session.folder, TEXT)
    session.run("inspect", "model.onnx")
    session.run("inspect", "model.onnx", "--batch", "2", "--length", "tokens=5", "--layers")
    assert session.run("inspect", "model.onnx", "--engine", "tensorrt", "--precision", "fp16").status == 1
    session.matches("inspect")


def test_a_spec_is_judged_for_its_engine_and_target(session: Session) -> None:
    as_released(session.folder / "models" / "net.onnx")
    embedded = session.run("inspect", "specs/small.yaml")
    assert embedded.status == 0
    assert "onnxruntime in fp32" in embedded.out
    production = session.run("inspect", "specs/small.yaml", "--target", "production", "--batch", "3")
    assert "tensorrt in" in production.out
    session.matches("inspect_spec")


def test_everything_as_json(session: Session) -> None:
    shutil.copy(DIGITS, session.folder / "digits.onnx")
    ended = session.quietly("inspect", "digits.onnx", "--batch", "4", "--json")
    assert (ended.status, ended.err) == (0, "")
    [found] = json.loads(ended.out)
    assert found["flops"] == sum(layer["flops"] for layer in found["layers"])
    assert found["lengths"] == {"batch": 4}
    assert found["axes"] == {"batch": ["pixels[0]"]}
    assert found["findings"] == []


def test_mistakes_are_one_sentence_each(session: Session, project: Project) -> None:
    folder = project.root
    digits = DIGITS.read_bytes()
    for name, content in {
        "cut": digits[:5000], "text": b"hello\n", "empty": b"", "random": bytes(range(255, 0, -1)),
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    }.items():  # fmt: skip
        (folder / f"{name}.onnx").write_bytes(content)
    (folder / "folder.onnx").mkdir()
    onnx.save(
        onnx.load(DIGITS), folder / "moved.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (folder / "w.bin").unlink()
    os.link(DIGITS, folder / "digits.onnx")
    for arguments in (
        ["cut.onnx"], ["text.onnx"], ["empty.onnx"], ["random.onnx"], ["pointer.onnx"], ["folder.onnx"], ["moved.onnx"],
        ["nothing.onnx"], ["specs/nothing.yaml"], ["digits.onnx", "--length", "tokens=4"],
        ["digits.onnx", "--target", "embedded"], ["digits.onnx", "--length", "tokens"],
        ["digits.onnx", "--length", "tokens=0"], ["digits.onnx", "--batch", "0"], ["digits.onnx", "--engine", "x"],
        ["specs/small.yaml", "--target", "nowhere"], [],
    ):  # fmt: skip
        for command in ("inspect", "profile"):
            if command == "profile" and "--engine" in arguments:
                continue
            ended = session.quietly(command, *arguments)
            assert ended.status == (1 if arguments else ended.status), (command, arguments)
            assert "Traceback" not in ended.err
        if arguments:
            session.run("inspect", *arguments)
    session.matches("inspect_mistakes")


@pytest.mark.parametrize("name", ["[bold]name[/bold]", "a\x1b[31mb", "ü" * 200])
def test_names_that_a_terminal_would_obey(session: Session, name: str) -> None:
    model = written("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.node[0].name = name
    (session.folder / "model.onnx").write_bytes(model.SerializeToString())
    ended = session.quietly("inspect", "model.onnx")
    assert ended.status == 0
    assert "\x1b" not in ended.out
    assert name[:10].replace("\x1b", "\\x1b")[:6] in ended.out
