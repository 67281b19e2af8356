"""What the specs look like, what is said of an import, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from repositories import Files, put
from round_trips import comes_back, configs, imported, rendered
from wild import ONE_FLOW, RESNET, STEP, WILD, ensemble, model

from generator.adopt.adopt import Adopted, Where, adopt
from generator.load.read import MAX_FILE_BYTES
from generator.problems import Problem, ProblemsError, UserError
from generator.project import Project
from generator.workspace import open_workspace, targets_of

RESNET_SPEC = """\
# Imported by tritonkit from theirs/.
name: resnet50
inputs: {input: {type: fp16, dims: [3, 224, 224], format: nchw}}
outputs: {prob: {type: fp16, dims: [1000], labels: models/resnet50/labels.txt}}
models:
  model:
    files: models/resnet50
    batching: {max_batch_size: 32, preferred: [8, 32], max_queue_delay_us: 100}
    instances: [{kind: gpu, count: 2, gpus: [0, 1]}]
    versions: {specific: [1, 3]}
    warmup: [{name: zeros, batch_size: 8, count: 1, inputs: {input: {zero: true}}}]
    response_cache: true
    parameters: {owner: vision}
    cuda_graphs: {batch_sizes: [8, 32]}
    config: {platform: tensorrt_plan}
targets: {embedded: null, theirs: {gpu: any}}
"""
FLOW_SPEC = """\
# Imported by tritonkit from theirs/.
name: chain
inputs: {x: {type: fp32, dims: [4]}}
outputs: {y: {type: fp32, dims: [4]}}
models:
  first:
    files: models/chain_first
    inputs: {x: {type: fp32, dims: [4]}}
    outputs: {y: {type: fp32, dims: [4]}}
    batching: {max_batch_size: 8, dynamic: false}
    config: {backend: python}
  second:
    name: second
    files: models/second
    inputs: {x: {type: fp32, dims: [4]}}
    outputs: {y: {type: fp32, dims: [4]}}
    batching: {max_batch_size: 64}
    config: {backend: python}
flow:
- {model: first, outputs: {y: between}}
- {model: second, version: 2, inputs: {x: between}}
batching: {max_batch_size: 8}
response_cache: true
config: {parameters: {a: b}}
targets: {theirs: {}}
"""
COMPLETED_SPEC = """\
# Imported by tritonkit from theirs/.
name: completed
inputs: {}
outputs: {}
models:
  model:
    files: models/completed
    config:
      name: ""
      platform: onnxruntime_onnx
      max_batch_size: 8
      instance_group: [{kind: KIND_GPU}]
targets: {embedded: null, theirs: {gpu: any}}
"""


def of(files: Files, project: Project, where: Where | None = None) -> Adopted:
    return adopt(put(files, project.root.parent / "theirs"), project, where or Where("theirs"))


def said(adopted: Adopted) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in adopted.notes]


def refused(files: Files, project: Project, where: Where | None = None) -> list[Problem]:
    with pytest.raises(ProblemsError) as caught:
        of(files, project, where)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("files", "name", "text"),
    [
        (WILD["resnet50"][0], "resnet50", RESNET_SPEC),
        (ONE_FLOW, "chain", FLOW_SPEC),
        (WILD["completed"][0], "completed", COMPLETED_SPEC),
    ],
    ids=["model", "flow", "config"],
)
def test_the_text(files: Files, name: str, text: str, project: Project) -> None:
    assert of(files, project).texts == {name: text}


@pytest.mark.parametrize(
    ("name", "why", "field"),
    [
        ("shared", "model `part` is also a step of `two`", "ensemble_scheduling.step[0].model_name"),
        ("nested", "its step `inner` is an ensemble too", "ensemble_scheduling.step[0].model_name"),
        ("version-0", "step 0 takes version 0 of `part`", "ensemble_scheduling.step[0].model_version"),
        ("namespace", "step 0 has a `model_namespace`", "ensemble_scheduling.step[0].model_namespace"),
        (
            "missing-step",
            "its step `gone` is no model of the repository with a",
            "ensemble_scheduling.step[0].model_name",
        ),
        ("not-first", "step 0 takes `t`, which a later step gives", "ensemble_scheduling.step[0]"),
        ("smaller-batches", "model `a` takes batches of 4, the pipeline of 8", ""),
        ("other-version", "an ensemble of a flow has version 1 alone, and this one has: 2", "name"),
        ("no-steps", "it has no steps", "ensemble_scheduling"),
        ("misnamed-ensemble", "it calls itself `f`", "name"),
    ],
)
def test_why_an_ensemble_is_no_flow(name: str, why: str, field: str, project: Project) -> None:
    note = next(problem for problem in of(WILD[name][0], project).notes if problem.code == "TK807")
    assert "becomes no `flow`: " in note.message
    assert why in note.message
    assert note.field == field
    assert (note.place.line > 0) == bool(field)


def test_a_pinned_version_that_is_not_there_is_no_flow(project: Project) -> None:
    files = {"e/config.pbtxt": ensemble("e", STEP.format("a", 5, "x", "y")), "e/1/": b"", **model("a")}
    adopted = of(files, project)
    assert {name: draft.form for name, draft in adopted.drafts.items()} == {"e": "models"}
    assert "model `a` has no version 5; it has: 1" in said(adopted)[0][1]


def test_what_is_left_behind_is_said(project: Project) -> None:
    files = {
        **ONE_FLOW, "chain/README.md": b"hello", "chain_first/.secret": b"1", "chain_first/1/.cache/x": b"1",
        "chain_first/1/__pycache__/model.cpython-311.pyc": b"1", "resnet50/config.pbtxt": RESNET.encode(),
        "resnet50/1/model.plan": b"1", "resnet50/3/model.plan": b"1", "resnet50/labels.txt": b"cat", "later/1/model.onnx": b"0",
    }  # fmt: skip
    adopted = of(files, project)
    assert said(adopted) == [
        ("TK801", "`later` has no config.pbtxt; only the server knows what it is"),
        ("TK805", "hidden files stay behind: `.secret`, `1/.cache`"),
        ("TK805", "a comment stays behind"),
        ("TK805", "files of the ensemble stay behind, since it runs nothing itself: `README.md`"),
    ]
    assert sorted(adopted.copies) == [
        "models/chain_first/1/model.py", "models/resnet50/1/model.plan", "models/resnet50/3/model.plan",
        "models/resnet50/labels.txt", "models/second/1/model.py", "models/second/2/model.py",
    ]  # fmt: skip


def test_links_that_lead_nowhere_are_said(project: Project, tmp_path: Path) -> None:
    root = put(model("a"), tmp_path / "theirs")
    (root / "a" / "1" / "weights.bin").symlink_to(tmp_path / "gone")
    adopted = adopt(root, project, Where("theirs"))
    assert said(adopted) == [
        ("TK805", "these are no files, or links that lead nowhere, and stay behind: `1/weights.bin`")
    ]


def test_files_that_may_be_executed_are_said(project: Project, tmp_path: Path) -> None:
    files = {
        "a/1/run.sh": b"#!/bin/sh\n",
        "e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "y")),
        "e/1/run": b"",
    }
    root = put({**model("a"), **files}, tmp_path / "theirs")
    for path in ("a/1/run.sh", "e/1/run"):  # an ensemble runs nothing itself
        (root / path).chmod(0o755)
    assert said(adopt(root, project, Where("theirs"))) == [
        ("TK805", "these files may be executed, and those that are rendered may not: `1/run.sh`"),
        ("TK805", "files of the ensemble stay behind, since it runs nothing itself: `1/run`"),
    ]


def test_a_member_has_the_key_that_an_ensemble_would_have(project: Project) -> None:
    models = of(WILD["keys-of-members"][0], project).drafts["e"].data["models"]
    assert {key: model.get("name") for key, model in models.items()} == {
        "ensemble_3": None, "a_b": "a.b", "a_b_2": "a_b", "ensemble": None, "ensemble_2": "ensemble", "model": "model",
    }  # fmt: skip


def test_labels_of_an_ensemble_come_along(project: Project, tmp_path: Path) -> None:
    text = ensemble("e", STEP.format("a", -1, "x", "y")).replace(
        b"output { ", b'output { label_filename: "names.txt" ', 1
    )
    files = {"e/config.pbtxt": text, "e/1/": b"", "e/names.txt": b"cat\ndog\n", **model("a")}
    adopted = imported(put(files, tmp_path / "theirs"), project, Where("theirs"))
    assert adopted.drafts["e"].form == "flow"
    assert rendered(project, "theirs")["e/names.txt"] == b"cat\ndog\n"
    assert adopted.drafts["e"].data["outputs"]["y"]["labels"] == "models/e/names.txt"


# Where it runs ---------------------------------------------------------------------------------------------


def target_names(adopted: Adopted, project: Project) -> dict[str, list[str]]:
    return {spec.value.name: targets_of(spec.value) for spec in open_workspace(project).specs}


def test_what_can_run_on_the_embedded_server_is_also_for_it(project: Project, tmp_path: Path) -> None:
    files = {
        **ONE_FLOW,
        **WILD["resnet50"][0],
        **WILD["shared"][0],
        # An ensemble of which only a part could be loaded there.
        "e/config.pbtxt": ensemble("e", STEP.format("new", -1, "x", "y"), STEP.format("old", -1, "x", "y")), "e/1/": b"",
        **model("old"),
        **model("new", rest="model_metrics { metric_control { metric_identifier { family: 'x' } } }"),
    }  # fmt: skip
    adopted = imported(put(files, tmp_path / "theirs"), project, Where("theirs"))
    assert target_names(adopted, project) == {
        "chain": ["embedded", "theirs"], "resnet50": ["theirs"], "e": ["theirs"], "one": ["embedded", "theirs"],
    }  # fmt: skip
    both = configs(rendered(project, "embedded")), configs(rendered(project, "theirs"))
    assert both[0] == {name: message for name, message in both[1].items() if name in both[0]}


def test_for_the_embedded_server_alone(project: Project, tmp_path: Path) -> None:
    adopted = comes_back(put(ONE_FLOW, tmp_path / "theirs"), project, Where("embedded"))
    assert "targets" not in adopted.texts["chain"]


def test_the_server_and_the_gpu_that_are_said(project: Project) -> None:
    text = of(WILD["resnet50"][0], project, Where("h200", "25.03", "h200")).texts["resnet50"]
    assert text.endswith('targets: {embedded: null, h200: {server: "25.03", gpu: h200}}\n')


def test_a_plan_without_instances_wants_a_gpu_too(project: Project) -> None:
    text = 'platform: "tensorrt_plan"\n'
    tensors = 'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }'
    files = {"net/config.pbtxt": (text + tensors).encode(), "net/1/model.plan": b"ftrt"}
    assert of(files, project).texts["net"].endswith("targets: {embedded: null, theirs: {gpu: any}}\n")


def test_a_field_that_the_server_does_not_know_is_refused_where_it_stands(project: Project) -> None:
    files = model("new", rest="model_metrics { metric_control { metric_identifier { family: 'x' } } }")
    [problem] = [p for p in refused(files, project, Where("theirs", "24.10")) if p.code == "TK309"]
    assert str(problem.place).endswith("theirs/new/config.pbtxt:3:1")
    assert "known since Triton 24.11; the target's server is 24.10" in problem.message


# Where the files stand -------------------------------------------------------------------------------------


def test_files_inside_the_project_stay_where_they_are(project: Project) -> None:
    put(ONE_FLOW, project.root / "serving" / "legacy")
    adopted = comes_back(project.root / "serving" / "legacy", project, Where("legacy"))
    assert adopted.copies == {}
    assert "files: serving/legacy/second" in adopted.texts["chain"]


def test_what_is_rendered_is_no_source_of_itself(project: Project) -> None:
    put(ONE_FLOW, project.root / "model_repository" / "legacy")
    adopted = comes_back(project.root / "model_repository" / "legacy", project, Where("legacy"))
    assert "models/second/2/model.py" in adopted.copies


def test_version_directories_behind_links_come_along(project: Project, tmp_path: Path) -> None:
    put({"1/model.py": b"pass", "2/": b""}, tmp_path / "elsewhere")
    root = put({"a/config.pbtxt": model("a")["a/config.pbtxt"]}, tmp_path / "theirs")
    (root / "a" / "1").symlink_to(tmp_path / "elsewhere" / "1")
    (root / "a" / "2").symlink_to(tmp_path / "elsewhere" / "2")
    (root / "a" / "back").symlink_to(root / "a")
    adopted = imported(root, project, Where("theirs"))
    assert sorted(adopted.copies) == ["models/a/1/model.py", "models/a/2/.gitkeep"]
    assert rendered(project, "theirs")["a/1/model.py"] == b"pass"


# What is refused -------------------------------------------------------------------------------------------


def test_all_that_cannot_be_parsed_is_told_at_once(project: Project) -> None:
    files = {"a/config.pbtxt": b"max_batch: 1\nname: 3", "b/config.pbtxt": b"input {", **model("good")}
    problems = refused(files, project)
    assert [(p.code, p.place.file.rpartition("theirs/")[2], p.place.line) for p in problems] == [
        ("TK511", "a/config.pbtxt", 1), ("TK514", "a/config.pbtxt", 2), ("TK510", "b/config.pbtxt", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "code", "place"),
    [
        ({"my model/config.pbtxt": b""}, "TK802", "theirs/my model"),
        ({"_internal/config.pbtxt": b""}, "TK802", "theirs/_internal"),
        ({".hidden/config.pbtxt": b"", ".git/1/": b""}, "TK802", "theirs/.hidden"),
        ({"a/config.pbtxt": b"", "a/1/my net.onnx": b"0"}, "TK804", "theirs/a/1/my net.onnx"),
        ({"a/config.pbtxt": b"", "a/1/-net.onnx": b"0"}, "TK804", "theirs/a/1/-net.onnx"),
        ({f"{'a' * 129}/config.pbtxt": b""}, "TK802", f"theirs/{'a' * 129}"),
    ],
)
def test_names_that_cannot_be_carried(files: Files, code: str, place: str, project: Project) -> None:
    [problem] = refused(files, project)
    assert problem.code == code
    assert problem.place.file.endswith(place)
    assert "the first of them a letter" in problem.hint or "a letter or digit in front" in problem.hint


def test_a_configuration_that_is_too_large_for_a_spec(project: Project) -> None:
    many = f"version_policy {{ specific {{ versions: [{', '.join(['1'] * 100_001)}] }} }}"
    [problem] = refused({"a/config.pbtxt": many.encode(), "a/1/": b""}, project)
    assert problem.code == "TK803"
    assert "model `a` would not come back as it is: the file holds more than 100,000 values" in problem.message


def of_size(parameter_bytes: int) -> bytes:
    return b'backend: "python" parameters { key: "k" value { string_value: "%s" } }' % (b"x" * parameter_bytes)


def test_a_spec_is_as_large_as_can_be_read_and_no_larger(project: Project, tmp_path: Path) -> None:
    around = len(of({"a/config.pbtxt": of_size(500), "a/1/": b""}, project).texts["a"]) - 500
    room = MAX_FILE_BYTES - around
    root = put({"a/config.pbtxt": of_size(room)}, tmp_path / "theirs")
    assert len(comes_back(root, project, Where("theirs")).texts["a"]) == MAX_FILE_BYTES
    for larger in (1, 500_000):  # the first only with the targets and the comment on top
        [problem] = refused({"a/config.pbtxt": of_size(room + larger)}, project)
        assert problem.code == "TK803"
        assert re.search(r"its spec would have 1,\d{3},\d{3} bytes; valid: at most 1,000,000", problem.message)


def test_a_configuration_may_be_larger_than_a_spec(project: Project, tmp_path: Path) -> None:
    text = b"# A long story.\n" * 70_000 + model("a")["a/config.pbtxt"]
    assert len(text) > MAX_FILE_BYTES
    assert comes_back(put({**model("a"), "a/config.pbtxt": text}, tmp_path / "theirs"), project, Where("theirs"))


def test_a_configuration_that_cannot_be_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    [problem] = refused(model("a"), project)
    assert (problem.code, problem.message) == ("TK102", "the file cannot be read: Permission denied")


# Where it cannot go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [Where("embedded", "25.01"), Where("embedded", gpu="h200")])
def test_the_embedded_server_is_what_it_is(where: Where, project: Project) -> None:
    with pytest.raises(UserError, match=r"the target is `embedded`, .* it has no `--server` and no `--gpu`"):
        of(ONE_FLOW, project, where)


@pytest.mark.parametrize("inside", ["", "a", "new/project"])
def test_a_project_in_the_repository(inside: str, tmp_path: Path) -> None:
    root = put(model("a"), tmp_path / "theirs")
    with pytest.raises(UserError, match="would be written into the repository itself"):
        adopt(root, Project(root / inside), Where("theirs"))


def test_what_is_no_repository(project: Project, tmp_path: Path) -> None:
    put(model("a"), tmp_path / "theirs")
    (tmp_path / "empty").mkdir()
    for folder, words in (
        (tmp_path / "gone", "there is no directory"),
        (tmp_path / "theirs" / "a", "is the directory of one model"),
        (tmp_path / "empty", "there is no model with a config.pbtxt in"),
    ):
        with pytest.raises(UserError, match=words):
            adopt(folder, project, Where("theirs"))
