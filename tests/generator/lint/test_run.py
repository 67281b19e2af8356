"""What a user names is sorted out, judged together where one server serves it, and told with the paths that were given."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from generator.lint.paths import Asked, rendered_for, sort_out
from generator.lint.run import lint, lint_config
from generator.lint.server import EMBEDDED, Server
from generator.problems import Place, Problem, Severity, UserError
from generator.project import Project
from generator_projects import SHORT, make_project

CLONE = Path(__file__).parents[3]
TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
GOOD = 'name: "m"\nbackend: "python"\nmax_batch_size: 4 dynamic_batching { }\n' + TENSORS
HEAD = "# Rendered by tritonkit from specs/m.yaml for target `{}` (Triton {}).\n"


def a_model(root: Path, text: str | bytes = GOOD, *, name: str = "m", versions: tuple[str, ...] = ("1",)) -> Path:
    """A model's directory; its config.pbtxt."""
    (root / name).mkdir(parents=True, exist_ok=True)
    for version in versions:
        (root / name / version).mkdir()
        (root / name / version / "model.py").write_text("class TritonPythonModel:\n    def execute(self, r): ...\n")
    file = root / name / "config.pbtxt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def told(*paths: Path, asked: Asked | None = None) -> list[tuple[str, str]]:
    """Code and place of every error and warning."""
    return [
        (p.code, str(p.place)) for p in lint(list(paths), asked).problems if p.severity is not Severity.NOTE
    ]  # fmt: skip


# One configuration -------------------------------------------------------------------------------------------------


def test_a_good_one(tmp_path: Path) -> None:
    assert lint_config(a_model(tmp_path)) == []
    assert lint_config(a_model(tmp_path, GOOD.split("\n", 1)[1], name="nameless")) == [], "the directory names it"


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "field", "start"),
    [
        (GOOD + "max_batchsize: 4\n", "TK511", 6, 1, "max_batchsize", "ModelConfig has no field `max_batchsize`"),
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
    assert lint_config(a_model(tmp_path, b"# \xff\n" + GOOD.replace('"m"', '"n"').encode(), name="n")) == []


def test_another_name_than_its_directory(tmp_path: Path) -> None:
    [problem] = lint_config(a_model(tmp_path, GOOD, name="other"))
    assert (problem.code, problem.field, problem.message) == ("TK502", "name", "`m` stands in directory `other`")
    assert (problem.place.line, problem.place.column) == (1, 7)


@pytest.mark.timeout(30)
def test_what_is_no_file(tmp_path: Path) -> None:
    """Each is one problem, so that those of the other files are told too; a pipe is not waited for."""
    for name, code in (("none", "TK101"), ("pipe", "TK102"), ("zero", "TK102"), ("link", "TK101")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "config.pbtxt"
        if name == "pipe":
            os.mkfifo(file)
        elif name == "zero":
            file.symlink_to("/dev/zero")
        elif name == "link":
            file.symlink_to(tmp_path / "nowhere")
        [problem] = lint_config(file)
        assert (problem.code, problem.place) == (code, Place(str(file)))
    found = Counter(p.place.file for p in lint([tmp_path]).problems if p.code == "TK501")
    assert found == {str(tmp_path / name / "config.pbtxt"): 1 for name in ("link", "pipe", "zero")}


def test_another_pbtxt_is_no_configuration(tmp_path: Path) -> None:
    other = a_model(tmp_path).rename(tmp_path / "m" / "config.txt.pbtxt")
    with pytest.raises(UserError, match="is no file that a server reads"):
        lint([other])


# What is judged together -------------------------------------------------------------------------------------------


def test_folders_are_looked_into(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT, "bad": "name: bad"})
    repository = project.root / "model_repository"
    a_model(repository / "embedded", "}", name="a")
    a_model(repository / "production", "}", name="b")

    def found(*paths: Path) -> tuple[set[str], int]:
        linted = lint(paths, project=project)
        return {Path(p.place.file).parent.name for p in linted.problems if p.code == "TK510"}, linted.looked_at

    assert found(repository) == ({"a", "b"}, 2)
    assert found(repository / "embedded") == ({"a"}, 1)
    assert found(repository / "production" / "b", repository / "production" / "b" / "config.pbtxt") == ({"b"}, 1)
    assert found(project.specs, repository, project.specs / "small.yaml") == ({"a", "b"}, 4)
    assert found() == (set(), 2)


def test_a_model_alone_sees_the_models_beside_it(tmp_path: Path) -> None:
    """An ensemble is judged by its models, which are not told of themselves."""
    a_model(tmp_path, GOOD.replace('"m"', '"other"'))
    ensemble = 'platform: "ensemble"\n' + TENSORS + "ensemble_scheduling { step [ { model_name: %s model_version: -1 "
    ensemble += 'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } ] }\n'
    a_model(tmp_path, ensemble % '"m"', name="e", versions=("1",))
    (tmp_path / "e" / "1" / "model.py").unlink()
    assert told(tmp_path / "e") == []
    assert told(tmp_path / "m") == [("TK502", f"{tmp_path}/m/config.pbtxt:1:7")]
    assert told(tmp_path) == told(tmp_path / "m", tmp_path / "e") == told(tmp_path / "m")
    every = lint([tmp_path / "m", tmp_path / "m" / "config.pbtxt", tmp_path])
    assert ([problem.code for problem in every.problems].count("TK502"), every.looked_at) == (1, 2)


def groups(*paths: Path) -> list[list[str]]:
    return [[Path(folder.path).name for folder in group.folders] for group in sort_out(paths, Asked()).groups]


def test_repositories_named_together_are_one_servers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        a_model(tmp_path / name)
    a_model(tmp_path / "c", HEAD.format("production", "26.07") + GOOD)
    a_model(tmp_path / "d", HEAD.format("edge", "25.01") + GOOD)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert groups(a, b) == [["a", "b"]]
    assert groups(a, c) == [["a", "c"]], "something written by hand beside what was rendered"
    assert groups(c, d) == [["c"], ["d"]], "rendered for two targets"
    assert groups(tmp_path) == [["a"], ["b"], ["c"], ["d"]], "each of a folder of repositories"
    assert groups(tmp_path, a, b) == [["a", "b"], ["c"], ["d"]]
    assert groups(a / "m", b / "m", a / "m" / "config.pbtxt") == [["a"], ["b"]]
    assert {code for code, _ in told(a, b)} == {"TK602"}, "which of the two is served"
    assert told(tmp_path) == told(c, d) == []


def test_the_server_is_the_one_that_it_was_rendered_for(tmp_path: Path) -> None:
    a_model(tmp_path / "hand")
    a_model(tmp_path / "embedded", HEAD.format("embedded", "24.10") + GOOD)
    a_model(tmp_path / "production", HEAD.format("production", "26.07") + GOOD)
    assert rendered_for(tmp_path / "production") == ("production", "26.07")
    assert rendered_for(tmp_path / "hand") is None

    def server(name: str, asked: Asked | None = None) -> Server:
        [group] = sort_out([tmp_path / name], asked or Asked()).groups
        return group.server

    assert server("hand") == server("production") == Server()
    assert server("embedded") == EMBEDDED
    assert server("hand", Asked("embedded")) == EMBEDDED
    assert server("embedded", Asked("25.03")) == Server("25.03")
    some = Asked("embedded", frozenset({"python", "pytorch"}), 2, 8, True, "small", 1000)
    assert server("hand", some) == Server("24.10", some.backends, 2, 8, True, "small", 1000)


def test_another_configuration_of_a_model(tmp_path: Path) -> None:
    a_model(tmp_path)
    (tmp_path / "m" / "configs").mkdir()
    other = tmp_path / "m" / "configs" / "small.pbtxt"
    other.write_text("}\n")
    assert told(tmp_path) == []
    assert told(other) == told(tmp_path, asked=Asked(config_name="small")) == [("TK510", f"{other}:1:1")]


@pytest.mark.parametrize(
    ("here", "given", "shown"),
    [
        ("r", "m/config.pbtxt", "m/config.pbtxt"),
        ("r", "m", "m/config.pbtxt"),
        ("r", ".", "m/config.pbtxt"),
        (".", "r", "r/m/config.pbtxt"),
        ("r/m", "config.pbtxt", "ROOT/r/m/config.pbtxt"),
        ("r/m", ".", "ROOT/r/m/config.pbtxt"),
        ("other", "../r/m", "../r/m/config.pbtxt"),
        ("other", "../r", "../r/m/config.pbtxt"),
        ("r/m/1", "..", "ROOT/r/m/config.pbtxt"),
    ],
)
def test_a_problem_has_the_path_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, given: str, shown: str
) -> None:
    """Of `.` and `..`, which name no model, the whole path; commands show that from here."""
    a_model(tmp_path / "r", "}")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / here)
    [problem] = lint([Path(given)]).problems
    assert isinstance(problem, Problem)
    assert problem.place == Place(shown.replace("ROOT", str(tmp_path)), 1, 1)
    assert Path(problem.place.file).read_text() == "}"


@pytest.mark.parametrize("folder", ["empty", "deep"])
def test_nothing_to_check(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    a_model(tmp_path / "deep" / "a" / "b", GOOD)
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint([tmp_path / folder])


def test_repositories_need_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert lint([Path()]).looked_at == 1
    with pytest.raises(UserError, match="there is no `specs` folder"):
        lint([])


# Specs -------------------------------------------------------------------------------------------------------------


def test_problems_of_specs_and_configurations_come_together(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT.replace("[8, 8]", "[9, 9]"), "bad": "name: bad"})
    a_model(project.root / "models_here", "}", name="a")
    linted = lint([project.specs, project.root / "models_here", project.root / "none.yaml"], project=project)
    assert {"TK101", "TK122", "TK204", "TK510"} <= {problem.code for problem in linted.problems}
    assert linted.looked_at == 4


def test_what_only_rendering_finds_is_found(tmp_path: Path) -> None:
    spec = SHORT.replace("net.onnx}", "net.onnx, config: {optimisation: {}}}")
    linted = lint([], project=make_project(tmp_path / "p", {"small": spec}))
    assert "TK301" in {problem.code for problem in linted.problems}


def test_nothing_is_changed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT})
    before = sorted(project.root.rglob("*"))
    assert lint([], project=project).looked_at == 1
    assert sorted(project.root.rglob("*")) == before


def test_what_is_committed_is_clean() -> None:
    """The specs, and both trees for the servers that they were rendered for."""
    linted = lint([CLONE / "specs", CLONE / "model_repository"], project=Project(CLONE))
    assert [p for p in linted.problems if p.severity is not Severity.NOTE] == []
    assert linted.looked_at > 20


def spec_problems(tmp_path: Path, text: str) -> list[Problem]:
    """What rules say of a spec."""
    found = lint([], project=make_project(tmp_path / "p", {"small": text})).problems
    return [problem for problem in found if problem.code >= "TK5" and problem.severity is not Severity.NOTE]


def test_a_rule_is_told_in_the_words_and_at_the_place_of_the_spec(tmp_path: Path) -> None:
    never = SHORT.replace("net.onnx}", "net.onnx, config: {version_policy: {specific: {versions: [7]}}}}")
    [problem] = spec_problems(tmp_path, never)
    assert (problem.code, problem.severity) == ("TK601", Severity.ERROR)
    assert (problem.field, problem.place.line, problem.place.column) == ("config.version_policy.specific", 5, 68)
    assert problem.message == "model `small_engine`: version_policy.specific: it asks for 7, there is 1"


def test_what_is_so_on_one_target_alone_names_it(tmp_path: Path) -> None:
    late = SHORT.replace("gpu: h200}", "gpu: h200, batching: {preferred: [8]}}")
    [problem] = spec_problems(tmp_path, late)
    assert (problem.code, problem.field, problem.place.line) == ("TK750", "batching.preferred", late.count("\n"))
    assert problem.message.startswith(
        "on target `production`, model `small_engine`: dynamic_batching.preferred_batch_size"
    )


def test_what_resolving_a_spec_has_told_is_not_told_twice(tmp_path: Path) -> None:
    """Its queue policy stalls on the embedded server, for the resolver (TK224) as for the rules (TK754)."""
    project = make_project(tmp_path / "p", {"small": SHORT})
    told = Counter(p.code for p in lint([], project=project).problems)
    assert (told["TK224"], told["TK754"]) == (1, 0)
    (project.specs / "small.yaml").write_text(SHORT.replace("objective: {p99_ms: 20}\n", ""))
    told = Counter(p.code for p in lint([], project=project).problems)
    assert told["TK224"] == 0, "without an objective it says nothing"
    assert told["TK754"] == 3, "of each model"
