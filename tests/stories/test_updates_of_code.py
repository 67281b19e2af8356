"""What is updated besides engines: classes, whole pipelines; and what is put back when a load fails after all."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_specs import CLASSES, SPECS
from story_tools import PROTOCOLS, Protocol, eventually, make_project, render_to, running, serving, tritonkit
from update_tools import addresses, control, updated

from deploy.embedded import state
from deploy.embedded.changes import hashes
from deploy.embedded.control import Control, LoadFailedError
from deploy.embedded.refresh import refresh
from generator.problems import UserError
from tritonkit import Pipeline

pytestmark = pytest.mark.server

WORDS = """
name: words
inputs: {text: {type: string}}
outputs: {said: {type: string}}
models:
  say:
    python: steps/say.py:Say
    inputs: {text: {type: string}}
    outputs: {said: {type: string}}
"""
SAY = """
import numpy as np

class Say:
    def __init__(self, parameters):
        BEGINNING

    def run(self, tensors, fail):
        return {"said": np.array([["WORD".encode()] for _ in tensors["text"]], object)}
"""


def say(root: Path, word: str, beginning: str = "pass") -> None:
    """Writes the class that says `word`."""
    (root / "steps" / "say.py").write_text(SAY.replace("WORD", word).replace("BEGINNING", beginning))


def heard(at: Mapping[Protocol, str]) -> list[str]:
    """What it says over both protocols."""
    found = []
    for protocol in PROTOCOLS:
        with Pipeline("words", at[protocol], protocol=protocol) as pipeline:
            found.append(str(pipeline.infer_one({"text": np.array([b"?"], object)}).said[0]))
    return found


def test_code_and_pipelines_that_come_and_go(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", {"words.yaml": WORDS}, copied=("digits.yaml",)).root
    say(root, "one")
    with serving(root, "--updatable") as process:
        at = addresses(process)
        assert updated(root) == {
            name: ("same", [1], [1])
            for name in ("digits", "digits_engine", "digits_postprocess", "digits_preprocess", "words")
        }
        assert heard(at) == ["one", "one"]
        say(root, "two")
        assert updated(root, "words") == {"words": ("changed", [1], [1])}
        assert heard(at) == ["two", "two"]
        code_that_fails_to_load_changes_nothing(root, at)
        pipelines_come_and_go(root, at)


def code_that_fails_to_load_changes_nothing(root: Path, at: Mapping[Protocol, str]) -> None:
    say(root, "three", 'raise RuntimeError("no words left")')
    failed = tritonkit(root, "update")
    assert failed.returncode == 1
    assert "error: words: " in failed.stderr
    assert "no words left" in failed.stderr
    assert heard(at) == ["two", "two"]
    with control(root) as server:
        assert eventually(server.ready)
    assert "two" in (root / "model_repository" / "embedded" / "words" / "1" / "say.py").read_text()
    say(root, "two")


def pipelines_come_and_go(root: Path, at: Mapping[Protocol, str]) -> None:
    more = WORDS.replace("name: words", "name: more")
    (root / "specs" / "more.yaml").write_text(more)
    assert updated(root)["more"] == ("added", [], [1])
    with Pipeline("more", at["grpc"]) as pipeline:
        assert pipeline.infer_one({"text": np.array([b"?"], object)}).ok
    (root / "specs" / "more.yaml").unlink()
    assert updated(root)["more"] == ("removed", [1], [])
    with control(root) as server:
        assert "more" not in server.index()
    assert not (root / "model_repository" / "embedded" / "more").exists()
    wrong = tritonkit(root, "update", "wrods")
    assert wrong.returncode == 1
    assert "did you mean `words`?" in wrong.stderr


def test_what_fails_only_in_its_place_is_put_back(tmp_path: Path) -> None:
    """The trial works, and the load that follows does not: the second object of the class cannot be made."""
    project = make_project(tmp_path / "project", {"words.yaml": WORDS})
    root, runs, tried = project.root, tmp_path / "runs", tmp_path / "tried"
    say(root, "one")
    rendered = render_to(project.repository("embedded"), project)
    with running(rendered, updatable=True) as found:
        at: dict[Protocol, str] = {protocol: found.address(protocol) for protocol in PROTOCOLS}
        record = replace(found.server.record("embedded"), files=hashes(rendered.files))
        state.write(runs, record)
        say(root, "two", f"import pathlib; pathlib.Path({str(tried)!r}).touch(exist_ok=False)")
        with pytest.raises(LoadFailedError, match=r"words: .*FileExistsError"):
            refresh(project, record, runs)
        assert tried.exists()
        assert "one" in (rendered.repository / "words" / "1" / "say.py").read_text()
        assert heard(at) == ["one", "one"]
        with Control(record) as server:
            assert eventually(server.ready), "the version is ready again"
        assert state.running(runs) == [record], "nothing was updated, so nothing was noted"
        say(root, "three")
        [update] = refresh(project, record, runs).update.models
        assert (update.name, update.kind, update.before, update.after) == ("words", "changed", [1], [1])
        assert heard(at) == ["three", "three"]
        [noted] = state.running(runs)
        assert set(noted.files) == set(rendered.files)


def test_two_updates_at_once_both_count(tmp_path: Path) -> None:
    specs = {f"{name}.yaml": WORDS.replace("name: words", f"name: {name}") for name in ("words", "more")}
    project = make_project(tmp_path / "project", {name: text.replace("say.py", name.replace("yaml", "py"))
                                                  for name, text in specs.items()})  # fmt: skip
    steps, runs = project.root / "steps", tmp_path / "runs"

    def write(word: str) -> None:
        for name in ("words", "more"):
            (steps / f"{name}.py").write_text(SAY.replace("WORD", word).replace("BEGINNING", "pass"))

    write("one")
    rendered = render_to(project.repository("embedded"), project)
    with running(rendered, updatable=True) as found, ThreadPoolExecutor(2) as threads:
        record = replace(found.server.record("embedded"), files=hashes(rendered.files))
        state.write(runs, record)
        write("two")
        both = [threads.submit(refresh, project, record, runs, [name]) for name in ("words", "more")]
        for done, name in zip(both, ("words", "more"), strict=True):
            assert [(m.name, m.kind) for m in done.result(60).update.models] == [(name, "changed")]
        assert {model.kind for model in refresh(project, record, runs).update.models} == {"same"}
        for name in ("words", "more"):
            assert b"two" in (rendered.repository / name / "1" / f"{name}.py").read_bytes()


def test_answers_of_before_that_a_cache_may_keep_are_told(tmp_path: Path) -> None:
    specs = {name: SPECS[name] for name in ("cached.yaml", "cached_flow.yaml", "tuned.yaml")}
    project = make_project(tmp_path / "project", specs)
    code = project.root / "steps" / "small.py"
    code.write_text(CLASSES)
    rendered = render_to(project.repository("embedded"), project)
    with running(rendered, updatable=True) as found:
        record = replace(found.server.record("embedded"), files=hashes(rendered.files))

        def calls(name: str) -> list[int]:
            with Pipeline(name, found.address("grpc")) as pipeline:
                counted: list[int] = pipeline.infer_one(np.array([1, 2], np.float32)).calls.tolist()
                return counted

        assert calls("cached") == calls("cached_flow") == [1]
        assert refresh(project, record, tmp_path / "runs").update.stale == [], "nothing changed"
        code.write_text(CLASSES.replace("self.calls += 1", "self.calls += 100"))
        assert sorted(refresh(project, record, tmp_path / "runs").update.stale) == ["cached", "cached_flow"]
        assert calls("cached") == calls("cached_flow") == [1], (
            "what is told is so; a server that forgets needs no word"
        )


PAIR = """
name: pair
inputs: {x: {type: fp32, dims: [1]}}
outputs: {y: {type: fp32, dims: [1]}}
models:
  a: {python: "steps/pair.py:A", inputs: {x: {type: fp32, dims: [1]}}, outputs: {m: {type: fp32, dims: [WIDTH]}}}
  b: {python: "steps/pair.py:B", inputs: {m: {type: fp32, dims: [WIDTH]}}, outputs: {y: {type: fp32, dims: [1]}}}
flow: [{model: a}, {model: b}]
"""
PAIR_CODE = """
import numpy as np

class A:
    def __init__(self, parameters):
        pass
    def run(self, tensors, fail):
        return {"m": np.repeat(tensors["x"], WIDTH, axis=1)}

class B(A):
    def run(self, tensors, fail):
        return {"y": tensors["m"].sum(axis=1, keepdims=True)}
"""


def test_a_change_that_would_lose_requests_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"pair.yaml": PAIR.replace("WIDTH", "2")})
    spec, code = project.specs / "pair.yaml", project.root / "steps" / "pair.py"
    code.write_text(PAIR_CODE.replace("WIDTH", "2"))
    rendered = render_to(project.repository("embedded"), project)
    with running(rendered, updatable=True) as found, Pipeline("pair", found.address("grpc")) as pipeline:
        record = replace(found.server.record("embedded"), files=hashes(rendered.files))
        one = np.array([1], np.float32)
        assert pipeline.infer_one(one).y.tolist() == [2]
        spec.write_text(PAIR.replace("WIDTH", "3"))
        code.write_text(PAIR_CODE.replace("WIDTH", "3"))
        with pytest.raises(UserError, match="`pair_a` takes or gives other tensors than the one that is served"):
            refresh(project, record, tmp_path / "runs")
        assert pipeline.infer_one(one).y.tolist() == [2]
        assert {p: (rendered.repository / p).read_bytes() for p in rendered.files} == rendered.files
        done = refresh(project, record, tmp_path / "runs", interrupt=True).update.models
        assert {(model.name, model.kind) for model in done} == {
            ("pair", "changed"),
            ("pair_a", "changed"),
            ("pair_b", "changed"),
        }
        assert pipeline.infer_one(one).y.tolist() == [3]
