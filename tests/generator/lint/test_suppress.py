"""`# tritonkit: ignore[CODE] because REASON`, in a config.pbtxt and in a spec."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.codes import CODES
from generator.lint.check import Checked, check
from generator.lint.files import MemoryFolder
from generator.lint.run import lint
from generator.lint.server import EMBEDDED
from generator.lint.suppress import CODES as OWN
from generator.lint.suppress import of_config, of_yaml
from generator.pbtxt.reader import read
from generator.problems import Severity
from generator_projects import SHORT, make_project

TENSORS = """\
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
UNLESS = "unless another server needs it (`--server`)"
IGNORE = "# tritonkit: ignore[{}] because {}"


def checked(text: str, *, version: bool = True) -> Checked:
    files = {"m/config.pbtxt": text.encode()}
    if version:
        files["m/1/model.py"] = b"class TritonPythonModel:\n    def execute(self, requests): ...\n"
    return check([MemoryFolder(files, "")], EMBEDDED)


def codes(text: str, *, version: bool = True) -> list[tuple[str, int]]:
    return [(p.code, p.place.line) for p in checked(text, version=version).problems]


WRONG = 'backend: "python"\nname: "n"\n' + TENSORS


def test_without_a_comment_it_is_told() -> None:
    assert codes(WRONG) == [("TK502", 2)]


@pytest.mark.parametrize(
    "text",
    [
        WRONG.replace('"n"', '"n"  # tritonkit: ignore[TK502] because the name comes later'),
        WRONG.replace("name:", "# tritonkit: ignore[TK502] because it is so\nname:", 1),
        WRONG.replace("name:", "#  tritonkit:ignore [ TK502 ]  because: it is so\n# and so on\n\nname:", 1),
        "# A model.\n# tritonkit: ignore[TK502] because it is so\n" + WRONG,
        WRONG.replace("name:", "# tritonkit: ignore[tk502] because it is so\r\nname:", 1),
        WRONG.replace("name:", "# Tritonkit: Ignore[TK502] Because it is so\nname:", 1),
        WRONG.replace("name:", "# TRITONKIT : IGNORE[TK502] BECAUSE IT IS SO\nname:", 1),
        WRONG.replace("name:", "# as ever # tritonkit: ignore[TK502] because it is so\nname:", 1),
    ],
)
def test_it_is_not_told(text: str) -> None:
    found = checked(text)
    assert found.problems == []
    assert found.refused == {"m"}, "the server refuses it all the same"


@pytest.mark.parametrize(
    "text",
    [
        "backend: 'python' # tritonkit: ignore[TK502] because it is so\nname: 'n'\n" + TENSORS,
        WRONG + "# tritonkit: ignore[TK502] because it is so\n",
        WRONG.replace("input", "# tritonkit: ignore[TK502] because it is so\ninput"),
    ],
)
def test_another_line_is_told_and_the_comment_is_not_needed(text: str) -> None:
    assert [code for code, _ in codes(text)] == ["TK502", "TK537"]


def test_a_file_as_a_whole_is_ignored_at_its_head_alone() -> None:
    text = 'name: "m"\nbackend: "python"\n' + TENSORS
    assert ("TK503", 0) in codes(text, version=False)
    assert codes(IGNORE.format("TK503", "it comes later") + "\n" + text, version=False) == []
    found = codes(text + IGNORE.format("TK503", "it comes later") + "\n", version=False)
    assert found == [("TK503", 0), ("TK537", 5)]


def test_several_codes() -> None:
    head = IGNORE.format("TK502, TK503", "both come later") + "\n"
    assert codes(head + WRONG, version=False) == []
    [problem] = checked(head + WRONG).problems
    assert (problem.code, problem.place.line) == ("TK537", 1), "each has to be needed"
    assert problem.message == "there is no TK503 here to ignore"
    assert problem.hint == f"take TK503 out of the brackets, {UNLESS}; TK502 is needed"


def test_what_to_do_about_a_code_that_is_not_needed() -> None:
    fine = WRONG.replace('"n"', '"m"')
    for several in ("TK502", "TK502, TK503"):
        hints = {problem.hint for problem in checked(IGNORE.format(several, "x y") + "\n" + fine).problems}
        assert hints == {f"remove the comment, {UNLESS}"}
    text = IGNORE.format("TK502,TK605,TK503,TK511", "x y") + "\n" + WRONG
    found = checked(text, version=False).problems
    assert {problem.hint for problem in found} == {
        f"take TK605 out of the brackets, {UNLESS}; TK502 and TK503 are needed",
        f"take TK511 out of the brackets, {UNLESS}; TK502 and TK503 are needed",
    }


@pytest.mark.parametrize("comment", ["# for tritonkit: see the page", "# Rendered by tritonkit from specs/m.yaml",
                                     "# tritonkit lint says so", "# tritonkit ignores it"])  # fmt: skip
def test_what_only_speaks_of_tritonkit_is_not_for_it(comment: str) -> None:
    assert codes(f"{comment}\n{WRONG}") == [("TK502", 3)]
    assert of_yaml(f"{comment}\nname: x\n", "s.yaml") == ([], [])


@pytest.mark.parametrize("comment", ["ignore[TK502]", "ignore[TK502] because", "ignore[TK502] because  ", "ignore[TK502] since",
                                     "ignore[TK502] because ..."])  # fmt: skip
def test_a_reason_is_needed(comment: str) -> None:
    [problem] = checked(WRONG.replace('"n"', f'"n" # tritonkit: {comment}')).problems
    assert (problem.code, problem.severity, problem.place.line) == ("TK535", Severity.ERROR, 2)


def test_a_code_that_there_is_not() -> None:
    [other, problem] = checked(WRONG.replace('"n"', '"n" # tritonkit: ignore[TK592] because it is so')).problems
    assert (other.code, problem.code, problem.severity) == ("TK502", "TK536", Severity.ERROR)
    assert problem.message == "there is no code `TK592`"
    assert problem.hint.startswith("did you mean `TK")


@pytest.mark.parametrize(
    "comment", ["ignore", "ignore TK502 because it is so", "ignore[] because it is so", "ignroe[TK502] because x", ""]
)
def test_what_cannot_be_understood(comment: str) -> None:
    found = checked(WRONG.replace('"n"', f'"n" # tritonkit: {comment}'))
    assert [(p.code, p.severity) for p in found.problems] == [("TK502", Severity.ERROR), ("TK538", Severity.ERROR)]
    assert found.refused == {"m"}
    fine = checked(WRONG.replace('"n"', f'"m" # tritonkit: {comment}'))
    assert fine.refused == set(), "a comment is nothing to the server"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "#" * 500_000,
        "# " * 250_000,
        "#" + " " * 500_000,
        "# tritonkit" + " " * 500_000,
        "# tritonkit: ignore" + " " * 500_000,
        "# tritonkit: ignore[" + " " * 500_000,
        "# tritonkit: ignore[TK502] because" + " :" * 250_000,
    ],
)
def test_long_comments_take_linear_time(text: str) -> None:
    assert {code for code, _ in codes(f"{text}\n{WRONG}")} & {"TK502", "TK535"}
    of_yaml(f"a: 1 {text}", "s.yaml")


def test_a_colon_that_is_missing_is_told() -> None:
    text = "# tritonkit ignore[TK502] because it is so\n"
    assert codes(text + WRONG) == [("TK502", 3), ("TK538", 1)]
    assert [problem.code for problem in of_yaml(f"a: 1 {text}", "s.yaml")[1]] == ["TK538"]


def test_a_file_that_cannot_be_read_as_a_whole_is_not_asked_for_what_it_ignores() -> None:
    """Not all rules ran, so a comment may be needed that seems not to be."""
    assert [code for code, _ in codes(IGNORE.format("TK503", "x y") + "\nnmae: 'm'\n")] == ["TK511"]
    assert codes(IGNORE.format("TK511", "the server is newer") + "\nnmae: 'm'\n") == []


def test_a_block_with_all_that_is_in_it() -> None:
    text = """\
max_batch_size: 4

# tritonkit: ignore[TK511] because one
input [
  {
    name: "x"
  },
  { # tritonkit: ignore[TK512] because two
    name: "y"
  }
]
output { # tritonkit: ignore[TK513] because three
  name: "z"
}
output { name: "a" }
dynamic_batching {
  # tritonkit: ignore[TK514] because four
  preferred_batch_size: [ 1,
    2 ]
} # tritonkit: ignore[TK515] because five
# tritonkit: ignore[TK516] because six
"""
    ignores, wrong = of_config(read(text, "f"))
    assert wrong == []
    assert [(i.codes[0], i.first, i.last) for i in ignores] == [
        ("TK511", 4, 10), ("TK512", 8, 10), ("TK513", 12, 14), ("TK514", 18, 19), ("TK515", 20, 20), ("TK516", 22, 22),
    ]  # fmt: skip


SPEC = """\
name: x
batching: {a: 1} # tritonkit: ignore[TK214] because one
# tritonkit: ignore[TK215] because two
instances:
  - {kind: gpu}

  # a remark
  - {kind: cpu}
models:
  # tritonkit: ignore[TK216] because three
  a: {}
  b: {} # tritonkit: ignore[TK217] because four
flow:
- {model: a}
- {model: b} # tritonkit: ignore[TK218] because five
# tritonkit: ignore[TK219] because six
"""


def test_comments_of_a_spec() -> None:
    ignores, wrong = of_yaml(SPEC, "s.yaml")
    assert wrong == []
    assert [(i.codes[0], i.first, i.last) for i in ignores] == [
        ("TK214", 2, 2), ("TK215", 4, 8), ("TK216", 11, 11), ("TK217", 12, 12), ("TK218", 15, 15), ("TK219", 0, -1),
    ]  # fmt: skip
    [whole], _ = of_yaml("\n# A spec.\n# tritonkit: ignore[TK214] because one\nname: x\n", "s.yaml")
    assert (whole.first, whole.last) == (0, 0)
    [listed], _ = of_yaml("a: 1\nflow: # tritonkit: ignore[TK214] because one\n- b\n- c\nd: 1\n", "s.yaml")
    assert (listed.first, listed.last) == (2, 4)


def in_spec(tmp_path: Path, text: str) -> list[tuple[str, int]]:
    project = make_project(tmp_path / "p", {"small": text})
    return [(p.code, p.place.line) for p in lint([], project=project).problems]


def test_a_note_of_a_spec(tmp_path: Path) -> None:
    """SHORT asks for GPUs, which the embedded target has not (TK215), and for a queue policy (TK224)."""
    told = in_spec(tmp_path / "told", SHORT)
    line = SHORT.splitlines().index("instances: [{kind: gpu, count: 2}]") + 1
    assert ("TK215", line) in told
    because = SHORT.replace("instances:", IGNORE.format("TK215", "it is to run on the CPU there") + "\ninstances:")
    assert in_spec(tmp_path / "not", because) == [(c, n + (n >= line)) for c, n in told if c != "TK215"]
    unneeded = SHORT.replace("name: small", "name: small " + IGNORE.format("TK215", "x y"))
    assert in_spec(tmp_path / "unneeded", unneeded) == [*told, ("TK537", 1)]


def test_an_error_of_a_stage_cannot_be_ignored(tmp_path: Path) -> None:
    wrong = IGNORE.format("TK204", "it is so") + "\n" + SHORT.replace("[8, 8]", "[9, 9]")
    assert [code for code, _ in in_spec(tmp_path, wrong)].count("TK204") == 1


def test_its_own_codes_are_listed() -> None:
    assert set(OWN) <= set(CODES)


PIECES = [
    "# tritonkit: ",
    "ignore[",
    "TK502",
    "TK503, ",
    "]",
    " because ",
    "it is so",
    "\n",
    "{",
    "}",
    "[",
    "input",
    ' name: "n"',
    "#",
    "\r",
    " ",
    "x: 1",
    "- ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_whatever_stands_there_is_told_or_ignored(text: str) -> None:
    """Nothing raises, and a place that is told is one of the file."""
    for ignores, problems in (of_config(read(text, "f")), of_yaml(text, "f")):
        lines = re.split(r"\r\n|\r|\n", text)
        for place in [ignore.place for ignore in ignores] + [problem.place for problem in problems]:
            assert lines[place.line - 1][place.column - 1 :].startswith("#")
        assert all(ignore.last <= 0 or ignore.first <= ignore.last <= len(lines) for ignore in ignores)
    checked(text)
