"""Edits: applied where they do not meet, checked before anything is written, whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from corpus_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder
from generator.lint.mend import Mends, mends_of
from generator.lint.rule import Edit
from generator.lint.server import EMBEDDED
from generator.pbtxt.reader import read
from generator.problems import Place, Problem, errors

TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
WRONG = '# mine\nname: "n" # as ever\nbackend: "python"\n' + TENSORS


def a_model(root: Path, text: str | bytes) -> Path:
    (root / "m" / "1").mkdir(parents=True)
    (root / "m" / "1" / "model.py").write_text("class TritonPythonModel:\n    def execute(self, r): ...\n")
    file = root / "m" / "config.pbtxt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def mends(root: Path, edits: dict[Problem, tuple[Edit, ...]] | None = None) -> Mends:
    """What can be mended below `root`; with `edits`, these instead of those of the rules."""
    checked: Checked = check([DiskFolder(root)], EMBEDDED)
    if edits is not None:
        checked.edits, checked.problems = edits, list(edits)
    return mends_of([checked], checked.problems)


def problem(root: Path, number: int = 0) -> Problem:
    return Problem("TK502", Place(f"{root}/m/config.pbtxt", 1, number + 1), "", f"number {number}")


def test_what_a_rule_says_is_mended(tmp_path: Path) -> None:
    file = a_model(tmp_path, WRONG)
    file.chmod(0o640)
    [mend] = mends(tmp_path).files
    assert (mend.file, [p.code for p in mend.mended], mend.later) == (file, ["TK502"], [])
    assert mend.diff("m") == (
        '--- m\n+++ m\n@@ -1,5 +1,5 @@\n # mine\n-name: "n" # as ever\n+name: "m" # as ever\n backend: "python"\n'
        + "".join(f" {line}\n" for line in TENSORS.splitlines())
    )
    assert file.read_text() == WRONG, "nothing is written before it is asked for"
    assert mend.write()
    assert file.read_text() == WRONG.replace('"n"', '"m"')
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert {entry.name for entry in file.parent.iterdir()} == {"1", "config.pbtxt"}
    assert not mends(tmp_path)
    assert check([DiskFolder(tmp_path)], EMBEDDED).problems == []


@pytest.mark.parametrize(
    "text",
    [
        WRONG.replace("\n", "\r\n"),
        WRONG.rstrip("\n"),
        "name:'n'backend:'python'" + TENSORS,
        "\ufeff" + WRONG,
        WRONG.replace(" ", "\t"),
        WRONG.replace("# mine\n", "# a\u2028b\x0bc\x85d\re\n\r\n"),
    ],
)
def test_line_ends_and_the_end_stay_as_they_are(tmp_path: Path, text: str) -> None:
    file = a_model(tmp_path, text)
    [mend] = mends(tmp_path).files
    changed = [line for line in mend.diff("m").split("\n")[2:] if line.startswith(("-", "+"))]
    assert len(changed) == 2, "one line is another one, whatever else breaks lines elsewhere"
    assert mend.write()
    assert file.read_bytes().decode() == text.replace('"n"', '"m"').replace("'n'", '"m"')


def test_a_rendered_file_is_left(tmp_path: Path) -> None:
    a_model(tmp_path, "# Rendered by tritonkit from specs/n.yaml for target `embedded` (Triton 24.10).\n" + WRONG)
    found = mends(tmp_path)
    assert found.files == []
    assert found.left == {f"{tmp_path}/m/config.pbtxt": "it is rendered: mend the spec that its first line names"}


def test_a_file_with_other_bytes_is_left(tmp_path: Path) -> None:
    a_model(tmp_path, b"# \xff\n" + WRONG.encode())
    assert list(mends(tmp_path).left.values()) == ["it is not UTF-8 text"]


def test_a_file_that_was_changed_meanwhile_is_left(tmp_path: Path) -> None:
    file = a_model(tmp_path, WRONG)
    [mend] = mends(tmp_path).files
    file.write_text(WRONG + "\n")
    assert not mend.write()
    assert file.read_text() == WRONG + "\n"


def test_a_read_only_file_is_left(tmp_path: Path) -> None:
    file = a_model(tmp_path, WRONG)
    file.chmod(0o444)
    assert mends(tmp_path).files == []
    assert mends(tmp_path).left == {f"{tmp_path}/m/config.pbtxt": "it is read-only"}
    file.chmod(0o464)
    assert len(mends(tmp_path).files) == 1, "its group may write it"


def test_a_link_stays_and_what_it_leads_to_is_mended_once(tmp_path: Path) -> None:
    first = a_model(tmp_path, WRONG)
    shared = first.rename(tmp_path / "shared.pbtxt")
    first.symlink_to("../shared.pbtxt")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "1").symlink_to("../m/1")
    (tmp_path / "o" / "config.pbtxt").symlink_to(shared)
    found = mends(tmp_path)
    assert found.left == {
        f"{tmp_path}/o/config.pbtxt": f"it is a link to the same file as {first}, which comes first"
    }
    [mend] = found.files
    assert mend.write()
    assert str(first.readlink()) == "../shared.pbtxt"
    assert shared.read_text() == WRONG.replace('"n"', '"m"')


def test_edits_that_meet_wait(tmp_path: Path) -> None:
    a_model(tmp_path, WRONG)
    start = WRONG.index('"n"')
    edits = {
        problem(tmp_path, 0): (Edit(start, start + 3, '"a"'),),
        problem(tmp_path, 1): (Edit(start + 1, start + 2, "b"), Edit(len(WRONG), len(WRONG), "max_batch_size: 1\n")),
        problem(tmp_path, 2): (Edit(start, start + 3, '"a"'),),
        problem(tmp_path, 3): (Edit(len(WRONG), len(WRONG), "max_batch_size: 2\n"),),
        problem(tmp_path, 4): (Edit(len(WRONG), len(WRONG), "max_batch_size: 3\n"),),
    }
    [mend] = mends(tmp_path, edits).files
    assert mend.after == WRONG.replace('"n"', '"a"') + "max_batch_size: 2\n", "all of a problem's edits, or none"
    assert mend.mended == [problem(tmp_path, 0), problem(tmp_path, 2), problem(tmp_path, 3)]
    assert mend.later == [problem(tmp_path, 1), problem(tmp_path, 4)]


@pytest.mark.parametrize(
    "edit",
    [
        ("name", "max_batch_size: 4"),  # runs into the colon: a field without a value
        ('"n"', "m"),  # a new mistake
        ('"n" #', '"m" '),  # what was a comment would be words
        ('"n"', '"m" # '),  # and what was a word a comment
        ("ame", "ame2"),  # half a word
    ],
)
def test_a_file_that_would_not_read_as_the_edits_say_is_left(tmp_path: Path, edit: tuple[str, str]) -> None:
    text = WRONG.replace(" # as ever\n", " ") if edit[1].endswith("# ") else WRONG
    a_model(tmp_path, text)
    start = text.index(edit[0])
    found = mends(tmp_path, {problem(tmp_path): (Edit(start, start + len(edit[0]), edit[1]),)})
    assert (found.files, list(found.left.values())) == ([], ["TK502 cannot be mended for you: mend it by hand"])


def test_edits_that_do_not_fit_leave_those_that_do(tmp_path: Path) -> None:
    a_model(tmp_path, WRONG)
    start = WRONG.index('"n"')
    edits = {
        problem(tmp_path, 0): (Edit(start, start + 3, '"m"'),),
        problem(tmp_path, 1): (Edit(start - 6, start - 1, "max_batch_size: 4"),),  # the name alone
        problem(tmp_path, 2): (Edit(len(WRONG), len(WRONG), "max_batch_size: 2\n"),),
    }
    [mend] = mends(tmp_path, edits).files
    assert mend.after == WRONG.replace('"n"', '"m"') + "max_batch_size: 2\n"
    assert mend.mended == [problem(tmp_path, 0), problem(tmp_path, 2)]
    assert (mend.later, mend.by_hand) == ([], [problem(tmp_path, 1)])


def test_an_entry_of_a_list_is_not_cut_out(tmp_path: Path) -> None:
    entries = [f'{{ key: "{key}" value {{ string_value: "" }} }}' for key in ("TRITON_BATCH_STRATEGY_PATH", "OTHER")]
    sequence = "sequence_batching { }\n"
    for entry in (f"parameters [ {', '.join(entries)} ]", f"parameters: [ {', '.join(reversed(entries))} ]"):
        root = tmp_path / str(len(entry))
        a_model(root, WRONG + sequence + entry + "\n")
        checked = check([DiskFolder(root)], EMBEDDED)
        assert "TK673" in [each.code for each in checked.problems]
        [mend] = mends(root).files
        assert mend.after == (WRONG + sequence + entry + "\n").replace('"n"', '"m"')
        assert [each.code for each in mend.mended] == ["TK502"]
    a_model(tmp_path / "alone", WRONG + sequence + f"parameters {entries[0]}\nparameters {entries[1]}\n")
    [mend] = mends(tmp_path / "alone").files
    assert mend.after == WRONG.replace('"n"', '"m"') + sequence + f"\nparameters {entries[1]}\n"


def test_only_what_is_told_is_mended(tmp_path: Path) -> None:
    a_model(tmp_path, WRONG)
    checked = check([DiskFolder(tmp_path)], EMBEDDED)
    assert not mends_of([checked], [])
    assert len(mends_of([checked, checked], checked.problems).files) == 1, "a file is edited once"


@given(
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 12), st.sampled_from(["", "4", '"m"', "name", "# ", "}", "'"])),
        max_size=4,
    )
)
def test_whatever_the_edits_are_it_reads_as_they_say_or_is_left(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, str]]
) -> None:
    root = tmp_path_factory.mktemp("r")
    a_model(root, WRONG)
    changes = {
        problem(root, n): (Edit(a, min(a + length, len(WRONG)), text),) for n, (a, length, text) in enumerate(edits)
    }
    found = mends(root, changes)
    for mend in found.files:
        before = read(WRONG, "").tree.value
        after = read(mend.after, "")
        assert not after.problems
        # A value that no edit touched is as it was.
        if not any(edit.start < WRONG.index("backend") + 17 for changed in changes.values() for edit in changed):
            assert after.tree.value["name"] == before["name"]
            assert after.tree.value["backend"] == before["backend"]


def test_what_is_mended_in_the_corpus_stays_mended(tmp_path: Path) -> None:
    """Every edit of every rule that a case of the corpus reaches: its problem is gone, and there are not more."""
    mended = set()
    for number, case in enumerate(case for case in cases() if case.problems):
        roots = case.write(tmp_path / str(number))
        before = check([DiskFolder(root) for root in roots], case.server)
        for mend in mends_of([before], before.problems).files:
            assert mend.write()
            mended |= {problem.code for problem in mend.mended}
            after = check([DiskFolder(root) for root in roots], case.server)
            # What could not be judged before may be told now, each for one that is gone.
            assert len(errors(after.problems)) <= len(errors(before.problems)), case.name
            gone = {(problem.code, problem.field) for problem in mend.mended}
            assert gone.isdisjoint((problem.code, problem.field) for problem in after.problems), case.name
    assert len(mended) > 5
