"""`INPUT=VALUE`: inputs have the names that exporters give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.problems import UserError
from tritonkit.cli.named_inputs import split

HOUSE = ("größe", "is.sold", "zip:code/2", "serving_default_x:0", "a", "a=b", "1st")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["größe=a.npy", "is.sold=b.npy", "zip:code/2=c.npy"], {"größe": "a.npy", "is.sold": "b.npy", "zip:code/2": "c.npy"}),
        (["serving_default_x:0=data/x=1.npy"], {"serving_default_x:0": "data/x=1.npy"}),
        (["1st=x"], {"1st": "x"}),
        (["a==b"], {"a": "=b"}), (["a=b=c"], {"a=b": "c"}), (["a=b"], {"a": "b"}), (["a="], {"a": ""}),
        (["other=x"], {"other": "x"}),  # told later that there is no such input
        (["data/x=1.png", "b.png"], None), (["b.png"], None), (["zip:code/3=c.npy"], None),
    ],
)  # fmt: skip
def test_what_an_argument_names(arguments: list[str], found: dict[str, str] | None) -> None:
    assert split(arguments, HOUSE) == found


def test_a_file_of_that_name_is_a_file() -> None:
    Path("a=b").write_text("")
    assert split(["a=b"], HOUSE) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["zip:code/2=x", "b.npy"], "`b.npy` says not of which input it is, as `zip:code/2=x` does"),
        (["a=1", "zip:code/3=x"], "`zip:code/3=x` says not of which input it is"),
        (["zip:code/2=x", "zip:code/2=y"], "input `zip:code/2` is given twice: `x` and `y`"),
    ],
)
def test_mistakes(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError) as raised:
        split(arguments, HOUSE)
    assert raised.value.message.startswith(says)
