from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.plain_paths import plain
from deploy.embedded.server import EmbeddedServer
from generator.problems import UserError

NEEDS = ServerNeeds(longest_request_ms=1000)
ODD = ["with space", "prö", "a;b", "$(c)", "日"]


def test_a_plain_path_stays(tmp_path: Path) -> None:
    links = tmp_path / "links"
    assert plain(tmp_path, links) == tmp_path
    assert plain(tmp_path / "not there", links) == tmp_path / "not there"
    assert not links.exists()


def test_each_odd_path_gets_a_link_of_its_own(tmp_path: Path) -> None:
    for name in ODD:
        (tmp_path / name).mkdir()
    found = [plain(tmp_path / name, tmp_path / "links") for name in ODD]
    assert [link.resolve().name for link in found] == ODD
    assert len(set(found)) == len(ODD)


def test_no_plain_place_for_the_link(tmp_path: Path) -> None:
    odd = tmp_path / "with space"
    odd.mkdir()
    with pytest.raises(UserError) as caught:
        plain(odd, odd / "links")
    assert str(odd) in caught.value.message
    assert "TMPDIR" in caught.value.hint


@pytest.mark.server
@pytest.mark.parametrize("name", ["with space", "prö", "$(c)"])
def test_the_server_serves_a_repository_there(repository: Any, look: Any, tmp_path: Path, name: str) -> None:
    repository.model()
    odd = tmp_path / name
    repository.path.rename(odd)
    with EmbeddedServer(odd, NEEDS) as server:
        assert look.double(server.http_address, [1.0]) == [2.0]
        assert server.record().repositories == (str(odd),)
        server.stop(grace_s=0)
    assert (odd / "double" / "config.pbtxt").exists()


@pytest.mark.server
def test_the_users_cache_may_lie_there_too(
    repository: Any, look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cäche dir"))
    repository.model()
    with EmbeddedServer(repository.path, NEEDS) as server:
        assert look.double(server.http_address, [1.0]) == [2.0]
        server.stop(grace_s=0)
