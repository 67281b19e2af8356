"""A small differential run with a seed that stays: lint and the live server agree on every mutant of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_cases import IDENTITY, parse
from oracle_causes import CAUSES, agrees, classify
from oracle_generic import rules_of
from oracle_judge import Judged
from oracle_kept import kept_away
from oracle_kind import PLAIN
from oracle_live import Live
from oracle_mutant import again, make
from oracle_mutations import MUTATIONS
from oracle_page import PAGE, RESULT, page
from oracle_regression import can_be_kept, case, keep, plain
from oracle_run import run

from generator.lint import rules  # noqa: F401  (registers them)
from generator.lint.rule import RULES
from generator.pbtxt import codes

SEED, MUTANTS = "ci", 120


@pytest.mark.server
def test_lint_and_the_server_agree() -> None:
    differing: list[str] = []

    def told(live: Live, judged: Judged) -> None:
        for opinion in judged.disagreements:
            done = ", ".join(change.what for change in judged.mutant.changes)
            said = opinion.reason or "accepts it"
            differing.append(
                f"{judged.mutant.key} ({done}): {opinion.disagreement} {sorted(opinion.codes)}; server: {said}"
            )

    totals = run([SEED], MUTANTS, servers=3, on_judged=told, quiet=True)
    assert not differing, "\n".join(differing)
    assert totals.asked + sum(totals.kept.values()) == MUTANTS, f"these ended the server: {totals.ended}"
    assert 0.3 < totals.share < 0.7
    assert totals.verdicts["server refuses, lint refuses"] > MUTANTS // 4


def test_a_mutant_is_made_again_from_its_seed() -> None:
    for number in range(30):
        first, second = make("same", number), make("same", number)
        third = again(first, first.chosen)
        assert first.repository.files() == second.repository.files() == third.repository.files()
        assert [change.what for change in first.changes] == [change.what for change in third.changes]


def test_no_mutations_leave_what_the_generator_made() -> None:
    for number in range(30):
        plain = again(make("same", number), [])
        assert not plain.changes
        assert kept_away(plain.repository) == ""


def test_the_table_of_causes_names_codes_that_there_are() -> None:
    known = {*RULES, *(value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str))}
    for cause in CAUSES:
        assert cause.codes, cause.name
        assert cause.codes <= known, cause.name


def test_an_unknown_message_is_never_agreed() -> None:
    assert classify("the moon is full") is None
    assert not agrees("the moon is full", set(RULES))
    assert agrees("'max_batch_size' must be non-negative value for x", {"TK616"})
    assert not agrees("'max_batch_size' must be non-negative value for x", {"TK620"})


def test_all_mutations_are_used_and_fields_know_their_rules() -> None:
    used = {chosen.name for number in range(1500) for chosen in make("used", number).chosen}
    assert used == set(MUTATIONS)
    assert rules_of("input.dims", in_ensemble=True) == (8, 27, 28, 29)
    assert rules_of("sequence_batching.state.initial_state.dims", in_ensemble=False) == (17,)


def test_a_mutant_can_be_kept_as_a_case_of_the_corpus(tmp_path: Path) -> None:
    for number in range(200):
        mutant = make("kept", number)
        if not can_be_kept(mutant):
            continue
        verdicts = {model.folder: "" for model in mutant.repository.models.values()}
        again = parse(keep(case(mutant, [], verdicts, PLAIN), mutant, tmp_path))
        assert sorted(again.accepts) == sorted(plain(name) for name in verdicts)
        for letter, second in (("A" if mutant.repository.has_second else "", False), ("B", True)):
            files = mutant.repository.files(second=second)
            expected = {plain(name): plain(data.decode("latin-1")).encode("latin-1") for name, data in files.items()}
            found = again.repositories.get(letter, {})
            assert set(found) == set(expected)
            assert {n: d for n, d in found.items() if d != IDENTITY.encode()}.items() <= expected.items()


def test_the_committed_page_is_what_was_counted() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RESULT.read_text(encoding="utf-8")))
