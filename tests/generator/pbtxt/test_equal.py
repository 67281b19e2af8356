"""What protobuf accepts, the reader accepts, with an equal message; what protobuf refuses, it refuses."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pbtxt_texts import Maker, mutated, read_apart_by_python

from generator.config.messages import ModelConfig
from generator.pbtxt.reader import read
from generator.problems import errors

CLONE = Path(__file__).parents[3]
CONFIGS = sorted([*CLONE.glob("model_repository/*/*/config.pbtxt"), *CLONE.glob("tests/generator/**/config.pbtxt")])
pytestmark = pytest.mark.timeout(60)  # a reader that does not come forward
RANDOMS = st.randoms(use_true_random=False)


def by_python(text: str) -> bytes | None:
    """The message's bytes as Python's text_format reads it (NaN is never equal to itself); None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes that Python does not know either
        try:
            return text_format.Parse(text, ModelConfig()).SerializeToString(deterministic=True)
        except (text_format.ParseError, ValueError):  # ValueError: of an enum that is too large
            return None


def by_reader(text: str) -> bytes | None:
    found = read(text, "config.pbtxt")
    assert (found.message is None) == bool(errors(found.problems))
    return None if found.message is None else found.message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.relative_to(CLONE).parent.as_posix())
def test_rendered_configurations(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert by_reader(text) == by_python(text) is not None
    assert read(text, str(file)).problems == []


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(RANDOMS)
def test_texts_without_a_mistake(source: random.Random) -> None:
    text = Maker(source, odd=0, wrong=0).text()
    assert by_reader(text) == by_python(text) is not None


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(RANDOMS)
def test_texts_with_mistakes(source: random.Random) -> None:
    text = Maker(source, odd=0, wrong=0.1).text()
    if source.random() < 0.6:
        text = mutated(text, source)
    if by_reader(text) != by_python(text):
        assert read_apart_by_python(text), text


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(RANDOMS)
def test_odd_spellings(source: random.Random) -> None:
    text = Maker(source, odd=0.1, wrong=0).text()
    if by_reader(text) != by_python(text):
        assert read_apart_by_python(text), text


@settings(max_examples=300)
@given(st.text(st.sampled_from("ndims:1[]{}<>,;'\"# \n\\x-."), max_size=30))
@example("name:'")
@example("dims")
def test_any_signs(text: str) -> None:
    if by_reader(text) != by_python(text):
        assert read_apart_by_python(text), text


def test_the_makers_texts_are_right_and_wrong() -> None:
    """The properties above would hold of nothing if all texts were refused, or empty."""
    sources = [random.Random(seed) for seed in range(300)]
    made = [Maker(source, odd=0, wrong=0.1).text() for source in sources]
    accepted = sum(by_reader(text) is not None for text in made)
    assert 0.35 < accepted / len(made) < 0.9
    changed = [mutated(text, source) for text, source in zip(made, sources, strict=True)]
    assert 0.1 < sum(by_reader(text) is not None for text in changed) / len(changed) < 0.65
    assert sum(len(text) > 100 for text in made) > 100
