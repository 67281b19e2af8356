"""Nothing is left of a container, however its run ends: a second Ctrl-C, one while it is made, another hand's removal."""

from __future__ import annotations

import docker.errors
import pytest
from containers_stand_in import Containers

from deploy.docker import engine as module
from deploy.docker.container import Ports, running
from deploy.docker.request import Request
from generator.problems import ProblemsError


def interrupt() -> None:
    raise KeyboardInterrupt


def fails() -> None:
    raise docker.errors.APIError("the disk is broken")


def run(containers: Containers, request: Request, *, then: str = "") -> None:
    """As `deploy image run`; Ctrl-C comes once it is ready."""
    with running(
        containers.engine(), request, "image", Ports(), on_line=lambda _line: None, ready_timeout_s=30
    ) as there:
        if then == "status":
            assert there.status() is None
            containers.there.clear()  # docker rm -f
            there.status()
        raise KeyboardInterrupt


def test_an_interrupt_stops_and_removes_it(embedded: Request) -> None:
    containers = Containers()
    with pytest.raises(KeyboardInterrupt):
        run(containers, embedded)
    assert containers.calls[-2:] == ["stop", "remove"]
    assert containers.there == []


@pytest.mark.parametrize("call", ["create", "start", "reload", "stop"])
def test_an_interrupt_within_any_call_leaves_nothing(embedded: Request, call: str) -> None:
    containers = Containers(when={call: interrupt})
    with pytest.raises(KeyboardInterrupt):
        run(containers, embedded)
    assert containers.there == []


def test_an_interrupt_within_the_removal_is_raised_after_it(embedded: Request) -> None:
    containers = Containers()

    def once() -> None:
        containers.when.clear()
        raise KeyboardInterrupt

    containers.when["remove"] = once
    with pytest.raises(KeyboardInterrupt):
        run(containers, embedded)
    assert containers.calls[-2:] == ["remove", "remove"]
    assert containers.there == []


def test_one_that_appears_after_its_creation_was_interrupted_is_removed(embedded: Request) -> None:
    containers = Containers()
    late: list[str] = []

    def interrupted() -> None:
        late.append(containers.there.pop())  # the engine is not done with it
        raise KeyboardInterrupt

    def looked() -> None:
        if containers.calls.count("remove") == 2:
            containers.there.append(late.pop())

    containers.when = {"create": interrupted, "remove": looked}
    with pytest.raises(KeyboardInterrupt):
        run(containers, embedded)
    assert containers.there == []
    assert containers.calls.count("remove") == 2


def test_one_that_somebody_else_removed_is_a_sentence(embedded: Request) -> None:
    containers = Containers()
    with pytest.raises(ProblemsError) as error:
        run(containers, embedded, then="status")
    [problem] = error.value.problems
    assert problem.code == "TK477"
    assert "cannot be looked at any more: No such container" in problem.message


def test_one_that_cannot_be_removed_is_named(embedded: Request) -> None:
    containers = Containers(when={"remove": fails})
    with pytest.raises(ProblemsError) as error:
        run(containers, embedded)
    [problem] = error.value.problems
    assert problem.code == "TK477"
    assert problem.hint == f"docker rm -f {containers.there[0]}"


@pytest.mark.parametrize("call", ["create", "start", "wait"])
def test_what_lists_an_image_leaves_nothing_either(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APPEARS_S", 0.0)
    containers = Containers(when={call: interrupt})
    with pytest.raises(KeyboardInterrupt):
        containers.engine().output("image", ["true"], "")
    assert containers.there == []
    quiet = Containers()
    assert quiet.engine().output("image", ["true"], "") == b""
    assert quiet.there == []
