"""Settings rendered: what a load call can change, what needs other files, and what a spec refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.problems import ProblemsError
from generator.project import Project
from loadtest.sweep.rendered import Renderer, as_json, differing
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, MAX_BATCH, PREFERRED, Setting

CLONE = Path(__file__).parents[3]
AS_IT_IS = Setting(())


def renderer(spec: str, member: str | None = None, axes: tuple[str, ...] = (DELAY,)) -> Renderer:
    return Renderer(Project(CLONE), CLONE / "specs" / spec, "embedded", member, axes)


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({}, []),
        ({DELAY: 500}, []),
        ({DELAY: 1234}, ["digits_engine"]),
        ({PREFERRED: [4]}, ["digits_engine"]),
        ({PREFERRED: []}, ["digits_engine"]),
        # In the short form the instances are of what prepares, too.
        ({INSTANCES: 4}, ["digits_preprocess", "digits_engine"]),
    ],
)
def test_a_load_call_is_enough(values: dict[str, object], changed: list[str]) -> None:
    render = renderer("digits.yaml")
    own, found = render.of(AS_IT_IS), render.of(Setting.of(values))
    assert found.base == own.base
    assert differing(own.configs, found.configs) == changed
    assert "digits" not in changed, "an ensemble has no batcher to override"


@pytest.mark.parametrize("values", [{MAX_BATCH: 64}, {LAYOUT: "fused"}, {LAYOUT: "folded"}])
def test_other_files_need_another_start(values: dict[str, object]) -> None:
    render = renderer("digits.yaml")
    assert render.of(Setting.of(values)).base != render.of(AS_IT_IS).base


def test_the_configuration_of_a_load_call_is_whole() -> None:
    config = renderer("digits.yaml").of(Setting.of({DELAY: 1234})).configs["digits_engine"]
    text = as_json(config)
    assert '"backend": "python"' in text
    assert '"max_queue_delay_microseconds": "1234"' in text


def test_the_members_of_layouts() -> None:
    render = renderer("digits.yaml")
    assert render.member.name == "digits_engine"
    assert render.of(Setting.of({LAYOUT: "fused"})).member.name == "digits"
    assert render.of(Setting.of({LAYOUT: "folded"})).member.name == "digits_engine"


def test_several_batchers_are_not_guessed_between() -> None:
    with pytest.raises(ProblemsError) as raised:
        renderer("canvas.yaml")
    [problem] = raised.value.problems
    assert problem.code == "TK884"
    assert "`detector`, `classifier`" in problem.message
    assert problem.hint == "choose one: --member detector"


@pytest.mark.parametrize("member", ["detector", "canvas_detector"])
def test_a_chosen_member_changes_alone(member: str) -> None:
    render = renderer("canvas.yaml", member)
    own, found = render.of(AS_IT_IS), render.of(Setting.of({DELAY: 700}))
    assert differing(own.configs, found.configs) == ["canvas_detector"]
    assert found.configs["canvas_detector"].dynamic_batching.max_queue_delay_microseconds == 700
    assert found.configs["canvas_detector"].max_batch_size == own.configs["canvas_detector"].max_batch_size


def test_an_ensemble_is_no_member() -> None:
    with pytest.raises(ProblemsError) as raised:
        renderer("digits.yaml", "digits")
    [problem] = raised.value.problems
    assert problem.code == "TK884"
    assert "an ensemble has no batcher of its own" in problem.hint


def spec_with(root: Path, batching: str) -> Path:
    """The digits with another batching, in a project of their own."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    text = (CLONE / "specs" / "digits.yaml").read_text()
    lines = [f"batching: {batching}" if line.startswith("batching:") else line for line in text.splitlines()]
    file = root / "specs" / "digits.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("batching", ["{max_batch_size: 32, dynamic: false}"])
def test_without_a_batcher_there_is_no_delay_to_sweep(tmp_path: Path, batching: str) -> None:
    file = spec_with(tmp_path, batching)
    with pytest.raises(ProblemsError) as raised:
        Renderer(Project(tmp_path), file, "embedded", None, (DELAY,))
    [problem] = raised.value.problems
    assert problem.code == "TK883"
    assert "has no dynamic batching (`dynamic` is false)" in problem.message
    assert Renderer(Project(tmp_path), file, "embedded", None, (INSTANCES,)).member.key == "engine"


def test_what_the_spec_does_not_take_is_told_for_every_value() -> None:
    render = renderer("digits.yaml", axes=(PREFERRED,))
    settings = [Setting.of({PREFERRED: sizes}) for sizes in ([8], [64], [16, 48])]
    with pytest.raises(ProblemsError) as raised:
        render.check(settings)
    assert {problem.code for problem in raised.value.problems} == {"TK882"}
    said = " ".join(problem.message for problem in raised.value.problems)
    assert "preferred 64 cannot be" in said
    assert "preferred 16/48 cannot be" in said
    assert "larger than max_batch_size 32" in said
