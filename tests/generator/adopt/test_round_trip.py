"""Whatever can be parsed comes back as an equal ModelConfig: the clone's own repositories, the corpus, and made up ones."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from corpus_cases import Case, cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pbtxt_texts import Maker
from repositories import put, repositories
from round_trips import comes_back
from wild import WILD

from generator.adopt.adopt import Where, adopt
from generator.pbtxt.reader import read
from generator.problems import ProblemsError, UserError, errors
from generator.project import Project

CLONE = Path(__file__).parents[3]
NAMES = {"TK802", "TK804"}  # what a directory or a file cannot be called here
# The cases of the corpus that have such a name, which are mostly those about such names.
UNNAMEABLE = {
    "TK600/good-hidden-model", "TK604/only-bad-negative-beside", "TK606/bad", "TK606/bad-braces", "TK606/bad-dollar", "TK606/bad-hash",
    "TK606/bad-quote", "TK606/bad-umlaut", "TK606/good-ensemble", "TK606/good-signs", "TK607/bad", "TK607/bad-before",
    "TK607/bad-late-server", "TK617/bad", "TK617/bad-any-backend", "TK617/good-files",
}  # fmt: skip


@pytest.mark.parametrize(
    "where", [Where("embedded"), Where("production", "26.07", "h200")], ids=lambda where: where.target
)
def test_the_committed_repositories(where: Where, project: Project) -> None:
    adopted = comes_back(CLONE / "model_repository" / where.target, project, where)
    forms = {name: draft.form for name, draft in adopted.drafts.items()}
    assert forms == {
        "canvas": "flow",
        "detector": "flow",
        "digits": "flow",
        "photos": "model" if where.target == "embedded" else "flow",
    }
    assert adopted.notes == ()


@pytest.mark.parametrize("name", WILD)
def test_configurations_as_people_write_them(name: str, project: Project, tmp_path: Path) -> None:
    files, forms = WILD[name]
    adopted = comes_back(put(files, tmp_path / "theirs"), project, Where("theirs"))
    assert {pipeline: draft.form for pipeline, draft in adopted.drafts.items()} == forms


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_corpus(case: Case, tmp_path: Path) -> None:
    for number, root in enumerate(case.write(tmp_path / "theirs")):
        found = [file for file in root.glob("*/config.pbtxt") if file.is_file()]
        models = {file.parent.name: read(file.read_bytes(), str(file)).message for file in found}
        project = Project(tmp_path / f"project{number}")
        project.specs.mkdir(parents=True)
        if None in models.values():
            with pytest.raises(ProblemsError, match=r"TK5\d\d "):
                adopt(root, project, Where("theirs"))
        elif not models:
            with pytest.raises(UserError, match=r"there is no model with a config\.pbtxt in"):
                adopt(root, project, Where("theirs"))
        elif case.name in UNNAMEABLE:
            with pytest.raises(ProblemsError) as caught:
                adopt(root, project, Where("theirs"))
            assert {problem.code for problem in errors(caught.value.problems)} <= NAMES
        else:
            comes_back(root, project, Where("theirs"))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(repositories())
def test_repositories_made_up(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project")
        project.specs.mkdir(parents=True)
        comes_back(put(files, Path(folder) / "theirs"), project, Where("theirs"))


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_any_message_that_can_be_parsed(source: random.Random) -> None:
    """Texts from the grammar, most of which no server would take: verified in memory, as every import is."""
    text = Maker(source, odd=0.1, wrong=0).text().encode("utf-8", "surrogateescape")
    if read(text, "config.pbtxt").message is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        put({"m/config.pbtxt": text, "m/1/": b""}, Path(folder) / "theirs")
        adopted = adopt(Path(folder) / "theirs", Project(Path(folder)), Where("theirs"))
    assert list(adopted.drafts) == ["m"]


def test_the_corpus_has_the_cases_that_are_not_carried() -> None:
    assert {case.name for case in cases()} >= UNNAMEABLE


def test_what_is_made_up_is_not_all_of_one_kind() -> None:
    """The strategy reaches flows, models in the spec's words, and models in Triton's."""
    found: Counter[str] = Counter()

    @settings(max_examples=250, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(repositories())
    def count(files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            repository = put(files, Path(folder) / "theirs")
            found.update(
                draft.form for draft in adopt(repository, Project(Path(folder)), Where("theirs")).drafts.values()
            )

    count()
    assert min(found[form] for form in ("flow", "models", "model", "config")) >= 12, found
