"""`tritonkit update` and `tritonkit rollback` where there is no server, and what they refuse."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cli_session import QUIET, At, Session

from deploy.embedded import processes, state
from deploy.embedded.state import ServerRecord
from generator.project import Project
from tritonkit.cli.servers import RUNS

BOTH = QUIET.replace("onnx: models/net.onnx", "onnx: {1: models/net.onnx, 2: models/net.onnx}")

TARGETS = ("embedded", "production")


@pytest.fixture
def spec(project: Project) -> Path:
    """The project's spec, with two versions."""
    file = project.specs / "small.yaml"
    file.write_text(BOTH)
    return file


def test_no_server_runs(session: Session, spec: Path) -> None:
    session.run("update")
    session.note("the spec and the repository follow all the same")
    session.run("rollback", "small", "--dry-run")
    assert spec.read_text() == BOTH
    session.run("rollback", "small")
    assert spec.read_text() == BOTH.replace("2: models/net.onnx}", "2: models/net.onnx}, versions: {specific: [1]}")
    config = session.folder / "model_repository" / "embedded" / "small_engine" / "config.pbtxt"
    assert "specific" in config.read_text()
    assert not (session.folder / "model_repository" / "production").exists(), "it was not rendered before"
    session.run("rollback", "small_engine", "--to", "2", "--json")
    assert "versions: {specific: [2]}" in spec.read_text()
    session.matches("update_no_server")


def test_what_is_refused(session: Session, spec: Path) -> None:
    before = spec.read_text()
    session.run("rollback", "smal")
    session.run("rollback", "small", "--to", "3")
    session.run("rollback", "small", "--to", "0")
    session.run("rollback", "small", "--address", "127.0.0.1:1")
    session.run("update", "--address", "127.0.0.1:1")
    assert spec.read_text() == before
    spec.write_text(QUIET)
    session.run("rollback", "small")
    spec.write_text(QUIET.replace("models/net.onnx", "models/none.onnx"))
    session.run("rollback", "small")
    session.matches("update_refused")


def test_a_target_that_has_errors_is_left(session: Session, spec: Path) -> None:
    session.quietly("render")
    on_cpu = BOTH.replace("gpu: h200, instances: [{kind: gpu", "gpu: h200, layout: fused, instances: [{kind: cpu")
    assert on_cpu != BOTH
    spec.write_text(on_cpu)
    ended = session.quietly("rollback", "small")
    assert ended.status == 0, ended.err
    assert (
        "the repository of target `production` stays as it is: the TensorRT plan of `engine` runs in Python instances, "
        "which need a GPU for it on target `production`; found `kind: cpu`\n"
    ) in ended.err
    config = session.folder / "model_repository" / "{}" / "small_engine" / "config.pbtxt"
    assert "specific" in Path(str(config).format("embedded")).read_text()
    assert "specific" not in Path(str(config).format("production")).read_text()


def test_a_pipeline_that_is_not_for_the_embedded_server(session: Session, spec: Path) -> None:
    spec.write_text(BOTH.replace("targets:\n", "targets:\n  embedded: null\n"))
    before = spec.read_text()
    assert "embedded: null" in before
    ended = session.quietly("rollback", "small")
    assert (ended.status, spec.read_text()) == (1, before), "nothing was rendered, so nothing could follow"
    assert "no repository of `small` is there to be changed; it is for `production`" in ended.err
    session.quietly("render")
    ended = session.quietly("rollback", "small")
    assert (ended.status, ended.out) == (0, ""), ended.err
    repository = session.folder / "model_repository"
    assert "specific" in (repository / "production" / "small_engine" / "config.pbtxt").read_text()
    assert not (repository / "embedded").exists()
    assert "versions: {specific: [1]}" in spec.read_text()


def tree_of(repository: Path) -> dict[str, str]:
    """Every file in it but the manifest, as text."""
    files = {p.relative_to(repository).as_posix(): p for p in repository.rglob("*") if p.is_file()}
    return {path: file.read_text("latin-1") for path, file in files.items() if not path.startswith(".")}


def test_other_pipelines_stay_as_they_are(session: Session, spec: Path) -> None:
    """An edit that nobody has rendered yet, one that is no spec yet, and one that does not resolve."""
    other, roots = spec.with_name("other.yaml"), [session.folder / "model_repository" / t for t in TARGETS]
    named = BOTH.replace("name: small", "name: other")
    other.write_text(named)
    session.quietly("render")
    before = [tree_of(root) for root in roots]
    edited = named.replace("max_batch_size: 32", "max_batch_size: 64")
    for text, to in ((edited, "1"), ("name: other\nmodel: {", "2"), (edited.replace("net.onnx", "none.onnx"), "1")):
        other.write_text(text)
        ended = session.quietly("rollback", "small", "--to", to)
        assert ended.status == 0, ended.err
        for root, old in zip(roots, before, strict=True):
            now = tree_of(root)
            assert {path for path in old.keys() | now.keys() if old.get(path) != now.get(path)} == {
                "small_engine/config.pbtxt"
            }
            assert f"versions: [ {to} ]" in " ".join(now["small_engine/config.pbtxt"].split())
        assert other.read_text() == text
    ended = session.quietly("rollback", "other")
    assert (ended.status, "there is no file `models/none.onnx`" in ended.err) == (1, True), ended.err


def test_what_cannot_be_written(session: Session, spec: Path) -> None:
    session.quietly("render")
    configs = [session.folder / "model_repository" / t / "small_engine" / "config.pbtxt" for t in TARGETS]
    for config in configs:
        config.rename(config.with_name("moved"))
        config.symlink_to("moved")
    session.note("neither repository can be written")
    session.run("rollback", "small")
    assert spec.read_text() == BOTH, "nothing follows the spec, so it stays"
    configs[0].unlink()
    session.note("one can")
    session.run("rollback", "small")
    assert "specific" in configs[0].read_text()
    assert "specific" not in configs[1].read_text()
    assert "versions: {specific: [1]}" in spec.read_text()
    session.matches("rollback_not_written")


def test_a_dry_run_for_scripts(session: Session, spec: Path) -> None:
    shown = session.quietly("rollback", "small", "--dry-run").out
    ended = session.quietly("rollback", "small", "--dry-run", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == {"spec": "specs/small.yaml", "to": 1, "diff": shown}
    assert "+model: {onnx: {1: models/net.onnx, 2: models/net.onnx}, versions: {specific: [1]}}" in shown
    assert spec.read_text() == BOTH


def test_two_specs_of_one_name(session: Session, spec: Path) -> None:
    """Refused where they render the same model; else the model's own spec changes, and the other's model stays."""
    second = spec.with_name("second.yaml")
    second.write_text(QUIET)
    ended = session.quietly("rollback", "small")
    assert (ended.status, spec.read_text()) == (1, BOTH)
    assert "model `small_preprocess` is also rendered by" in ended.err
    for file, key, onnx in (
        (spec, "net", "models/net.onnx"),
        (second, "two", "{1: models/net.onnx, 2: models/net.onnx}"),
    ):
        file.write_text(
            "name: small\ninputs: {pixels: {type: fp32, dims: [1, 8, 8]}}\noutputs: {logits: {type: fp32, dims: [10]}}\n"
            f"models: {{{key}: {{name: {key}, onnx: {onnx}}}}}\n"
        )
    before = spec.read_text()
    ended = session.quietly("rollback", "small")
    assert (ended.status, spec.read_text()) == (0, before), ended.err
    assert "versions: {specific: [1]}" in second.read_text()
    found = {
        p.parent.name: "specific" in p.read_text() for p in session.folder.glob("model_repository/embedded/*/*.pbtxt")
    }
    assert found == {"net": False, "two": True}


def test_a_spec_that_is_a_link_and_ones_own(session: Session, spec: Path) -> None:
    real = spec.rename(session.folder / "mine.yaml")
    spec.symlink_to(real)
    real.chmod(0o600)
    ended = session.quietly("rollback", "small")
    assert (ended.status, spec.readlink(), real.stat().st_mode & 0o777) == (0, real, 0o600), ended.err
    assert "mine.yaml: small_engine serves version 1 alone" in ended.err
    assert "versions: {specific: [1]}" in real.read_text()


def test_a_server_that_loads_nothing(project: Project, at: At, spec: Path) -> None:
    """The spec and the repository go back, and it is told that the server does not."""
    with state.recorded(project.root / RUNS, replace(record_of(project), updatable=False)):
        ended = at(project.root).quietly("rollback", "small", "--to", "1", "--json")
    assert (ended.status, ended.out) == (1, "")
    assert "was started without --updatable: it serves what it did before\n\nhint: restart it" in ended.err
    assert "versions: {specific: [1]}" in spec.read_text()
    assert "specific" in (project.repository("embedded") / "small_engine" / "config.pbtxt").read_text()


def record_of(project: Project) -> ServerRecord:
    """A server that runs as far as its record tells."""
    ticks = processes.start_ticks(os.getpid()) or 0
    addresses = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    served = str(project.repository("embedded").resolve())
    return ServerRecord(os.getpid(), ticks, *addresses, (served,), "secret", "embedded", "/srv/log", updatable=True)


def test_a_server_of_another_repository_is_not_updated(project: Project, at: At) -> None:
    with state.recorded(project.root / RUNS, replace(record_of(project), repositories=("/srv/models",))):
        ended = at(project.root).quietly("update")
    assert (ended.status, ended.out) == (1, "")
    assert "error: the server at 127.0.0.1:1 serves /srv/models, which no spec of this project renders" in ended.err


def test_a_server_that_does_not_answer(project: Project, at: At, spec: Path) -> None:
    with state.recorded(project.root / RUNS, record_of(project)):
        for command in (["update"], ["update", "--address", "localhost:2"], ["rollback", "small", "--to", "1"]):
            ended = at(project.root).quietly(*command)
            assert (ended.status, ended.out) == (1, "")
            assert "error: the server at 127.0.0.1:2 does not answer (gRPC)" in ended.err
    assert spec.read_text() == BOTH, "what was not loaded is not left in the spec"
    assert not project.repository("embedded").exists()


def test_a_server_that_loads_nothing_while_it_runs(project: Project, at: At, spec: Path) -> None:
    with state.recorded(project.root / RUNS, replace(record_of(project), updatable=False)):
        ended = at(project.root).quietly("update")
    assert (ended.status, ended.out) == (1, "")
    [said] = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert said == (
        "error: the server at 127.0.0.1:1 was started without --updatable, so it loads nothing while it runs"
    )
    assert "`tritonkit serve --updatable`" in ended.err
    assert not project.repository("embedded").exists()
