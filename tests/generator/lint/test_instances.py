"""Instance groups, beyond what the corpus shows."""

from __future__ import annotations

import pytest

from generator.lint.check import check
from generator.lint.files import MemoryFolder
from generator.lint.rules.instances import profile_number
from generator.lint.server import EMBEDDED


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("7", 7), (" \t1_large", 1), ("+2", 2), ("-1", -1), ("007", 7), ("3.9", 3), ("99999999999", 99999999999),
        ("", None), ("x1", None), ("-", None), ("+", None), ("+-1", None), ("- 1", None), ("²", None), ("٣", None),
    ],
)  # fmt: skip
def test_a_profile_is_read_as_the_server_reads_it(text: str, number: int | None) -> None:
    assert profile_number(text) == number


def test_a_resource_of_many_models_is_told_in_a_line() -> None:
    def config(is_global: bool) -> bytes:
        resource = f'resources {{ name: "link" count: 1 global: {str(is_global).lower()} }}'
        return (
            'backend: "python"\ninput { name: "x" data_type: TYPE_FP32 dims: 1 }\n'
            'output { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
            f"instance_group {{ kind: KIND_CPU rate_limiter {{ {resource} }} }}\n"
        ).encode()

    model = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
    files = {f"m{i}/config.pbtxt": config(i == 10) for i in range(10, 51)}
    files |= {f"m{i}/1/model.py": model for i in range(10, 51)}
    told = [p.message for p in check([MemoryFolder(files, "")], EMBEDDED).problems if p.code == "TK658"]
    assert told[0] == "the resource `link` is global, and per device in `m11`, `m12`, `m13` and 37 more"
    assert set(told[1:]) == {"the resource `link` is per device, and global in `m10`"}
    assert len(told) == 41
