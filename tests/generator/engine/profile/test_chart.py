"""The chart, and the command for Nsight Systems."""

from __future__ import annotations

import shlex
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from generator.engine.profile import LayerTime, Profile, Roofs
from generator.engine.profile.chart import draw
from generator.engine.profile.ranges import nsys_command, nvtx_range
from generator.problems import UserError

ROOFS = Roofs(100e9, 10e9, 2)
ROWS = tuple(
    LayerTime(f"layer $x_{place}$ <&>", "Conv", 0.1 + place / 10, (f"n{place}",), 10**7 * place, 10**6)
    for place in range(30)
)


@pytest.mark.parametrize("roofs", [ROOFS, None])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ()])
def test_a_chart_is_drawn_and_the_same_profile_gives_the_same_one(
    tmp_path: Path, roofs: Roofs | None, rows: tuple[LayerTime, ...]
) -> None:
    found = Profile("onnxruntime", rows, 10.0, 1.0, 5)
    for name in ("one.svg", "two.svg", "three.png"):
        draw(found, roofs, tmp_path / name, "a $title$")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")
    assert (tmp_path / "three.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="matplotlib, which is not installed"):
        draw(Profile("onnxruntime", ROWS, 1.0, 0.0, 1), ROOFS, tmp_path / "chart.svg", "title")
    assert list(tmp_path.iterdir()) == []


def test_ranges_are_emitted_where_nvtx_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    @contextmanager
    def annotate(message: str, domain: str) -> Iterator[None]:
        told.append(("begin", domain, message))
        yield
        told.append(("end", domain, message))

    monkeypatch.setitem(sys.modules, "nvtx", None)
    with nvtx_range("nowhere"):
        pass
    module = types.ModuleType("nvtx")
    module.__dict__["annotate"] = annotate
    monkeypatch.setitem(sys.modules, "nvtx", module)
    with nvtx_range("run 1"):
        told.append(("inside", "", ""))
    assert told == [("begin", "tritonkit", "run 1"), ("inside", "", ""), ("end", "tritonkit", "run 1")]


def test_the_command_survives_a_shell() -> None:
    words = shlex.split(nsys_command("digits", "a folder/repository"))
    assert words[:2] == ["nsys", "profile"]
    assert words[-4:] == ["tritonkit", "serve", "--repository", "a folder/repository"]
