from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from generator.plan import EngineProgram
from generator.problems import Problem, ProblemsError, Severity, UserError
from generator.project import NoProjectError, Project
from generator.workspace import model_names, open_workspace, render_trees, specs_of
from generator_projects import SHORT, make_project, write_onnx

OTHER = SHORT.replace("name: small", "name: other").replace("production:", "staging:")
ALONE = """\
name: alone
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
models: {net: {onnx: models/net.onnx}}
"""


def codes(problems: Iterable[Problem]) -> list[str]:
    return [problem.code for problem in problems if problem.severity is Severity.ERROR]


def test_each_spec_is_resolved_on_its_own_targets(tmp_path: Path) -> None:
    work = open_workspace(make_project(tmp_path / "p", {"small": SHORT, "other": OTHER, "alone": ALONE}))
    names = {target: [plan.name for plan in plans] for target, plans in work.plans.items()}
    assert names == {"embedded": ["alone", "other", "small"], "staging": ["other"], "production": ["small"]}
    assert [plan.spec_file for plan in work.plans["embedded"]] == [
        "specs/alone.yaml",
        "specs/other.yaml",
        "specs/small.yaml",
    ]


def test_a_target_is_of_the_specs_that_have_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT, "other": OTHER})
    assert [plan.name for plan in open_workspace(project, target="staging").plans["staging"]] == ["other"]
    named = open_workspace(project, [project.specs / "small.yaml"], "staging")
    assert codes(named.problems) == ["TK212"]
    nobody = open_workspace(project, target="stagin")
    assert codes(nobody.problems) == ["TK212", "TK212"]
    assert [p.hint for p in nobody.problems] == [
        "did you mean `staging`?",
        'add it: `targets: {stagin: {server: "26.10"}}`',
    ]


def test_of_a_target_that_there_is_not_nothing_else_is_noted(tmp_path: Path) -> None:
    found = open_workspace(make_project(tmp_path / "p", {"small": SHORT}), target="laptop").problems
    assert {problem.severity for problem in found} == {Severity.ERROR}


def test_embedded_is_always_there(tmp_path: Path) -> None:
    assert list(open_workspace(make_project(tmp_path / "p", {"alone": ALONE})).plans) == ["embedded"]


def test_the_first_target_is_embedded_unless_the_spec_is_not_for_it(tmp_path: Path) -> None:
    elsewhere = ALONE.replace("name: alone", "name: elsewhere") + "targets: {embedded: null, b: {}, a: {}}\n"
    project = make_project(tmp_path / "p", {"small": SHORT, "elsewhere": elsewhere})
    work = open_workspace(project, first_only=True)
    assert {target: [plan.name for plan in plans] for target, plans in work.plans.items()} == {
        "b": ["elsewhere"],
        "embedded": ["small"],
    }


def test_problems_of_all_specs_come_together_and_once(tmp_path: Path) -> None:
    specs = {
        "a": SHORT.replace("net.onnx", "none.onnx"),
        "b": OTHER.replace("[8, 8]", "[9, 9]"),
        "c": "name: c\n",
        "d": ALONE.replace("[10]", "[11]"),
    }
    work = open_workspace(make_project(tmp_path / "p", specs))
    found = {(Path(p.place.file).stem, p.code) for p in work.problems if p.severity is Severity.ERROR}
    assert found == {("a", "TK201"), ("b", "TK204"), ("c", "TK122"), ("d", "TK207")}
    assert len(set(work.problems)) == len(work.problems), "not once a target"
    with pytest.raises(ProblemsError) as raised:
        work.stop_on_errors()
    assert list(raised.value.problems) == work.problems


def test_notes_stop_nothing(tmp_path: Path) -> None:
    work = open_workspace(make_project(tmp_path / "p", {"small": SHORT}))
    assert {problem.severity for problem in work.problems} == {Severity.NOTE}
    work.stop_on_errors()
    assert len(render_trees(work)) == 2


def test_what_cannot_be_configured_is_told_of_all_plans(tmp_path: Path) -> None:
    wrong = SHORT.replace("net.onnx}", "net.onnx, config: {optimisation: {}}}")
    also = wrong.replace("name: small", "name: other")
    work = open_workspace(make_project(tmp_path / "p", {"small": wrong, "other": also}))
    with pytest.raises(ProblemsError) as raised:
        render_trees(work)
    assert [(p.code, Path(p.place.file).name) for p in raised.value.problems if p.code == "TK301"] == [
        ("TK301", "other.yaml"), ("TK301", "small.yaml"),
    ]  # fmt: skip


def test_one_tree_a_target_and_who_owns_which_file(tmp_path: Path) -> None:
    work = open_workspace(make_project(tmp_path / "p", {"small": SHORT, "other": OTHER, "alone": ALONE}))
    trees = {tree.target: tree for tree in render_trees(work)}
    assert set(trees) == {"embedded", "staging", "production"}
    for tree in trees.values():
        assert set(tree.owners) == set(tree.files)
        for path, owner in tree.owners.items():
            assert path.split("/")[0].split("_")[0] == owner
    assert model_names(work.plans["embedded"][0]) == ["alone"]
    assert model_names(work.plans["production"][0]) == [
        "small_preprocess",
        "small_engine",
        "small_postprocess",
        "small",
    ]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("small", SHORT),
        ("small_engine", ALONE.replace("name: alone", "name: small_engine")),
        ("x", ALONE.replace("net: {onnx", "net: {name: small, onnx")),
    ],
)
def test_a_name_that_two_specs_render(tmp_path: Path, name: str, other: str) -> None:
    work = open_workspace(make_project(tmp_path / "p", {"z": other, "a": SHORT}), target="embedded")
    assert set(codes(work.problems)) == {"TK217"}
    assert all("is also rendered by specs/a.yaml" in p.message for p in work.problems if p.code == "TK217")


def test_two_specs_of_the_same_file_name_outside_of_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    files = [tmp_path / folder / "x.yaml" for folder in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        file.write_text(SHORT)
    assert "TK217" in codes(open_workspace(project, files, "embedded").problems)
    assert codes(open_workspace(project, files[:1], "embedded").problems) == []
    assert open_workspace(project, files[:1], "embedded").plans["embedded"][0].spec_file == "x.yaml"


def test_no_spec_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no spec in "):
        open_workspace(make_project(tmp_path / "p"))


def test_specs_are_found_by_both_endings_and_paths_count_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT})
    (project.specs / "small.yaml").rename(project.specs / "small.yml")
    write_onnx(project.path("specs/models/net.onnx"), {"other": [1]}, {"other2": [1]})
    monkeypatch.chdir(project.specs)
    [plan] = open_workspace(Project.find(), target="embedded").plans["embedded"]
    assert plan.spec_file == "specs/small.yml"
    assert plan.models[1].inputs[0].name == "pixels"


def test_a_project_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    (project.root / "a" / "b").mkdir(parents=True)
    assert Project.find(project.root / "a" / "b").root == project.root.resolve()
    with pytest.raises(NoProjectError):
        Project.find(tmp_path)


def test_rules_of_batching_hold_for_a_models_own_too(tmp_path: Path) -> None:
    """Triton refuses a preferred size above the largest; here the largest is the default of 8."""
    spec = ALONE.replace("net.onnx}", "net.onnx, batching: {preferred: [4, 16]}}")
    [problem] = open_workspace(make_project(tmp_path / "p", {"alone": spec})).problems
    assert (problem.code, problem.field) == ("TK214", "models.net.batching")


def test_the_specs_of_some_pipelines(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"a": SHORT, "b": OTHER})
    assert [file.name for file in specs_of(project, ["other"])] == ["b.yaml"]
    with pytest.raises(UserError, match="no spec here is of a pipeline `smal`; there are `other`, `small`") as caught:
        specs_of(project, ["other", "smal"])
    assert caught.value.hint == "did you mean `small`?"
    (project.specs / "c.yaml").write_text("name: broken")
    assert [file.name for file in specs_of(project, ["other", "small"])] == ["a.yaml", "b.yaml"]
    with pytest.raises(ProblemsError, match=r"c\.yaml"):
        specs_of(project, ["broken"])


def test_a_file_that_a_script_makes_may_be_missing(tmp_path: Path) -> None:
    made = ALONE.replace("{onnx: models/net.onnx}", "{onnx: models/made.onnx, made_by: models/make.py}")
    project = make_project(tmp_path / "p", {"alone": made, "small": SHORT})
    left_out = open_workspace(project)
    assert [plan.name for plan in left_out.plans["embedded"]] == ["small"]
    [note] = [problem for problem in left_out.problems if problem.code == "TK234"]
    assert (note.severity, note.field, note.place.line) == (Severity.NOTE, "models.net.onnx", 4)
    asked = open_workspace(project, [project.specs / "alone.yaml"])
    assert codes(asked.problems) == ["TK234"]
    assert "tritonkit build" in asked.problems[0].hint
    write_onnx(project.root / "models" / "made.onnx", {"pixels": ["batch", 1, 8, 8]}, {"logits": ["batch", 10]})
    assert sorted(plan.name for plan in open_workspace(project).plans["embedded"]) == ["alone", "small"]


def test_without_a_measurement_auto_is_onnx_runtime(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"alone": ALONE.replace("net.onnx}", "net.onnx, engine: auto}")})
    work = open_workspace(project)
    assert [(p.code, p.severity) for p in work.problems] == [("TK235", Severity.NOTE)]
    [plan] = work.plans["embedded"]
    program = plan.models[0].program
    assert isinstance(program, EngineProgram)
    assert (program.engine, program.precision, program.asked, program.is_built) == (
        "onnxruntime",
        "fp32",
        "auto",
        False,
    )
    assert "alone/1/model.onnx" in render_trees(work)[0].files


def test_an_engine_that_has_to_be_built_is_asked_for(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"alone": ALONE.replace("net.onnx}", "net.onnx, precision: int8}")})
    with pytest.raises(ProblemsError) as raised:
        render_trees(open_workspace(project))
    [problem] = raised.value.problems
    assert (problem.code, problem.field) == ("TK980", "precision")
    assert "tritonkit build specs/alone.yaml --target embedded" in problem.hint
