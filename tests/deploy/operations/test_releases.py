"""Releases: known holes, and what exists since when; the chart's own table says the same."""

from __future__ import annotations

import re

from deploy_plans import ROOT
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations.releases import FLAGS_SINCE, HOLES, REFUSED_BEFORE, SOUND, has_flag, holes_of, is_refused
from generator.lint.server import RELEASES

CHART = ROOT / "deploy" / "charts" / "triton"


def test_what_is_refused_has_holes_and_what_is_sound_has_none() -> None:
    for release in RELEASES:
        assert bool(holes_of(release)) == (release < SOUND)
        assert is_refused(release) == (release < REFUSED_BEFORE)
    assert not holes_of(SOUND)
    assert {hole.cve for hole in holes_of("25.06")} == {hole.cve for hole in HOLES}
    assert "CVE-2025-23319" not in {hole.cve for hole in holes_of(REFUSED_BEFORE)}


def test_flags_come_with_their_release() -> None:
    assert not has_flag("26.03", "--allow-client-shm")
    assert has_flag("26.04", "--allow-client-shm")
    assert has_flag("24.10", "--http-port")


@given(st.sampled_from(RELEASES), st.sampled_from(RELEASES))
def test_a_later_release_has_no_more_holes(a: str, b: str) -> None:
    earlier, later = sorted((a, b))
    assert set(holes_of(later)) <= set(holes_of(earlier))


def chart_text() -> str:
    """All templates of the chart, one after the other."""
    return "\n".join(file.read_text() for file in sorted((CHART / "templates").rglob("*")) if file.is_file())


def test_the_charts_table_of_flags_is_the_same() -> None:
    block = chart_text().partition('define "triton.flagsSince"')[2].partition("{{- end")[0]
    table = re.findall(r'^([a-z-]+): "(\d\d\.\d\d)"$', block, re.MULTILINE)
    assert {f"--{flag}": since for flag, since in table} == FLAGS_SINCE


def test_the_chart_names_the_same_holes() -> None:
    table = dict(re.findall(r"(CVE-\d{4}-\d+): (\d{4})", chart_text()))
    assert table == {hole.cve: hole.clear_from.replace(".", "") for hole in HOLES}
