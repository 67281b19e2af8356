"""What `deploy image` and `deploy compose` refuse of their command lines: a sentence, status 1, and nothing written."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_session import Session
from deploy_plans import make_project

from deploy.docker import engine as module
from tritonkit.cli.commands import deploy_image

# The SDK asks for versions while its client is made, and forgets the socket when that fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SPEC = "specs/digits.yaml"
BUILD = ("deploy", "image", "build", SPEC, "--embedded")
RUN = ("deploy", "image", "run", SPEC, "--embedded")
COMPOSE = ("deploy", "compose", SPEC, "--embedded")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Session:
    """A session in a project with this repository's specs and a file `taken`, where no Docker engine answers."""
    folder = tmp_path / "project"
    make_project(folder)
    (folder / "taken").write_text("mine")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return Session(folder, capsys)


@pytest.fixture
def bare_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that answers, and has no image."""
    import docker.errors

    def get(name: str) -> Any:
        raise docker.errors.ImageNotFound(f"no such image: {name}")

    @contextmanager
    def connected() -> Iterator[module.Engine]:
        yield module.Engine(SimpleNamespace(images=SimpleNamespace(get=get)))

    monkeypatch.setattr(module, "connected", connected)


def refused(shop: Session, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(shop.folder.rglob("*"))
    ended = shop.quietly(*arguments)
    assert (ended.status, ended.out) == (1, ""), ended.err
    assert re.search(words, ended.err), ended.err
    assert "Traceback" not in ended.err
    assert sorted(shop.folder.rglob("*")) == before
    assert (shop.folder / "taken").read_text() == "mine"
    gc.collect()  # the SDK's socket is forgotten here, and not in whichever test comes next


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (BUILD, r"error\[TK460\]: docker\n  no Docker engine answers at DOCKER_HOST=unix://.*none\.sock"),
        (RUN, r"error\[TK460\]: docker\n  no Docker engine answers at DOCKER_HOST=unix://.*none\.sock"),
        ((*BUILD, "--base", "Debian!"), r"error\[TK470\]: --base\n  `Debian!` is no name of an image"),
        ((*BUILD, "--tag", "A B"), r"error\[TK470\]: --tag\n  `A B` is no name for an image"),
        ((*BUILD, "--tag", "a._-b"), r"error\[TK470\]: --tag\n  `a\._-b` is no name for an image"),
        ((*BUILD, "--context", "taken"), r"invalid value for '--context': Directory 'taken' is a file"),
        ((*BUILD, "--context", "models"), r"\Aerror\[TK473\]: models\n  `models` is there already and not empty"),
        ((*BUILD[:3], "specs/none.yaml"), r"error\[TK101\]: specs/none\.yaml\n  there is no such file"),
        ((*BUILD[:4], "--target", "nowhere"), r"error\[TK212\]: .*\n  there is no target `nowhere`; targets: `embedded`"),
        ((*RUN[:3], "specs/none.yaml"), r"error\[TK101\]: specs/none\.yaml\n  there is no such file"),
        ((*RUN, "--image", "A B"), r"error\[TK470\]: --image\n  `A B` is no name of an image"),
        ((*RUN, "--http-port", "99999"), r"invalid value for '--http-port': 99999 is not in the range 0<=x<=65535"),
        ((*RUN, "--grpc-port", "-1"), r"invalid value for '--grpc-port': -1 is not in the range"),
        ((*RUN, "--metrics-port", "eighty"), r"invalid value for '--metrics-port': 'eighty' is not a valid integer"),
        (COMPOSE, r"missing option '-o' / '--out'"),
        ((*COMPOSE, "-o", "new", "--image", "a b"), r"error\[TK470\]: --image\n  `a b` is no name of an image"),
        ((*COMPOSE, "-o", "new", "--load-image", "a\nb"), r"error\[TK470\]: --load-image\n"),
        ((*COMPOSE, "-o", "new", "--prometheus-image", "${HOME}/x"), r"error\[TK470\]: --prometheus-image\n"),
        ((*COMPOSE, "-o", "new", "--target", ""), r"invalid value for '--target': it is empty"),
        ((*COMPOSE, "-o", ""), r"invalid value for '-o' / '--out': it is empty"),
        ((*BUILD, "--context", ""), r"invalid value for '--context': it is empty"),
        ((*COMPOSE, "-o", "taken"), r"invalid value for '-o' / '--out': Directory 'taken' is a file"),
        ((*COMPOSE, "-o", "taken/deeper"), r"error: taken/deeper cannot be read or written: not a directory"),
        ((*COMPOSE[:2], "specs/none.yaml", "-o", "out"), r"error\[TK101\]: specs/none\.yaml\n  there is no such file"),
        ((*COMPOSE[:3], "--target", "nowhere", "-o", "out"), r"error\[TK212\]: .*\n  there is no target `nowhere`"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_is_refused(shop: Session, arguments: tuple[str, ...], words: str) -> None:
    refused(shop, arguments, words)


@pytest.mark.usefixtures("bare_engine")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (BUILD, r"error\[TK461\].*\n.*debian.*(\n.*)*hint: docker pull debian"),
        ((*BUILD, "--sbom", "none/a.json"), r"error: none/a\.json cannot be read or written: no such file or directory"),
        ((*BUILD, "--base", "debian:bookworm"), r"error\[TK461\].*\n.*`debian:bookworm`.*(\n.*)*hint: docker pull debian"),
        (RUN, r"there is no image `tritonkit/digits:embedded` on this engine"),
        ((*RUN, "--image", "mine:1"), r"there is no image `mine:1` on this engine"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_an_engine_without_images_has_refused(shop: Session, arguments: tuple[str, ...], words: str) -> None:
    refused(shop, arguments, words)


def test_an_image_of_others_is_not_run(shop: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(id="sha256:1", attrs={"Config": {"Labels": {"maintainer": "somebody"}}})

    @contextmanager
    def connected() -> Iterator[module.Engine]:
        yield module.Engine(SimpleNamespace(images=SimpleNamespace(get=lambda _name: found)))

    monkeypatch.setattr(module, "connected", connected)
    refused(
        shop, (*RUN, "--image", "debian:12"), r"`debian:12` is no image that `tritonkit deploy image build` has made"
    )


@pytest.mark.parametrize("host", ["tcp://x:y", "tcp://[::1", "tcp://127.0.0.1:99999999", "ftp://x"])
def test_an_address_that_is_none_is_no_engine(shop: Session, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    refused(shop, BUILD, r"error\[TK460\]: docker\n  no Docker engine answers at DOCKER_HOST=")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "REPOSITORY=debian --build-arg TAG=bookworm-slim --build-arg DIGEST=sha256:..."),
        (("--base", "mine:1"), "REPOSITORY=mine --build-arg TAG=1 --build-arg DIGEST=sha256:..."),
        (("--base", f"mine@sha256:{'ab' * 32}"), f"REPOSITORY=mine --build-arg TAG= --build-arg DIGEST=sha256:{'ab' * 32}"),
    ],
)  # fmt: skip
def test_another_builder_is_told_the_base(
    shop: Session, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(deploy_image, "_write_context", lambda *_: None)  # which fetches packages
    ended = shop.quietly(*BUILD, "--context", "new", *more)
    assert ended.status == 0, ended.err
    assert f"build it with --build-arg {said}" in ended.err


def test_compose_for_scripts(shop: Session) -> None:
    first = shop.quietly(*COMPOSE, "-o", "new", "--json")
    assert first.status == 0, first.err
    told = json.loads(first.out)
    assert (told["folder"], told["written"]) == ("new", True)
    assert sorted(told["changed"]) == [f"new/{name}" for name in told["files"]]
    (shop.folder / "new" / "prometheus.yml").unlink()
    again = shop.quietly(*COMPOSE, "-o", "new", "--check", "--json")
    assert again.status == 1
    assert json.loads(again.out)["changed"] == ["new/prometheus.yml"]
