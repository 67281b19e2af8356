"""A choice in its spec: comments and every other byte stay, and the spec then says what was measured."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.problems import ProblemsError
from generator.project import Project
from loadtest.sweep.rendered import Renderer
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, MAX_BATCH, PREFERRED, Setting
from loadtest.sweep.written import as_yaml, edits_of, with_value, write_choice

CLONE = Path(__file__).parents[3]


def project_with(root: Path, name: str) -> Path:
    (root / "specs").mkdir(parents=True)
    for folder in ("models", "data", "steps"):
        (root / folder).symlink_to(CLONE / folder)
    return Path(shutil.copy(CLONE / "specs" / name, root / "specs" / name))


def written(root: Path, name: str, values: dict[str, Any], member: str | None = None) -> tuple[str, str]:
    """The lines that went, and those that came."""
    file = project_with(root, name)
    before = file.read_text()
    render = Renderer(Project(root), file, "embedded", member, tuple(values))
    setting = Setting.of(values)
    wanted = render.of(setting).configs
    assert write_choice(file, render.spec, render.member, setting, "embedded")
    again = Renderer(Project(root), file, "embedded", member, tuple(values))
    assert again.of(Setting(())).configs == wanted, "the spec renders what was measured"
    assert not write_choice(file, again.spec, again.member, setting, "embedded"), "a second time changes nothing"
    lines = list(difflib.unified_diff(before.splitlines(), file.read_text().splitlines(), n=0, lineterm=""))[2:]
    gone, came = ("\n".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
    return gone, came


def test_a_delay_is_its_targets(tmp_path: Path) -> None:
    gone, came = written(tmp_path, "digits.yaml", {DELAY: 950})
    assert gone == "    batching: {queue: null}"
    assert came == "    batching: {queue: null, max_queue_delay_us: 950}"


def test_everything_at_once(tmp_path: Path) -> None:
    values = {DELAY: 950, INSTANCES: 3, PREFERRED: [4, 16], MAX_BATCH: 16, LAYOUT: "fused"}
    _, came = written(tmp_path, "digits.yaml", values)
    assert "instances: [{kind: cpu, count: 3}]" in came
    assert "preferred: [4, 16]" in came
    assert "layout: fused" in came


def test_a_model_of_its_own_batching_says_it_there(tmp_path: Path) -> None:
    _, came = written(tmp_path, "canvas.yaml", {DELAY: 950}, "classifier")
    assert "max_queue_delay_us: 950}   # its own, on every target" in came


def test_a_model_without_says_all_of_it(tmp_path: Path) -> None:
    gone, came = written(tmp_path, "canvas.yaml", {DELAY: 950, PREFERRED: [8]}, "detector")
    assert gone == ""
    assert came == "    batching: {max_batch_size: 16, max_queue_delay_us: 950, preferred: [8]}"


def test_the_yaml_to_write_by_hand(tmp_path: Path) -> None:
    file = project_with(tmp_path, "digits.yaml")
    render = Renderer(Project(tmp_path), file, "embedded", None, (DELAY, PREFERRED))
    text = as_yaml(edits_of(render.spec, render.member, Setting.of({DELAY: 950, PREFERRED: []}), "embedded"))
    assert yaml.safe_load(text) == {
        "targets": {"embedded": {"batching": {"max_queue_delay_us": 950, "preferred": []}}}
    }


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("a: 1\n", ("b",), 2, "a: 1\nb: 2\n"),
        ("a: 1", ("b",), 2, "a: 1\nb: 2"),
        ("a: 1   # one\nc: 3\n", ("a",), 2, "a: 2   # one\nc: 3\n"),
        (
            "t:\n  e:\n    q: null   # why\n\n# end\nz: 1\n",
            ("t", "e", "d"),
            5,
            "t:\n  e:\n    q: null   # why\n    d: 5\n\n# end\nz: 1\n",
        ),
        ("t: {}\n", ("t", "e", "d"), 5, "t: {e: {d: 5}}\n"),
        ("t:   # nothing\n", ("t", "d"), 5, "t: {d: 5}   # nothing\n"),
        ("t: null\n", ("t", "d"), 5, "t: {d: 5}\n"),
        ("t:\n  - 1\n  - 2  # two\nz: 1\n", ("t",), [3], "t:\n  [3]  # two\nz: 1\n"),
        ("a: 1\r\nb: {c: 2}\r\n", ("b", "d"), 3, "a: 1\r\nb: {c: 2, d: 3}\r\n"),
        ("a: 1\r\n", ("d",), 3, "a: 1\r\nd: 3\r\n"),
    ],
)
def test_one_value_in_a_text(before: str, path: tuple[str, ...], value: Any, after: str) -> None:
    assert with_value(before, path, value) == after
    found = yaml.safe_load(after)
    for name in path:
        found = found[name]
    assert found == value


def test_a_spec_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = project_with(tmp_path, "digits.yaml")
    render = Renderer(Project(tmp_path), file, "embedded", None, (DELAY,))
    file.write_text(file.read_text().replace("p99_ms: 20", "p99_ms: 30"))
    before = file.read_text()
    with pytest.raises(ProblemsError) as raised:
        write_choice(file, render.spec, render.member, Setting.of({DELAY: 950}), "embedded")
    assert [problem.code for problem in raised.value.problems] == ["TK889"]
    assert file.read_text() == before


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    file = project_with(tmp_path, "digits.yaml")
    render = Renderer(Project(tmp_path), file, "embedded", None, (DELAY,))
    file.unlink()
    with pytest.raises(ProblemsError, match="the choice was not written") as raised:
        write_choice(file, render.spec, render.member, Setting.of({DELAY: 950}), "embedded")
    [problem] = raised.value.problems
    assert "`targets.embedded.batching.max_queue_delay_us: 950`" in problem.hint
