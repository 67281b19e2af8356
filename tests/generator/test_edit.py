"""A spec's text edited in one place: what is there stays, byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.edit import serve_only, with_versions
from generator.problems import UserError
from generator_projects import SHORT

SHORT_MODEL = ("model",)
NET = ("models", "net")

# (the model as it is written, as it is afterwards)
EDITS = [
    ("model: {onnx: {1: a.onnx, 2: b.onnx}}\n", "model: {onnx: {1: a.onnx, 2: b.onnx}, versions: {specific: [1]}}\n"),
    ("model: {onnx: a.onnx, engine: onnxruntime}  # it\n", "model: {onnx: a.onnx, versions: {specific: [1]}, engine: onnxruntime}  # it\n"),
    ("model: {versions: {latest: 2}, onnx: a.onnx}\n", "model: {versions: {specific: [1]}, onnx: a.onnx}\n"),
    ("model: {onnx: a.onnx, versions: }\n", "model: {onnx: a.onnx, versions: {specific: [1]} }\n"),
    ("model:\n  onnx: a.onnx   # the one\n  # below\n", "model:\n  onnx: a.onnx   # the one\n  versions: {specific: [1]}\n  # below\n"),
    ("model:\n  onnx: >-\n    a.onnx\n  engine: onnxruntime\n", "model:\n  onnx: >-\n    a.onnx\n  engine: onnxruntime\n  versions: {specific: [1]}\n"),
    ("model:\n  onnx: a.onnx", "model:\n  onnx: a.onnx\n  versions: {specific: [1]}"),
    ("model:\r\n  onnx: a.onnx\r\n", "model:\r\n  onnx: a.onnx\r\n  versions: {specific: [1]}\r\n"),
    (
        "model:\n    onnx:\n      1: a.onnx  # old\n      2: b.onnx  # new\n\n    engine: onnxruntime\n",
        "model:\n    onnx:\n      1: a.onnx  # old\n      2: b.onnx  # new\n    versions: {specific: [1]}\n\n    engine: onnxruntime\n",
    ),
    ("model:\n  versions: {all: true}  # every\n  onnx: a.onnx\n", "model:\n  versions: {specific: [1]}  # every\n  onnx: a.onnx\n"),
    ("model:\n  versions: null  # all\n  onnx: a.onnx\n", "model:\n  versions: {specific: [1]}  # all\n  onnx: a.onnx\n"),
    ("model:\n  versions:\n  onnx: a.onnx\n", "model:\n  versions: {specific: [1]}\n  onnx: a.onnx\n"),
    (
        "model:\n  versions:   # which\n    latest: 2   # two\n  onnx: a.onnx\n",
        "model:\n  versions:   # which\n    specific: [1]   # two\n  onnx: a.onnx\n",
    ),
    (
        "model:\n  versions:\n    specific:\n      - 2\n      - 3   # three\n  # next\n  onnx: a.onnx\n",
        "model:\n  versions:\n    specific: [1]   # three\n  # next\n  onnx: a.onnx\n",
    ),
    ("model: {onnx:\t{1: a.onnx, 2: b.onnx}}\n", "model: {onnx:\t{1: a.onnx, 2: b.onnx}, versions: {specific: [1]}}\n"),
    ("model:\r  onnx: a.onnx # it\r  engine: onnxruntime\r", "model:\r  onnx: a.onnx # it\r  versions: {specific: [1]}\r  engine: onnxruntime\r"),
    ("model: {versions:\n  # all\n  , onnx: a.onnx}\n", "model: {versions: {specific: [1]}\n  # all\n  , onnx: a.onnx}\n"),
    ('"model": {"onnx": "ä 🙂.onnx", "versions": {"all": true}}\n', '"model": {"onnx": "ä 🙂.onnx", "versions": {specific: [1]}}\n'),
]  # fmt: skip
REST = "name: small  # 🙂 größer\ninputs: {x: {type: fp32, dims: [2]}}\noutputs: {y: {type: fp32, dims: [2]}}\n"


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_only_the_versions_change(tmp_path: Path, before: str, after: str) -> None:
    assert with_versions(REST + before, SHORT_MODEL, [1]) == REST + after
    assert with_versions(before + REST, SHORT_MODEL, [1]) == after + REST if before.endswith("\n") else True
    (tmp_path / "a.yaml").write_bytes((REST + before).encode())
    assert serve_only(tmp_path / "a.yaml", SHORT_MODEL, [1]) == (REST + before, REST + after)


def test_a_second_edit_finds_the_first(tmp_path: Path) -> None:
    for before, after in EDITS:
        assert with_versions(REST + after, SHORT_MODEL, [1]) == REST + after, before
        assert "specific: [2, 3]" in with_versions(REST + after, SHORT_MODEL, [2, 3])


def test_one_of_several_models(tmp_path: Path) -> None:
    models = "models:\n  other: {onnx: {1: a.onnx, 2: b.onnx}, versions: {latest: 1}}\n  net: {onnx: a.onnx}\n"
    flow = "flow: [{model: other}, {model: net}]\n"
    (tmp_path / "a.yaml").write_text(REST + models + flow)
    _, after = serve_only(tmp_path / "a.yaml", NET, [1])
    assert (
        after == REST + models.replace("net: {onnx: a.onnx}", "net: {onnx: a.onnx, versions: {specific: [1]}}") + flow
    )


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + SHORT.encode())
    before, after = serve_only(tmp_path / "a.yaml", SHORT_MODEL, [1])
    assert before == "\ufeff" + SHORT
    assert after == "\ufeff" + SHORT.replace("net.onnx}", "net.onnx, versions: {specific: [1]}}")


def test_what_would_become_another_spec_is_not_edited(tmp_path: Path) -> None:
    """A key that is marked as one: its neighbours do not stand where it does."""
    (tmp_path / "a.yaml").write_text(REST + "model:\n  ? onnx\n  : a.onnx\n  ? engine\n  : onnxruntime\n")
    with pytest.raises(UserError, match="cannot be edited by itself") as caught:
        serve_only(tmp_path / "a.yaml", SHORT_MODEL, [1])
    assert caught.value.hint == "write `versions: {specific: [1]}` into `model` yourself"


@pytest.mark.parametrize("text", ["", "model: {", "[]", "model: net.onnx", "model: {}", "name: small", REST])
def test_what_is_no_spec_any_more_is_not_edited(tmp_path: Path, text: str) -> None:
    """It was one when it was looked at, and somebody has it in an editor."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match="cannot be edited by itself"):
        serve_only(tmp_path / "a.yaml", SHORT_MODEL, [1])
