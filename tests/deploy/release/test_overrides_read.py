"""Values of a person's own: read, merged, checked by name, and blamed at their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.release.overrides import path_of, read_overrides, schema
from generator.problems import ProblemsError, UserError


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(error: ProblemsError) -> list[tuple[str, str, str]]:
    return [(problem.code, str(problem.place), problem.field) for problem in error.problems]


def test_later_ones_win_and_set_wins_over_all(tmp_path: Path) -> None:
    one = written(tmp_path, "workload: {replicas: 2, maxSurge: 2}\ngpu: {count: 1}\n", "one.yaml")
    two = written(tmp_path, "workload: {replicas: 3}\n", "two.yaml")
    found = read_overrides([one, two], ["workload.replicas=4"])
    assert found.data == {"workload": {"replicas": 4, "maxSurge": 2}, "gpu": {"count": 1}}
    assert str(found.place(("workload", "maxSurge"))) == f"{one}:1:35"
    assert str(found.place(("workload", "replicas"))) == "--set workload.replicas"
    assert str(found.place(("image", "tag"))) == "the chart's values"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("gpu.count=2", {"gpu": {"count": 2}}),
        ("image.tag=26.07-py3", {"image": {"tag": "26.07-py3"}}),
        ('image.release="26.07"', {"image": {"release": "26.07"}}),
        ("image.release=26.10", {"image": {"release": "26.10"}}),  # a text to the chart: no number loses its nought
        ("image.tag=", {"image": {"tag": ""}}),
        ("service.http.annotations={a: b=c}", {"service": {"http": {"annotations": {"a": "b=c"}}}}),
        (r"workload.nodeSelector.nvidia\.com/gpu=yes", {"workload": {"nodeSelector": {"nvidia.com/gpu": "yes"}}}),
        ("commonLabels.version=1.10", {"commonLabels": {"version": "1.10"}}),  # of any name, texts alone
        ("workload.podAnnotations.built=2026-11-22", {"workload": {"podAnnotations": {"built": "2026-11-22"}}}),
        ("workload.affinity.a=2026-11-22", {"workload": {"affinity": {"a": "2026-11-22"}}}),  # JSON has no dates
        ("workload.extraEnv[0].name=A", {"workload": {"extraEnv": [{"name": "A"}]}}),
        ("drain.terminationGracePeriodSeconds=null", {"drain": {"terminationGracePeriodSeconds": None}}),
    ],
)
def test_assignments(text: str, data: dict[str, Any]) -> None:
    assert read_overrides([], [text]).data == data


def test_assignments_of_one_list() -> None:
    sets = ["workload.extraEnv[0].name=A", "workload.extraEnv[0].value=x", "workload.extraEnv[1].name=B"]
    assert read_overrides([], sets).data == {"workload": {"extraEnv": [{"name": "A", "value": "x"}, {"name": "B"}]}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=1",
        "gpu.count",
        "[0]=1",
        "gpu..count=1",
        "gpu.count[=1",
        "workload.extraEnv[3].name=A",
        "image.tag=\udcff",
        ".".join(["a"] * 2000) + "=1",
    ],
)
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(UserError, match="--set"):
        read_overrides([], [text])


def test_what_is_set_already_is_not_taken_for_something_else(tmp_path: Path) -> None:
    mine = written(tmp_path, "gpu: {count: 1}\nworkload: {extraEnv: [{name: A}]}\n")
    for text in ("gpu.count.x=1", "gpu[0]=1", "workload.extraEnv.a=1"):
        with pytest.raises(UserError, match="is set already, and is not a"):
            read_overrides([mine], [text])
    found = read_overrides([mine], ["workload.extraEnv[0].value=x"])
    assert found.data["workload"] == {"extraEnv": [{"name": "A", "value": "x"}]}
    assert found.trees[0].data["workload"] == {"extraEnv": [{"name": "A"}]}  # the file's own words stay


def test_every_unknown_name_is_told_at_once_with_the_closest(tmp_path: Path) -> None:
    mine = written(tmp_path, "workload:\n  replica: 3\nworklod: {}\npipelines: [{name: a, nam: b}]\n")
    with pytest.raises(ProblemsError) as caught:
        read_overrides([mine], ["gpu.counts=2"])
    assert told(caught.value) == [
        ("TK441", f"{mine}:2:3", "workload.replica"), ("TK441", f"{mine}:3:1", "worklod"),
        ("TK441", f"{mine}:4:23", "pipelines[0].nam"), ("TK441", "--set gpu.counts", "gpu.counts"),
    ]  # fmt: skip
    assert [problem.hint for problem in caught.value.problems] == [
        "did you mean `replicas`?", "did you mean `workload`?", "did you mean `name`?", "did you mean `count`?",
    ]  # fmt: skip


def test_maps_of_peoples_own_keys_are_not_judged(tmp_path: Path) -> None:
    mine = written(
        tmp_path, "commonLabels: {team: a}\nworkload: {podAnnotations: {x/y: z}, affinity: {nodeAffinity: {}}}\n"
    )
    assert read_overrides([mine], []).data["commonLabels"] == {"team": "a"}


def test_a_file_that_cannot_be_read_and_one_that_is_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as caught:
        read_overrides([tmp_path / "gone.yaml", written(tmp_path, "a: [1\n")], [])
    assert len({problem.place.file for problem in caught.value.problems}) == 2


def test_paths_in_words() -> None:
    assert path_of("workload.tolerations[0].key") == ("workload", "tolerations", 0, "key")
    assert path_of("") == ()


def test_the_schema_is_the_charts() -> None:
    assert schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("gpu.count=[1", "TK108"), ("workload.replicas=!!binary aGk=", "TK114"), ("workload.affinity=!!set {a}", "TK114"),
        ("workload.affinity=" + "[" * 3000, "TK116"), ("workload.replicas=0444", "TK117"),
        ("workload.replicas=" + "9" * 400, "TK117"), ("workload.affinity={a: 1, a: 2}", "TK111"),
        ("workload.replicas=*a", "TK113"),
    ],
)  # fmt: skip
def test_what_is_set_is_read_by_the_rules_of_files(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        read_overrides([], [text])
    [problem] = caught.value.problems
    name, _, value = text.partition("=")
    assert (problem.code, str(problem.place)) == (code, f"--set {name}")
    assert problem.hint
    *outer, last = name.split(".")
    file = written(tmp_path, "".join(f"{'  ' * n}{key}:\n" for n, key in enumerate(outer)) + f"  {last}: {value}\n")
    with pytest.raises(ProblemsError) as of_file:
        read_overrides([file], [])
    assert of_file.value.problems[0].code == code


@pytest.mark.parametrize("value", ["yes", "1:30", "1_000", "2026-11-22"])
def test_texts_are_texts_in_both(tmp_path: Path, value: str) -> None:
    of_file = read_overrides([written(tmp_path, f"workload: {{affinity: {{a: {value}}}}}\n")], []).data
    assert read_overrides([], [f"workload.affinity.a={value}"]).data == of_file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pipelines[0]=3", "takes a mapping here, and not `3`"), ("image=3", "takes a mapping here, and not `3`"),
        ("workload.extraEnv={a: 1}", "takes a list here, and not a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_mapping_or_list_is_told(text: str, words: str) -> None:
    with pytest.raises(ProblemsError, match=words) as caught:
        read_overrides([], [text])
    assert caught.value.problems[0].field == text.partition("=")[0]
