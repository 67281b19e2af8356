"""A model that is taken for plain is one in which a look at the syntax tree finds nothing either."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from corpus_cases import cases

from generator.lint.check import check
from generator.lint.plain_python import is_plain
from generator.lint.python_source import parse

PLAIN = b'''"""Gives back what it gets."""
import numpy as np


class TritonPythonModel:
    """Called by the server."""

    SIZE = 4

    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        return request
'''


def plain(data: bytes) -> bool:
    return is_plain(data, compile(data, "model.py", "exec", dont_inherit=True))


def test_the_usual_model_is_plain() -> None:
    assert plain(PLAIN)
    assert plain(PLAIN.replace(b"Model:", b"Model(object):"))
    assert parse(PLAIN).is_plain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Model:", b"Model(Base):"),
        (b"Model:", b"Model(metaclass=type):"),
        (b"class Triton", b"@wrap\nclass Triton"),
        (b"class Triton", b"class Other"),
        (b"class TritonPythonModel", b"def TritonPythonModel():\n  class Inner"),
        (b"import numpy as np", b"import numpy as np\nTritonPythonModel = 1"),
        (b"    def execute", b"    @wrap\n    def execute"),
        (b"execute", b"excute"),
        (b"execute(self, requests)", b"execute(self)"),
        (b"execute(self, requests)", b"execute(self, requests, more)"),
        (b"execute(self, requests)", b"execute(self, *requests)"),
        (b"execute(self, requests)", b"execute(self, requests, **more)"),
        (b"execute(self, requests)", b"execute(self, requests, *, more)"),
        (b"    def execute", b"    async def execute"),
        (b"return [self", b"yield [self"),
        (b"initialize(self, args)", b"initialize(self)"),
        (b"    def answer", b"    execute = None\n\n    def answer"),
        (b"    def answer", b"    def execute(self, requests):\n        return []\n\n    def answer"),
        (b"    def answer", b"    del execute\n\n    def answer"),
        (b"    def answer", b"    def __init__(self, more):\n        pass\n\n    def answer"),
        (b"    def answer", b"    def auto_complete_config(config):\n        return config\n\n    def answer"),
        (b"self.args = args", b'setattr(self, "execute", args)'),
    ],
)
def test_what_is_unusual_is_not_plain(old: bytes, new: bytes) -> None:
    changed = PLAIN.replace(old, new, 1)
    assert changed != PLAIN
    assert not plain(changed)


def _files() -> Iterator[bytes]:
    for case in cases():
        for files in case.repositories.values():
            yield from (data for name, data in files.items() if name.endswith(".py") and data is not None)


@pytest.fixture
def fresh_parse() -> Iterator[None]:
    """Nothing that is read before counts in a test, and nothing that it reads counts behind it."""
    parse.cache_clear()
    yield
    parse.cache_clear()


@pytest.mark.usefixtures("fresh_parse")
def test_of_the_plain_models_of_the_corpus_the_tree_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [[(p.code, str(p.place)) for p in check(case.folders(), case.server).problems] for case in cases()]
    parse.cache_clear()
    monkeypatch.setattr("generator.lint.python_source.is_plain", lambda _data, _code: False)
    assert found == [
        [(p.code, str(p.place)) for p in check(case.folders(), case.server).problems] for case in cases()
    ]


def test_the_corpus_has_models_of_both_kinds() -> None:
    kinds = set()
    for data in _files():
        try:
            ast.parse(data)
        except (SyntaxError, ValueError):
            continue
        kinds.add(parse(data).is_plain)
    assert kinds == {True, False}
