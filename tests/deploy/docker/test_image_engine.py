"""What the Docker engine refuses, and what bases may be: one sentence each, with the remedy."""

from __future__ import annotations

import gc
import io
import re
import socket
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import docker
import docker.errors
import pytest
import requests
import urllib3.exceptions
from engine_stand_in import StandIn, image

from deploy.docker import base
from deploy.docker.engine import connected
from deploy.docker.image import checked_name
from deploy.docker.packages import Kind
from deploy.docker.request import DOCKERFILES
from generator.problems import Problem, ProblemsError

# The SDK asks for versions while its client is made, and forgets the socket when that fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TRITON = "nvcr.io/nvidia/tritonserver"
DIGEST = f"sha256:{'ab' * 32}"


def problem(error: pytest.ExceptionInfo[ProblemsError]) -> Problem:
    [found] = error.value.problems
    return found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("debian", ("debian", "", "")),
        ("debian:bookworm-slim", ("debian", "bookworm-slim", "")),
        (f"{TRITON}:26.07-py3@{DIGEST}", (TRITON, "26.07-py3", DIGEST)),
        (f"localhost:5000/a/b_c@{DIGEST}", ("localhost:5000/a/b_c", "", DIGEST)),
    ],
)
def test_names_of_images(text: str, parts: tuple[str, str, str]) -> None:
    found = base.parse(text)
    assert (found.repository, found.tag, found.digest) == parts
    assert str(found) == text


@pytest.mark.parametrize(
    "text", ["", "Debian", "debian:", "debian@sha256:12", "debian:a b", "-debian", f"debian@{DIGEST}0", "a//b"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ProblemsError) as error:
        base.parse(text)
    assert problem(error).code == "TK470"


@pytest.mark.parametrize(
    ("name", "found"), [("a/b", "a/b:latest"), ("a:1", "a:1"), ("host:5000/a", "host:5000/a:latest")]
)
def test_tags_of_new_images(name: str, found: str) -> None:
    assert checked_name(name) == found


@pytest.mark.parametrize(
    "name", ["A", "a b", "a:", "/a", "a//b", "--privileged", "a:b:c d", "a/", "a..b", "a/-b", "a._b", f"a@{DIGEST}"]
)
def test_what_is_no_tag(name: str) -> None:
    with pytest.raises(ProblemsError) as error:
        checked_name(name)
    assert problem(error).code == "TK470"


def test_a_base_without_a_digest_is_refused_with_the_one_that_is_here() -> None:
    name = f"{TRITON}:26.07-py3"
    here = StandIn({name: image(1, digests=(f"{TRITON}@{DIGEST}",), tags=(name,))})
    with pytest.raises(ProblemsError) as error:
        base.pinned(base.parse(name), here.engine(), allow_unpinned=False)
    assert problem(error).code == "TK461"
    assert f"--base {name}@{DIGEST} " in problem(error).hint
    with pytest.raises(ProblemsError) as error:
        base.pinned(base.parse(name), StandIn().engine(), allow_unpinned=False)
    assert f"docker pull {name}" in problem(error).hint


def test_one_that_came_from_elsewhere_is_named_as_it_came() -> None:
    here = StandIn({"mine:1": image(1, digests=(f"{TRITON}@{DIGEST}",), tags=("mine:1",))})
    with pytest.raises(ProblemsError) as error:
        base.pinned(base.parse("mine:1"), here.engine(), allow_unpinned=False)
    assert f"--base {TRITON}@{DIGEST} " in problem(error).hint


@pytest.mark.parametrize("kind", DOCKERFILES)
@pytest.mark.parametrize(
    "name",
    [TRITON, f"{TRITON}@{DIGEST}", f"{TRITON}:26.07-py3", f"{TRITON}:26.07-py3@{DIGEST}", f"host:5000/a@{DIGEST}"],
)
def test_every_name_of_a_base_is_a_reference_in_the_dockerfiles(kind: Kind, name: str) -> None:
    """Builders replace variables as a shell does."""
    found = base.parse(name)
    [line] = re.findall(r"^FROM (\S*REPOSITORY\S*) AS", DOCKERFILES[kind].read_text(), re.MULTILINE)
    assert replaced(line, found.arguments()) == name
    local = replace(found, local=True)  # a builder knows no digest of it
    assert replaced(line, local.arguments()) == found.name


def replaced(text: str, arguments: dict[str, str]) -> str:
    done = subprocess.run(["/bin/sh", "-c", f'printf %s "{text}"'], env=arguments, capture_output=True, text=True,
                          timeout=60, check=True)  # fmt: skip
    return done.stdout


def test_one_without_a_digest_may_be_allowed() -> None:
    stand_in = StandIn()
    found = base.pinned(base.parse("debian:12"), stand_in.engine(), allow_unpinned=True)
    assert found.arguments() == {"REPOSITORY": "debian", "TAG": "12", "DIGEST": ""}
    assert [name for name, _ in stand_in.calls] == ["pull"]


def test_a_pinned_base_is_pulled_by_its_digest_once() -> None:
    wanted = base.parse(f"debian:12@{DIGEST}")
    stand_in = StandIn()
    assert base.pinned(wanted, stand_in.engine(), allow_unpinned=False).arguments()["DIGEST"] == DIGEST
    [(_, told)] = stand_in.calls
    assert told["tag"] == DIGEST
    there = StandIn({f"debian@{DIGEST}": image(1)})
    base.pinned(wanted, there.engine(), allow_unpinned=False)
    assert there.calls == []


def test_an_image_of_this_engine_alone_is_pinned_by_its_id() -> None:
    here = StandIn({"mine:1": image(7, tags=("mine:1",))})
    found = base.pinned(base.parse(f"mine:1@{image(7)['Id']}"), here.engine(), allow_unpinned=False)
    assert found.arguments() == {"REPOSITORY": "mine", "TAG": "1", "DIGEST": ""}
    assert found.digest == image(7)["Id"]
    with pytest.raises(ProblemsError) as error:
        base.pinned(base.parse(f"mine:1@{DIGEST}"), here.engine(), allow_unpinned=False)
    assert problem(error).code == "TK463"
    assert image(7)["Id"] in problem(error).hint


def test_a_base_that_cannot_be_pulled() -> None:
    with pytest.raises(ProblemsError) as error:
        StandIn(events=[{"error": "manifest unknown"}]).engine().pull("debian", DIGEST)
    assert problem(error).code == "TK462"
    assert "manifest unknown" in problem(error).message


def failed(*events: dict[str, str]) -> Problem:
    with pytest.raises(ProblemsError) as error:
        StandIn(events=list(events)).engine().build(
            io.BytesIO(), tag="a:1", arguments={}, no_cache=False, on_progress=lambda _: None
        )
    return problem(error)


def test_a_failed_step_is_named_with_its_last_lines() -> None:
    said = [{"stream": f"line {number}\n"} for number in range(20)]
    found = failed({"stream": "Step 3/9 : RUN pip install"}, *said, {"error": "returned a non-zero code: 1"})
    assert found.code == "TK465"
    assert found.message.startswith("`step 3/9: RUN pip install` failed: returned a non-zero code: 1")
    assert "line 19" in found.message
    assert "line 11" not in found.message


def test_a_full_disk_and_a_missing_base_are_told_as_such() -> None:
    assert failed({"stream": "Step 3/9 : RUN x"}, {"error": "write /x: no space left on device"}).code == "TK464"
    assert failed({"stream": "Step 1/9 : FROM debian"}, {"error": "pull access denied"}).code == "TK462"


def test_what_an_engine_refuses_anywhere_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise docker.errors.APIError("500 Server Error", explanation="layer does not exist")

    images = SimpleNamespace(get=lambda _name: fail())
    made = SimpleNamespace(images=images, ping=lambda: None, close=lambda: None)
    monkeypatch.setattr(docker, "from_env", lambda **_: made)
    with pytest.raises(ProblemsError) as error, connected() as engine:
        engine.image("a:1")
    assert problem(error).code == "TK460"
    assert problem(error).message == "the Docker engine has failed: layer does not exist"


def test_progress_is_told_by_steps() -> None:
    lines: list[str] = []
    stand_in = StandIn({"a:1": image(3)}, [{"stream": "Step 1/2 : FROM x"}, {"stream": "noise"}, {"stream": f"Step 2/2 : RUN {'y' * 200}"}])  # fmt: skip
    found = stand_in.engine().build(
        io.BytesIO(), tag="a:1", arguments={"A": "b"}, no_cache=True, on_progress=lines.append
    )
    assert found == image(3)["Id"]
    assert lines[0] == "step 1/2: FROM x"
    assert len(lines) == 2
    assert len(lines[1]) < 100
    [(_, told)] = stand_in.calls
    assert (told["buildargs"], told["nocache"], told["rm"]) == ({"A": "b"}, True, True)


def test_no_engine_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ProblemsError) as error, connected():
        pass
    assert problem(error).code == "TK460"
    wanted = f"no Docker engine answers at DOCKER_HOST=unix://{tmp_path}/none.sock: no such file or directory"
    assert problem(error).message == wanted
    del error
    gc.collect()  # its socket is forgotten here, and not in whichever test comes next


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (urllib3.exceptions.ProtocolError("Connection broken", ConnectionResetError(104, "Connection reset by peer")), "connection reset by peer"),
        (urllib3.exceptions.IncompleteRead(3, 5), "it hung up within an answer"),
        (requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", BrokenPipeError(32, "Broken pipe"))), "broken pipe"),
    ],
    ids=["reset", "cut off", "broken pipe"],
)  # fmt: skip
def test_an_engine_that_goes_away_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, broken: Exception, reason: str
) -> None:
    monkeypatch.setattr(docker, "from_env", lambda **_: SimpleNamespace(ping=lambda: None, close=lambda: None))
    with pytest.raises(ProblemsError) as error, connected():
        raise broken
    assert problem(error).code == "TK460"
    assert problem(error).message == f"the Docker engine went away: {reason}"


def test_an_engine_that_hangs_up_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # The path of a socket may have 107 characters, and pytest's folders are deep.
    with tempfile.TemporaryDirectory(prefix="tk-") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/sock")
        server.listen()
        server.settimeout(30)

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/sock")
        with pytest.raises(ProblemsError) as error, connected():
            pass
        thread.join()
    assert problem(error).code == "TK460"
    del error
    gc.collect()
