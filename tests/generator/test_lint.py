from __future__ import annotations

import os
from pathlib import Path

import pytest

from generator.lint import CODES, lint, lint_config
from generator.problems import Place, Problem, UserError
from generator_projects import SHORT, make_project

GOOD = 'name: "m"\nbackend: "python"\nmax_batch_size: 4\n'


def a_model(root: Path, text: str | bytes = GOOD, *, name: str = "m", versions: tuple[str, ...] = ("1",)) -> Path:
    for version in versions:
        (root / name / version).mkdir(parents=True)
    (root / name).mkdir(parents=True, exist_ok=True)
    file = root / name / "config.pbtxt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_good_one(tmp_path: Path) -> None:
    assert lint_config(a_model(tmp_path)) == []
    assert lint_config(a_model(tmp_path, GOOD.split("\n", 1)[1], name="nameless")) == [], "the directory names it"
    assert lint_config(a_model(tmp_path, GOOD, name="m2").rename(tmp_path / "m" / "config.pbtxt")) == []


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "field", "start"),
    [
        (GOOD + "max_batchsize: 4\n", "TK511", 4, 1, "max_batchsize", "ModelConfig has no field `max_batchsize`"),
        ('backend: "m\n', "TK517", 1, 10, "backend", 'the text `"m` has no closing quote'),
        ("name: [", "TK514", 1, 7, "name", "found a list (`[`); valid: text in quotes"),
        ("input [ { name: 'x' data_type: TYPE_FLOAT32 } ]\n", "TK515", 1, 32, "input[0].data_type", "found the word "),
        ("max_batch_size: 'four'\n", "TK514", 1, 17, "max_batch_size", "found the text `'four'`; valid: a whole number"),
        ("instance_group { kind: KIND_GPU\n", "TK510", 1, 16, "instance_group", "the `{` of `instance_group` is not"),
        ("}\n", "TK510", 1, 1, "", "`}` closes nothing"),
        ("name = 'm'\n", "TK501", 1, 6, "name", "found `=`; valid: `:`"),
    ],
)  # fmt: skip
def test_what_cannot_be_parsed(
    tmp_path: Path, text: str, code: str, line: int, column: int, field: str, start: str
) -> None:
    [problem] = lint_config(a_model(tmp_path, text))
    assert (problem.code, problem.field) == (code, field)
    assert (problem.place.line, problem.place.column) == (line, column)
    assert problem.message.startswith(start)


def test_binary(tmp_path: Path) -> None:
    [problem] = lint_config(a_model(tmp_path, b"name: '\xff'"))
    assert (problem.code, problem.place.line, problem.place.column) == ("TK519", 1, 7)
    [] = lint_config(a_model(tmp_path, b"# \xff\nname: 'n'", name="n"))


def test_another_name_than_its_directory(tmp_path: Path) -> None:
    [problem] = lint_config(a_model(tmp_path, GOOD, name="other"))
    assert (problem.code, problem.field, problem.message) == ("TK502", "name", "`m` stands in directory `other`")
    assert (problem.place.line, problem.place.column) == (1, 7)


@pytest.mark.parametrize("versions", [(), ("one",), ("v1", "latest")])
def test_no_version(tmp_path: Path, versions: tuple[str, ...]) -> None:
    [problem] = lint_config(a_model(tmp_path, versions=versions))
    assert problem.code == "TK503"
    assert "mkdir 1" in problem.hint


def test_several_mistakes_of_one_file(tmp_path: Path) -> None:
    assert [p.code for p in lint_config(a_model(tmp_path, GOOD, name="other", versions=()))] == ["TK502", "TK503"]
    text = GOOD + "max_batchsize: 4\ninput { name: x }\nbackend: 'python'\n"
    found = lint_config(a_model(tmp_path, text, name="another", versions=()))
    assert [p.code for p in found] == ["TK511", "TK514", "TK512", "TK502", "TK503"]


def test_every_code_of_the_stage_is_reached(tmp_path: Path) -> None:
    found = [*lint_config(a_model(tmp_path, "=")), *lint_config(a_model(tmp_path, GOOD, name="x", versions=()))]
    assert {problem.code for problem in found} == set(CODES)


@pytest.mark.timeout(30)
def test_what_is_no_file(tmp_path: Path) -> None:
    """Each is one problem, so that those of the other files are told too; a pipe is not waited for."""
    for name, code in (("none", "TK101"), ("folder", "TK102"), ("pipe", "TK102"), ("zero", "TK102")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "config.pbtxt"
        if name == "folder":
            file.mkdir()
        elif name == "pipe":
            os.mkfifo(file)
        elif name == "zero":
            file.symlink_to("/dev/zero")
        [problem] = lint_config(file)
        assert (problem.code, problem.hint) == (code, "")


def test_folders_are_looked_into(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT, "bad": "name: bad"})
    repository = project.root / "model_repository"
    a_model(repository / "embedded", "}", name="a")
    a_model(repository / "production", "}", name="b")

    def found(*paths: Path) -> tuple[set[str], int]:
        problems, checked = lint(project, paths)
        return {Path(p.place.file).parent.name for p in problems if p.code == "TK510"}, checked

    assert found(repository) == ({"a", "b"}, 2)
    assert found(repository / "embedded") == ({"a"}, 1)
    assert found(repository / "production" / "b", repository / "production" / "b" / "config.pbtxt") == ({"b"}, 1)
    assert found(project.specs, repository, project.specs / "small.yaml") == ({"a", "b"}, 4)
    assert found() == (set(), 2)


def test_problems_of_specs_and_configurations_come_together(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT.replace("[8, 8]", "[9, 9]"), "bad": "name: bad"})
    a_model(project.root / "models_here", "}", name="a")
    problems, checked = lint(project, [project.specs, project.root / "models_here", project.root / "none.yaml"])
    assert {"TK101", "TK122", "TK204", "TK510"} <= {problem.code for problem in problems}
    assert checked == 4


def test_what_only_rendering_finds_is_found(tmp_path: Path) -> None:
    spec = SHORT.replace("net.onnx}", "net.onnx, config: {optimisation: {}}}")
    problems, _ = lint(make_project(tmp_path / "p", {"small": spec}), [])
    assert "TK301" in {problem.code for problem in problems}


@pytest.mark.parametrize("folder", ["empty", "deep"])
def test_nothing_to_check(tmp_path: Path, folder: str) -> None:
    project = make_project(tmp_path / "p")
    (project.root / "empty").mkdir()
    a_model(project.root / "deep" / "a" / "b", GOOD)
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint(project, [project.root / folder])


def test_nothing_is_changed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT})
    before = sorted(project.root.rglob("*"))
    assert lint(project, [])[1] == 1
    assert sorted(project.root.rglob("*")) == before


def test_a_problem_has_the_path_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_model(tmp_path, "}")
    monkeypatch.chdir(tmp_path)
    [problem] = lint_config(Path("m/config.pbtxt"))
    assert isinstance(problem, Problem)
    assert problem.place == Place("m/config.pbtxt", 1, 1)
