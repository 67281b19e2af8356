"""What `deploy image build` says of an image that it has built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_session import Session
from deploy_plans import make_project

from deploy.docker import engine as engines
from deploy.docker import image as images
from deploy.docker.request import Request


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Session:
    """A session in a project, where the Docker engine has built whatever it was asked for."""

    def build(request: Request, wanted: images.Wanted, *_: object) -> images.Built:
        name = images.checked_name(wanted.tag or request.name)
        return images.Built(name, "sha256:" + "0" * 64, request.default_base(), 3)

    @contextmanager
    def connected() -> Iterator[None]:
        yield

    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(images, "build", build)
    monkeypatch.setattr(engines, "connected", connected)
    return Session(tmp_path / "project", capsys)


@pytest.mark.parametrize(
    ("tag", "repository", "label"),
    [
        ((), "tritonkit/digits", "embedded"),
        (("--tag", "registry.example:5000/vision/digits:v7"), "registry.example:5000/vision/digits", "v7"),
        (("--tag", "registry.example:5000/vision/digits"), "registry.example:5000/vision/digits", "latest"),
    ],
    ids=["the name it gets", "a name of one's own", "a name without a tag"],
)
def test_how_the_chart_takes_it_is_said(shop: Session, tag: tuple[str, ...], repository: str, label: str) -> None:
    ended = shop.quietly("deploy", "image", "build", "specs/digits.yaml", "--embedded", *tag)
    assert ended.status == 0, ended.err
    assert ended.out.split()[0] == f"{repository}:{label}"
    assert f"--set image.repository={repository} --set image.tag={label}" in ended.err
    assert f"`docker image inspect --format '{{{{.RepoDigests}}}}' {repository}:{label}` prints" in ended.err
    assert "--set image.digest=sha256:..." in ended.err


def test_a_load_generator_is_nothing_for_the_chart(shop: Session) -> None:
    ended = shop.quietly("deploy", "image", "build", "specs/digits.yaml", "--embedded", "--load")
    assert ended.status == 0, ended.err
    assert "--set" not in ended.err
