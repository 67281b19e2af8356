"""What lint reads in a model.py: nothing of it is run, and whatever it holds ends in an answer."""

from __future__ import annotations

import ast
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.lint.files import MemoryFolder
from generator.lint.model import Model, Repository
from generator.lint.python_source import Function, Source, certain_calls, parse, sources, takes, unbound
from generator.lint.server import EMBEDDED


def is_python(data: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(data, "model.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="abc=():\n\t \"'#\\0", max_size=60).map(str.encode)))
def test_what_python_does_not_take_is_a_mistake_with_a_place(data: bytes) -> None:
    found = parse(data)
    assert (found.mistake is None) is is_python(data)
    if found.mistake is not None:
        assert found.mistake.line >= 1
        assert found.mistake.column >= 0


@pytest.mark.parametrize("text", ["(" * 5000, "x = " + "-" * 100_000 + "1", "[" * 90 + "]" * 90])
def test_nesting_without_end_ends_in_an_answer(text: str) -> None:
    assert parse(text.encode()).model_class is None


def test_nothing_is_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    trace = tmp_path / "trace"
    parse(f"open({str(trace)!r}, 'w')\n".encode())
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("class TritonPythonModel: pass", True),
        ("class Other: pass", False),
        ("from other import TritonPythonModel", True),
        ("from other import Model as TritonPythonModel", True),
        ("from other import *", True),
        ("import other as TritonPythonModel", True),
        ("TritonPythonModel = object", True),
        ("TritonPythonModel: type = object", True),
        ("globals()['TritonPythonModel'] = object", True),
        ("try:\n    class TritonPythonModel: pass\nfinally: pass", True),
        ("class TritonPythonModels: pass", False),
        ("'TritonPythonModel'", False),
    ],
)
def test_the_class_is_found_however_it_comes(text: str, named: bool) -> None:
    assert parse(text.encode()).names_class is named


def test_the_last_definition_counts() -> None:
    text = "class TritonPythonModel:\n    def execute(self): pass\n    def execute(self, requests): pass\n"
    method = parse(text.encode()).method("execute")
    assert method is not None
    assert method.lineno == 3
    assert parse((text + "TritonPythonModel = other(TritonPythonModel)\n").encode()).model_class is None


@pytest.mark.parametrize(
    ("signature", "count", "able"),
    [
        ("self, args", 2, True), ("self", 2, False), ("self, args, more", 2, False), ("self, args, more=1", 2, True),
        ("*args", 2, True), ("self, *, args", 2, False), ("self, args, *, more=1", 2, True), ("self, args, /", 2, True),
        ("**rest", 2, False),
    ],
)  # fmt: skip
def test_whether_a_function_can_be_called(signature: str, count: int, able: bool) -> None:
    function = ast.parse(f"def f({signature}): pass").body[0]
    assert isinstance(function, Function)
    assert takes(function, count) is able
    code: dict[str, object] = {}
    exec(f"def f({signature}): pass", code)
    try:
        code["f"](*range(count))  # type: ignore[operator]
    except TypeError:
        assert not able
    else:
        assert able


def test_decorators_decide_what_a_method_gets() -> None:
    text = (
        "class A:\n    @staticmethod\n    def s(a): pass\n    @other\n    def o(a): pass\n    def m(self, a): pass\n"
    )
    static, other, plain = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    assert (unbound(static, 1), unbound(plain, 1)) == (1, 2)
    assert takes(other, 1) is None


def calls(*lines: str) -> list[tuple[str, list[object]]]:
    text = "def f(config):\n" + "".join(f"    {line}\n" for line in lines)
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return [(name, arguments) for _, name, arguments in certain_calls(function)]


def test_only_calls_that_happen_anyway_are_read() -> None:
    assert calls('"""What."""', "config.a(1)", "if x: config.b(2)", "return config", "config.c(3)") == [("a", [1])]
    assert calls("size = 4", "config.a(size)", "config.b(other)") == [("a", [4]), ("b", [None])]
    assert calls("size = 4", "if x: size = 5", "config.a(size)") == [("a", [None])]
    assert calls("given = {}", 'given["name"] = "x"', "config.a(given)") == [("a", [None])]
    assert calls("given = {}", "given.update(name=1)", "config.a(given)") == [("a", [None])]


def test_the_versions_that_are_served_are_read() -> None:
    files = {"config.pbtxt": b"version_policy { specific { versions: [ 1, 3 ] } }"}
    files |= {f"{number}/model.py": b"class" if number == 2 else b"" for number in (1, 2, 3)}
    model = Model(MemoryFolder(files, "m"), Repository(EMBEDDED))
    found = sources(model, model.completed)
    assert [(source.version, source.file) for source in found] == [(3, "m/3/model.py"), (1, "m/1/model.py")]
    assert all(source.parsed.mistake is None for source in found)


def test_a_file_that_is_too_large_is_not_judged() -> None:
    model = Model(MemoryFolder({"1/model.py": b"#" * (5 << 20)}, "m"), Repository(EMBEDDED))
    assert sources(model, model.completed) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_columns_are_characters(encoding: str) -> None:
    cookie = "latin-1" if encoding == "latin-1" else "utf-8"
    text = f"# coding: {cookie}\r\nimport os\r\nclass TritonPythonModel:\r\n    grüße = 'é'; size = [run()]\r\n"
    found = parse(text.encode(encoding))
    assert found.tree is not None
    call = next(node for node in ast.walk(found.tree) if isinstance(node, ast.Call))
    place = Source(found, "m/1/model.py", 1).place(call)
    line = text.splitlines()[place.line - 1]
    assert (place.line, line[place.column - 1 :]) == (4, "run()]")
    assert str(Source(found, "m/1/model.py", 1).place(None)) == "m/1/model.py"
