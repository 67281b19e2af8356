"""An earlier version of one pipeline is served again: by the server that runs, or once that is restarted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from story_tools import CLONE, make_project, serving, tritonkit
from update_tools import ready

pytestmark = pytest.mark.server
SPEC = (CLONE / "specs" / "digits.yaml").read_text().replace("{kind: cpu, count: 2}", "{kind: cpu, count: 1}")
BOTH = SPEC.replace("onnx: models/digits.onnx", "onnx: {1: models/digits.onnx, 2: models/digits.onnx}")
OTHER = BOTH.replace("name: digits", "name: other")


def test_only_the_one_that_is_named(tmp_path: Path) -> None:
    """Not the other that has an edit, and then a mistake; and another repository that cannot be written stays."""
    root = make_project(tmp_path / "project", {"digits.yaml": BOTH, "other.yaml": OTHER}).root
    repository, other = root / "model_repository", root / "specs" / "other.yaml"
    with serving(root, "--updatable"):
        assert (ready(root, "digits_engine"), ready(root, "other_engine")) == ([2], [2])
        assert tritonkit(root, "render").returncode == 0
        (repository / "production" / "digits_engine" / "config.pbtxt").write_text("max_batch_size: 1")
        (repository / "production" / ".tritonkit-manifest.json").unlink()
        other.write_text(OTHER.replace("\nmodel:\n", "\nmodel:\n  versions: {specific: [1]}\n"))
        before = (repository / "embedded" / "other_engine" / "config.pbtxt").read_bytes()
        done = tritonkit(root, "rollback", "digits", "--json")
        assert done.returncode == 0, done.stderr
        assert {m["name"] for m in json.loads(done.stdout)["models"] if m["kind"] != "same"} == {"digits_engine"}
        assert (ready(root, "digits_engine"), ready(root, "other_engine")) == ([1], [2])
        assert (repository / "embedded" / "other_engine" / "config.pbtxt").read_bytes() == before
        assert (
            "target `production` stays as it is: digits_engine/config.pbtxt exists, was not generated" in done.stderr
        )
        other.write_text("name: other\nmodel: {")
        done = tritonkit(root, "rollback", "digits", "--to", "2")
        assert done.returncode == 0, done.stderr
        assert ready(root, "digits_engine") == [2]
        assert tritonkit(root, "update", "digits").returncode == 0
        refused = tritonkit(root, "update", "other")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "specs/other.yaml:2" in refused.stderr


def test_a_server_that_loads_nothing_while_it_serves(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", {"digits.yaml": BOTH}).root
    with serving(root):
        done = tritonkit(root, "rollback", "digits")
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            "was started without --updatable: it serves what it did before\n\nhint: restart it; the spec"
            in done.stderr
        )
        assert ready(root, "digits_engine") == [2]
    assert "versions: {specific: [1]}" in (root / "specs" / "digits.yaml").read_text()
    (root / "tmp").rmdir()
    with serving(root):
        assert ready(root, "digits_engine") == [1]
