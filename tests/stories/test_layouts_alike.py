"""All layouts of the clone's specs on one server: the same answers to the specs' own data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from story_tools import CLONE

from deploy.embedded.needs import needs_of
from deploy.embedded.server import EmbeddedServer
from generator.layouts import LAYOUTS, Layouts, in_layouts
from generator.project import EMBEDDED, Project
from generator.workspace import open_workspace
from generator.write import write
from loadtest.layouts.answers import agree
from loadtest.layouts.data import Data, data_of
from loadtest.layouts.turn import Mode, one_by_one
from tritonkit.layouts import served_of

pytestmark = pytest.mark.server

NAMES = ("digits", "photos", "detector")
ALONE, TOGETHER = Mode("alone", 1, 1), Mode("together", 5, 1)


@pytest.fixture(scope="module")
def laid_out() -> dict[str, Layouts]:
    project = Project(CLONE)
    return {name: in_layouts(open_workspace(project, [project.specs / f"{name}.yaml"], EMBEDDED)) for name in NAMES}


@pytest.fixture(scope="module")
def address(laid_out: dict[str, Layouts], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server with all of them."""
    every = [one for layouts in laid_out.values() for one in layouts.found.values()]
    repository = tmp_path_factory.mktemp("layouts") / "repository"
    write({path: data for one in every for path, data in one.files.items()}, repository, owner_of=lambda _: "layouts")
    server = EmbeddedServer(repository, needs_of([one.plan for one in every]), ready_timeout_s=180)
    try:
        yield server.start().http_address
    finally:
        server.stop(grace_s=0)


@pytest.mark.parametrize("mode", [ALONE, TOGETHER], ids=["one at a time", "five a request"])
@pytest.mark.parametrize("name", NAMES)
def test_every_layout_answers_alike(laid_out: dict[str, Layouts], address: str, name: str, mode: Mode) -> None:
    found = laid_out[name].found
    assert tuple(found) == LAYOUTS
    data = data_of(found["ensemble"].plan, Path(CLONE), 1)
    data = Data(data.source, data.items[:40])
    answers = {
        layout: one_by_one(address, served_of(address, one, data, [mode]), mode) for layout, one in found.items()
    }
    agreement = agree(answers)
    assert agreement.items == len(data.items) * mode.items
    assert max(agreement.largest_difference.values()) < 1e-3
