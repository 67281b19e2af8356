"""The example pipeline's texts, whole, for both targets.

After a wanted change: `TRITONKIT_UPDATE_GOLDEN=1 .venv/bin/pytest tests/generator/config/test_golden.py`, then read
the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from generator.config import model_configs
from protobuf_text import parse

GOLDEN = Path(__file__).parent / "golden"
MODELS = ("digits_preprocess", "digits_engine", "digits_postprocess", "digits")


@pytest.fixture(params=["EMBEDDED", "PRODUCTION"])
def plan(request, make):
    return make.digits(getattr(make, request.param))


@pytest.mark.parametrize("name", MODELS)
def test_text_is_the_golden_one(plan, name):
    file = GOLDEN / plan.target.name / f"{name}.pbtxt"
    _, text = model_configs(plan)[name]
    if os.environ.get("TRITONKIT_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_golden_holds_no_other_files():
    found = {str(file.relative_to(GOLDEN)) for file in GOLDEN.rglob("*.pbtxt")}
    assert found == {f"{target}/{name}.pbtxt" for target in ("embedded", "production") for name in MODELS}


def test_texts_say_what_the_messages_say(plan):
    configs = model_configs(plan)
    assert list(configs) == list(MODELS)
    for name, (message, text) in configs.items():
        assert message.name == name
        assert parse(text) == message


def test_rendering_twice_gives_the_same_bytes(make, plan):
    again = make.digits(plan.target)
    assert {n: t for n, (_, t) in model_configs(plan).items()} == {n: t for n, (_, t) in model_configs(again).items()}
