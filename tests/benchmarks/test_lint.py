"""The linter's benchmark: what it makes, what it computes, and one short run of each of its parts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from _repositories import BROKEN, make_repository

import lint as script
from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder
from generator.lint.server import EMBEDDED
from generator.problems import Severity


def judged(root: Path) -> Checked:
    return check([DiskFolder(root)], EMBEDDED)


def test_a_repository_has_its_ensembles_and_its_mistakes(tmp_path: Path) -> None:
    make_repository(tmp_path, 200, 1)
    checked = judged(tmp_path)
    assert len(checked.models) == 200
    assert sum(model.is_ensemble for model in checked.models.values()) == 20
    broken = {p.place.file for p in checked.problems if p.severity is Severity.ERROR}
    assert 0 < len(broken) <= 200 * BROKEN * 2.5
    assert checked.refused >= {Path(file).parent.name for file in broken}


def test_without_mistakes_there_is_nothing_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_repositories.BROKEN", 0)
    make_repository(tmp_path, 200, 1)
    assert not judged(tmp_path).problems


def test_no_two_models_are_alike_and_the_seed_decides(tmp_path: Path) -> None:
    texts = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        make_repository(tmp_path / name, 100, seed)
        files = sorted((tmp_path / name).rglob("*.*"))
        texts.append([file.read_bytes() for file in files if file.is_file()])
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) == len(texts[0])


def test_the_line_is_the_one_through_the_medians() -> None:
    told = {count: {"cpu_s": {"median": 0.25 + 0.002 * count}} for count in (30, 100, 1000)}
    line = script.fit(told, "cpu_s")
    assert line["ms_a_model"] == pytest.approx(2)
    assert line["start_s"] == pytest.approx(0.25)


def test_lint_and_the_server_agree_and_everything_is_drawn(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    make_repository(repository, 20, 5)
    assert judged(repository).refused, "a repository without a mistake would prove nothing"
    linted = script.summary({20: [script.lint(repository), script.lint(repository)], 40: [script.lint(repository)]})
    served = script.summary({20: [script.serve(repository)]})
    assert 0 < linted[20]["cpu_s"]["median"] < 60
    assert served[20]["wall_s"]["median"] > 0
    script.draw(linted, served, script.fit(linted, "cpu_s"), tmp_path / "lint.svg")
    ET.parse(tmp_path / "lint.svg")
    first, second = script.table(linted, served)
    assert (first[0], second[0], second[-1]) == ("20", "40", "")
    assert "" not in first


def test_a_difference_between_lint_and_the_server_ends_the_benchmark(tmp_path: Path) -> None:
    make_repository(tmp_path, 20, 5)
    accepted = judged(tmp_path).models.keys() - judged(tmp_path).refused
    script.compare(tmp_path, set(accepted))
    with pytest.raises(SystemExit, match="model_00000"):
        script.compare(tmp_path, set(accepted) ^ {"model_00000"})
