"""`build.factory` and `build.channels_last`: what reaches Inductor, and what is said where it means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_projects import digits_project, int8, merged, model

from generator.engine.build.candidates import trying
from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.compiling import compile_choice, compiler_of
from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.gate.judge import Judge
from generator.engine.build.jobs import Job, jobs_of
from generator.engine.build.lower.lowered import Lowered
from generator.engine.build.lower.lowerer import Lowerer
from generator.engine.build.lower.unused import unused
from generator.engine.build.record import Record
from generator.engine.cache import Cache
from generator.engine.compile.inductor.compiler import InductorCompiler
from generator.engine.errors import Finding, StageError
from generator.engine.install.request import differences
from generator.problems import ProblemsError, Severity
from generator.project import Project
from generator.workspace import open_workspace

INDUCTOR = Choice("inductor", "fp32", served=False)
AUTO: dict[str, Any] = model(engine="auto", build={"factory": "models/net.py:make"})


def project_with(root: Path, changes: dict[str, Any], code: str = "def make():\n    return None\n") -> Project:
    project = digits_project(root, changes)
    (root / "models" / "net.py").write_text(code)
    return project


def job_of(project: Project) -> Job:
    [job] = jobs_of(open_workspace(project))
    return job


def problems_of(project: Project) -> list[tuple[str, str, str]]:
    work = open_workspace(project)
    try:
        work.stop_on_errors()
    except ProblemsError as error:
        return [
            (problem.code, problem.field, problem.message)
            for problem in error.problems
            if problem.severity is Severity.ERROR
        ]
    return []


def test_inductor_compiles_what_the_function_gives(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", AUTO)
    compiler = compiler_of(INDUCTOR, job_of(project).program, project)
    assert isinstance(compiler, InductorCompiler)
    assert (compiler.factory, compiler.root) == ("models/net.py:make", tmp_path / "p")
    without = digits_project(tmp_path / "q", model(engine="auto"))
    graph = compiler_of(INDUCTOR, job_of(without).program, without)
    assert isinstance(graph, InductorCompiler)
    assert graph.factory == ""


def test_the_file_decides_the_engine(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", AUTO)
    before = job_of(project)
    (tmp_path / "p" / "models" / "net.py").write_text("def make():\n    return 1\n")
    now = job_of(Project(tmp_path / "p"))
    assert before.key != now.key
    assert differences(before.request, now.request) == ["the torch factory's file changed"]
    other = job_of(project_with(tmp_path / "q", merged(AUTO, model(build={"factory": "models/net.py:other"}))))
    assert differences(before.request, other.request) == [
        "build.factory: models/net.py:make, now models/net.py:other"
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    project = digits_project(tmp_path / "p", AUTO)
    assert problems_of(project) == [("TK201", "model.build.factory", "there is no file `models/net.py`")]


@pytest.mark.parametrize(
    "name", ["net.py", "net:make", "../net.py:make", "/net.py:make", "net.py:make it", "a:b.py:c"]
)
def test_words_that_name_no_function(tmp_path: Path, name: str) -> None:
    project = project_with(tmp_path / "p", model(engine="auto", build={"factory": name}))
    [(_, field, message)] = problems_of(project)
    assert field == "model.build.factory"
    assert "a factory is named `path/file.py:function`, from the project's root" in message


class Refusing:
    """A compiler that cannot go on, of one reason or another."""

    def __init__(self, code: str) -> None:
        self.code = code

    def compile(self, *_: Any) -> None:
        raise StageError(Finding(self.code, "no"))


@pytest.mark.parametrize(("code", "is_told"), [("TK964", True), ("TK962", False)])
def test_of_several_engines_a_bad_factory_is_told_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, is_told: bool
) -> None:
    project = project_with(tmp_path / "p", AUTO)
    job = job_of(project)
    graph, data = job.read(project)
    profiles = profiles_of(job, graph)
    lowerer = Lowerer(job, graph, Judge(job, data, project, profiles), project, Cache(tmp_path / "cache"))
    record = Record(job, project, lambda _text: None)
    monkeypatch.setattr("generator.engine.build.candidates.compiling.compiler_of", lambda *_: Refusing(code))
    if is_told:
        with pytest.raises(StageError, match=code):
            trying.compiled(INDUCTOR, profiles, lowerer, record, alone=False)
    else:
        assert trying.compiled(INDUCTOR, profiles, lowerer, record, alone=False) is None
        assert [row.why for row in record.rows] == ["no"]


def test_a_module_has_no_steps_that_are_folded_into_the_graph(tmp_path: Path) -> None:
    steps = [{"resize": {"size": [8, 8]}}, {"normalize": {"mean": 0, "std": 255}}]
    folded = {
        **merged(AUTO, {}), "layout": "folded", "preprocess": steps, "postprocess": ["softmax"],
        "inputs": {"image": {"type": "uint8", "dims": [32, 32, 1]}},
        "outputs": {"label": None, "score": None, "scores": {"type": "fp32", "dims": [10]}},
    }  # fmt: skip
    project = project_with(tmp_path / "p", folded)
    assert problems_of(project) == []
    job = job_of(project)
    assert job.program.fold is not None
    with pytest.raises(StageError) as raised:
        compile_choice(job, INDUCTOR, [], Lowered(b""), project=project, progress=lambda _text: None)
    [finding] = raised.value.findings
    assert (finding.code, "does not have them" in finding.message) == ("TK964", True)


UNUSED: dict[str, tuple[dict[str, Any], bool, list[str]]] = {
    "nothing": (model(precision="fp16"), False, []),
    "auto": (merged(AUTO, model(build={"channels_last": True})), False, []),
    "factory": (
        model(precision="fp16", build={"factory": "models/net.py:make"}), False,
        ["`factory` is for Inductor, and the engine is onnxruntime"],
    ),
    "layout": (
        model(precision="fp16", build={"channels_last": False}), False,
        ["`channels_last` is for Inductor; onnxruntime chooses its layouts itself"],
    ),
    "layout on a GPU": (
        model(precision="fp16", build={"channels_last": True}), True,
        ["`channels_last` is for Inductor; onnxruntime chooses its layouts itself"],
    ),
    "quantizer": (
        model(precision="fp16", build={"quantizer": "modelopt"}), False,
        ["`quantizer` is for int8 and fp8, and the precision is fp16"],
    ),
    "used": (merged(int8(), model(build={"quantizer": "modelopt"})), False, []),
}  # fmt: skip


@pytest.mark.parametrize("what", UNUSED)
def test_what_changes_nothing_is_told(tmp_path: Path, what: str) -> None:
    changes, on_gpu, texts = UNUSED[what]
    found = unused(job_of(project_with(tmp_path / "p", changes)).program, on_gpu=on_gpu)
    assert [(finding.code, finding.message) for finding in found] == [("TK993", text) for text in texts]
    if "layout" in what:
        assert ("prefer_nhwc" in found[0].hint) is on_gpu


def test_what_a_build_says_of_it(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", UNUSED["factory"][0])
    job = job_of(project)
    graph, data = job.read(project)
    judge = Judge(job, data, project, profiles_of(job, graph))
    notes = Lowerer(job, graph, judge, project, Cache(tmp_path / "cache")).notes
    assert [note.message for note in notes] == UNUSED["factory"][2]
