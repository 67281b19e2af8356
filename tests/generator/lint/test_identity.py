"""What the rules about a model's platform, backend and tensors mend: the edit is the whole mend, and nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_cases import IDENTITY

from generator.lint.check import check
from generator.lint.files import DiskFolder
from generator.lint.mend import mends_of
from generator.lint.server import EMBEDDED, Server

OUTPUT = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
TENSORS = f'input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }} ]\n{OUTPUT}'
FLOW = f"""{TENSORS}ensemble_scheduling {{ step [ {{
  model_name: "member" model_version: -1 input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "y" }}
}} ] }}
"""


def with_flag(flag: str) -> str:
    return f'backend: "python"\ninput [ {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ]{flag} }} ]\n{OUTPUT}'


MENDS = [
    ("TK611", f'platform: "Python"\n{TENSORS}', f'\n{TENSORS}backend: "python"\n'),
    ("TK613", f'platform: "ensemble"\nbackend: "python"\n{FLOW}', f'platform: "ensemble"\n\n{FLOW}'),
    ("TK613", f'platform: "ensemble" default_model_filename: "model.py"\n{FLOW}', f'platform: "ensemble" \n{FLOW}'),
    ("TK614", FLOW, f'{FLOW}platform: "ensemble"\n'),
    ("TK614", f'platform: "Ensemble"\n{FLOW}', f'platform: "ensemble"\n{FLOW}'),
    ("TK628", with_flag(" is_shape_tensor: true"), with_flag(" ")),
    ("TK629", with_flag(", is_non_linear_format_io: true"), with_flag(", ")),
]


@pytest.mark.parametrize(("code", "before", "after"), MENDS)
def test_the_edit_is_the_mend(tmp_path: Path, code: str, before: str, after: str) -> None:
    for name, text in (("m", before), ("member", f'backend: "python"\n{TENSORS}')):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.py").write_text(IDENTITY)
        (tmp_path / name / "config.pbtxt").write_text(text)
    checked = check([DiskFolder(tmp_path)], EMBEDDED)
    assert [problem.code for problem in checked.edits] == [code], checked.problems
    [mend] = mends_of([checked], checked.problems).files
    assert mend.after == after
    assert mend.write()
    again = check([DiskFolder(tmp_path)], EMBEDDED)
    assert not again.refused, again.problems


def test_a_platform_of_later_releases_is_none_of_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text(f'platform: "torch_aoti"\nbackend: "pytorch"\n{TENSORS}')
    for release, refused in (("26.04", True), ("26.05", False)):
        codes = [problem.code for problem in check([DiskFolder(tmp_path)], Server(release=release)).problems]
        assert ("TK612" in codes) is refused
