"""Figures of a GPU say which code they are of."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_code
import pytest

NOW = {"python_backend/tritonkit_runtime/a.py": "1", "python_backend/tritonkit_runtime/b.py": "2"}


def test_the_page_says_which_code_its_figures_are_of() -> None:
    page = gpu_code.PAGE.read_text(encoding="utf-8")
    assert gpu_code.written(page, gpu_code.table(gpu_code.HERE, gpu_code.code())) == page, "run `make render`"
    assert len(list(gpu_code.HERE.glob("gpu_*.json"))) == page.count("](gpu_") == page.count(".json) |")


def test_the_code_is_that_of_the_runtime() -> None:
    found = gpu_code.code()
    assert "python_backend/tritonkit_runtime/device/cuda.py" in found
    assert all(
        path.startswith("python_backend/tritonkit_runtime/") and len(hash_) == 16 for path, hash_ in found.items()
    )


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (NOW, "this code"),
        (None, "does not say which code it is of"),
        ({**NOW, "python_backend/tritonkit_runtime/a.py": "9"}, "earlier code; changed since: `a.py`"),
        ({"python_backend/tritonkit_runtime/b.py": "2"}, "earlier code; changed since: `a.py`"),
        ({**NOW, "python_backend/tritonkit_runtime/gone.py": "3"}, "earlier code; changed since: `gone.py`"),
        ({f"python_backend/tritonkit_runtime/{n}.py": "0" for n in range(6)},
         "earlier code; changed since: `0.py`, `1.py`, `2.py`, `3.py` and 4 more"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_file(then: dict[str, str] | None, said: str) -> None:
    assert gpu_code.sentence(then, NOW) == said


def test_a_table_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "gpu_new.json").write_text(json.dumps({"code": NOW}))
    (tmp_path / "gpu_old.json").write_text(json.dumps({"format": 1}))
    (tmp_path / "other.json").write_text("{}")
    assert gpu_code.table(tmp_path, NOW).splitlines()[2:] == [
        "| [gpu_new.json](gpu_new.json) | this code |",
        "| [gpu_old.json](gpu_old.json) | does not say which code it is of |",
    ]


def test_a_page_without_a_place_for_it() -> None:
    with pytest.raises(ValueError, match="has no place for the table"):
        gpu_code.written("# A page\n", "table")
