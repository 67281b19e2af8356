"""Models of `files`: copied as they are, alone or in a flow; and targets that a pipeline is not for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.needs import UNKNOWN_SHM_BYTES, needs_of
from generator.config import model_configs
from generator.copied import files_of
from generator.plan import FilesProgram
from generator.problems import ProblemsError, Severity
from generator.project import Project
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees, targets_of
from generator_projects import FULL, make_project
from protobuf_text import parse

ALONE = """\
name: copied
inputs: {x: {type: fp32, dims: [4], optional: true}}
outputs: {y: {type: fp32, dims: [4], labels: data/ten.labels}}
models:
  model: {files: models/copied, batching: {max_batch_size: 4, dynamic: false}, config: {backend: python}}
"""
WHOLE = """\
name: copied
inputs: {}
outputs: {}
models:
  model: {files: models/copied, config: {backend: python, max_batch_size: 4, input: [{name: a}, {name: a}]}}
"""
BESIDE = """\
name: pair
inputs: {x: {type: fp32, dims: [4]}}
outputs: {y: {type: fp32, dims: [4]}}
models:
  ensemble:
    files: models/copied
    batching: {max_batch_size: 8, dynamic: false}
    config: {platform: ensemble, ensemble_scheduling: {step: [{model_name: pair_part, input_map: {a: x}, output_map: {b: y}}]}}
  part:
    files: models/copied
    inputs: {a: {type: fp32, dims: [4]}}
    outputs: {b: {type: fp32, dims: [4]}}
    config: {backend: python}
  other: {name: third, files: models/copied, config: {backend: python}}
"""
NET = "net: {onnx: models/net.onnx}"
COPIED = "net: {files: models/copied, config: {backend: python}, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}"


def opened(root: Path, text: str, target: str = "embedded") -> Workspace:
    """A project with a directory models/copied of versions 1 and 3."""
    project = make_project(root / "project", {"spec": text})
    for path in (
        "1/model.py",
        "3/data/weights.bin",
        "note.txt",
        "config.pbtxt",
        "1/__pycache__/model.pyc",
    ):
        file = project.root / "models" / "copied" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    (project.root / "models" / "copied" / "7").mkdir()
    return open_workspace(project, target=target)


def config_of(work: Workspace, name: str) -> Any:
    work.stop_on_errors()
    [tree] = render_trees(work)
    return parse(tree.files[f"{name}/config.pbtxt"].decode())


def told(work: Workspace) -> list[tuple[str, str]]:
    return [(problem.code, problem.field) for problem in work.problems]


def test_a_model_alone_has_the_tensors_of_the_pipeline(tmp_path: Path) -> None:
    work = opened(tmp_path, ALONE)
    found = config_of(work, "copied")
    assert [(t.name, list(t.dims), t.optional) for t in found.input] == [("x", [4], True)]
    assert [(t.name, t.label_filename) for t in found.output] == [("y", "ten.labels")]
    [plan] = work.plans["embedded"]
    assert plan.models[0].program == FilesProgram("models/copied")
    assert plan.inputs == plan.models[0].inputs


def test_its_files_are_copied_without_what_is_hidden_or_compiled(tmp_path: Path) -> None:
    folder = opened(tmp_path, ALONE).project.root / "models" / "copied"
    for path in (".hidden", "3/.cache/deep/file"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    work = open_workspace(Project(tmp_path / "project"), target="embedded")
    [note] = work.problems
    assert (note.code, note.field, note.severity) == ("TK233", "models.model.files", Severity.NOTE)
    assert note.message == "hidden files of `models/copied` are not copied: `.hidden`, `3/.cache`"
    [tree] = render_trees(work)
    assert sorted(tree.files) == [
        "copied/1/model.py", "copied/3/data/weights.bin", "copied/7/.gitkeep", "copied/config.pbtxt",
        "copied/note.txt", "copied/ten.labels",
    ]  # fmt: skip
    assert tree.files["copied/3/data/weights.bin"] == b"3/data/weights.bin"
    assert files_of(work.project.root / "models" / "copied")["7/.gitkeep"] is None


def test_a_model_without_tensors_says_all_in_config(tmp_path: Path) -> None:
    work = opened(tmp_path, WHOLE)
    assert config_of(work, "copied") == parse(
        'name: "copied" backend: "python" max_batch_size: 4 input { name: "a" } input { name: "a" }'
    )
    [plan] = work.plans["embedded"]
    assert (plan.max_batch_size, plan.inputs) == (4, ())


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("backend: python", "copied"),
        ('backend: python, name: ""', ""),
        ("backend: python, name: other", "other"),
        ('backend: ""', "copied"),
    ],
)
def test_what_config_says_of_names(change: str, name: str, tmp_path: Path) -> None:
    found = config_of(opened(tmp_path, WHOLE.replace("backend: python", change)), "copied")
    assert found.name == name
    assert found.backend == ("" if "backend: python" not in change else "python")


def test_a_declared_model_may_leave_its_name_to_the_directory_and_not_change_it(tmp_path: Path) -> None:
    nameless = ALONE.replace("backend: python", 'backend: python, name: ""')
    assert config_of(opened(tmp_path / "a", nameless), "copied").name == ""
    work = opened(tmp_path / "b", ALONE.replace("backend: python", "backend: python, name: other"))
    with pytest.raises(ProblemsError, match="TK306"):
        model_configs(work.plans["embedded"][0])


@pytest.mark.parametrize(
    ("spec", "change", "found"),
    [
        (WHOLE, ("files: models/copied,", "files: models/copied, batching: {},"), ("TK223", "models.model.batching")),
        (WHOLE, ("files: models/copied,", "files: models/copied, versions: {all: true},"), ("TK223", "models.model.versions")),
        (WHOLE, ("backend: python, ", ""), ("TK223", "models.model")),
        (WHOLE, ("models/copied", "models/none"), ("TK201", "models.model.files")),
        (WHOLE, ("inputs: {}", "inputs: {x: {type: fp32, dims: [4]}}"), None),
        (FULL, (NET, COPIED), None),
        (FULL, (NET, COPIED.replace("inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, ", "")), ("TK128", "models.net")),
        (FULL, ("inputs: {image: {type: bytes}}\noutputs", "inputs: {}\noutputs"), ("TK126", "inputs")),
        (FULL, ("{model: net}", "{model: net, version: 2}"), ("TK230", "flow[1].version")),
        (FULL, ("{model: net}", "{model: net, version: 0}"), ("TK125", "flow[1].version")),
        (FULL.replace(NET, COPIED), ("{model: net}", "{model: net, version: 3}"), None),
        (FULL.replace(NET, COPIED), ("{model: net}", "{model: net, version: 2}"), ("TK230", "flow[1].version")),
        (FULL + "layout: fused\n", ("{model: net}", "{model: net, version: 1}"), ("TK229", "flow[1].version")),
        (ALONE + "targets: {embedded: null, other: {}}\n", ("", ""), ("TK212", "targets.embedded")),
        (ALONE + "targets: {embedded: null}\n", ("", ""), ("TK128", "targets")),
        (ALONE + "targets: {other: null}\n", ("", ""), ("TK123", "targets.other")),
        (ALONE + "targets:\n  other:\n", ("", ""), ("TK123", "targets.other")),
        (ALONE + "batching: {max_batch_size: 2}\n", ("", ""), None),
        (WHOLE + "batching: {max_batch_size: 2}\n", ("", ""), ("TK223", "batching")),
        (WHOLE + "targets: {embedded: {batching: {max_batch_size: 2}}}\n", ("", ""), ("TK223", "targets.embedded.batching")),
        (WHOLE + "targets: {other: {batching: {max_batch_size: 2}}}\n", ("", ""), None),
        (BESIDE + "batching: {max_batch_size: 2}\n", ("", ""), None),
        (BESIDE + "layout: fused\n", ("", ""), ("TK229", "layout")),
        (BESIDE + "targets: {embedded: {layout: fused}}\n", ("", ""), ("TK229", "targets.embedded.layout")),
        (ALONE + "layout: fused\n", ("", ""), None),
    ],
)  # fmt: skip
def test_mistakes(spec: str, change: tuple[str, str], found: tuple[str, str] | None, tmp_path: Path) -> None:
    assert change[0] in spec
    work = opened(tmp_path, spec.replace(*change, 1))
    assert told(work) == ([] if found is None else [found])


def test_several_copied_models_without_a_flow(tmp_path: Path) -> None:
    """The first is the pipeline; of the others each says its own tensors, or all in `config`."""
    work = opened(tmp_path, BESIDE)
    assert [[t.name for t in config_of(work, name).input] for name in ("pair", "pair_part", "third")] == [
        ["x"],
        ["a"],
        [],
    ]
    [plan] = work.plans["embedded"]
    assert [tensor.name for tensor in (*plan.inputs, *plan.outputs)] == ["x", "y"]
    assert [model.program for model in plan.models] == [
        FilesProgram("models/copied"), FilesProgram("models/copied"), FilesProgram("models/copied", whole=True),
    ]  # fmt: skip


def test_mistakes_stand_where_they_are_made(tmp_path: Path) -> None:
    """Each of them, though no field alone is wrong."""
    text = FULL.replace(NET, "net: {files: models/copied, config: {backend: python}}")
    text = text.replace("inputs: {image: {type: bytes}}\noutputs", "inputs: {}\noutputs", 1)
    problems = opened(tmp_path, text).problems
    assert [(p.code, p.field) for p in problems] == [
        ("TK126", "inputs"), ("TK128", "models.net"), ("TK128", "models.net")
    ]  # fmt: skip
    lines = text.splitlines()
    assert [lines[p.place.line - 1].strip().partition(":")[0] for p in problems] == ["inputs", "net", "net"]


def test_several_models_without_a_flow_are_all_copied(tmp_path: Path) -> None:
    work = opened(tmp_path, BESIDE.replace("part:\n    files: models/copied", "part:\n    onnx: models/net.onnx"))
    assert [(p.code, p.message) for p in work.problems] == [
        ("TK128", "several `models` need a `flow`: which model runs on which tensors")
    ]
    twice = opened(tmp_path / "twice", BESIDE.replace("name: third", "name: pair"))
    assert told(twice) == [("TK217", "models.other.name")]


def test_a_step_of_a_version_asks_for_it(tmp_path: Path) -> None:
    text = FULL.replace(NET, COPIED).replace("{model: net}", "{model: net, version: 3}")
    steps = config_of(opened(tmp_path, text), "two").ensemble_scheduling.step
    assert [(step.model_name, step.model_version) for step in steps] == [
        ("two_before", -1),
        ("two_net", 3),
        ("two_after", -1),
    ]


def test_a_flow_keeps_the_order_in_which_it_is_written(tmp_path: Path) -> None:
    """Any order that works is kept; what stands before what it needs comes right behind it."""
    side = FULL.replace("  after:\n", "  early:\n    steps: [{decode: {to: gray}}, {resize: {size: [4, 4]}}]\n    inputs: {image: {type: bytes}}\n"
                        "    outputs: {small: {type: uint8, dims: [4, 4, 1]}}\n  after:\n")  # fmt: skip
    side = side.replace(
        "score: {type: fp32, dims: [1]}}", "score: {type: fp32, dims: [1]}, small: {type: uint8, dims: [4, 4, 1]}}"
    )
    for written, rendered in (
        ("before net after early", "before net after early"),
        ("before early net after", "before early net after"),
        ("after net before early", "before net after early"),
    ):
        flow = "".join(f"  - {{model: {name}}}\n" for name in written.split())
        text = side.partition("flow:\n")[0] + "flow:\n" + flow + "batching: {max_batch_size: 4}\n"
        steps = config_of(opened(tmp_path / written, text), "two").ensemble_scheduling.step
        assert " ".join(step.model_name.removeprefix("two_") for step in steps) == rendered


def test_a_pipeline_that_is_not_for_the_embedded_server(tmp_path: Path) -> None:
    text = ALONE + "targets: {embedded: null, elsewhere: {}}\n"
    work = open_workspace(opened(tmp_path, text, "elsewhere").project)
    work.stop_on_errors()
    assert list(work.plans) == ["elsewhere"]
    assert targets_of(work.specs[0].value) == ["elsewhere"]


@pytest.mark.parametrize(
    "spec", [ALONE, ALONE.replace("optional: true", "reshape: [2, 2]"), WHOLE, FULL.replace(NET, COPIED)]
)
def test_what_is_shown_in_full_says_the_same(spec: str, tmp_path: Path) -> None:
    work = opened(tmp_path, spec)
    [found] = work.resolved["embedded"]
    shown = as_yaml(full_spec(found.spec, found.expanded, found.plan), found.plan)
    again = opened(tmp_path / "again", shown)
    name = found.plan.name
    assert config_of(again, name) == config_of(work, name)
    assert {model.name for model in again.plans["embedded"][0].models} == {model.name for model in found.plan.models}


def test_what_its_server_needs_is_read_from_config(tmp_path: Path) -> None:
    text = WHOLE.replace("max_batch_size: 4", "instance_group: [{count: 3}, {}], response_cache: {enable: true}")
    needs = needs_of(opened(tmp_path, text).plans["embedded"])
    assert (needs.python_instances, needs.most_instances_of_a_model) == (4, 4)
    assert needs.shm_default_bytes == UNKNOWN_SHM_BYTES
    assert needs.response_cache_bytes > 0
    other = needs_of(opened(tmp_path / "other", text.replace("python", "onnxruntime")).plans["embedded"])
    assert other.python_instances == 0


def test_a_number_that_an_enum_has_no_name_for(tmp_path: Path) -> None:
    for number, fits in ((99, True), (-1, True), (11, False), (2**31, False)):
        work = opened(
            tmp_path / str(number), WHOLE.replace("{name: a}, {name: a}", f"{{name: a, data_type: {number}}}")
        )
        if fits:
            assert config_of(work, "copied").input[0].data_type == number
            continue
        with pytest.raises(ProblemsError, match=r"TK302|TK304"):
            model_configs(work.plans["embedded"][0])
