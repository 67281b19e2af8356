"""The installation of the cluster's tools: what is interrupted, at once, missing or out of reach. No Go is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.cluster_tools import install
from scripts.cluster_tools.folder import VARIABLE, Folder, ToolsError, folder
from scripts.cluster_tools.go import MODULE, SCANNER, Go, failure
from scripts.cluster_tools.schemas import write_custom_kind

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tools(tmp_path: Path) -> Folder:
    place = Folder(tmp_path / "tools")
    with place.locked(pytest.fail):
        pass
    return place


def fake_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, version: str = "go1.26.1") -> None:
    """Puts a `go` on an otherwise bare PATH that says its version and does as the script says."""
    bin_folder = tmp_path / "path"
    bin_folder.mkdir()
    program = bin_folder / "go"
    program.write_text(f'#!/bin/bash\n[ "$1" = env ] && echo {version} && exit\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")


def write(text: str, out: Path) -> None:
    (out / "file").write_text(text)


# The folder ------------------------------------------------------------------------------------------------


def test_where_the_tools_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert folder().path == tmp_path
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert folder().path == tmp_path / "cache" / "tritonkit" / "cluster-tools"


def test_a_part_of_another_version_is_made_anew(tools: Folder) -> None:
    tools.put("crds", "1", lambda out: write("one", out))
    assert tools.has("crds", "1")
    assert not tools.has("crds", "2")
    tools.put("crds", "2", lambda out: write("two", out))
    assert tools.has("crds", "2")
    assert (tools.crds / "file").read_text() == "two"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ToolsError])
def test_what_is_interrupted_leaves_what_was_there(tools: Folder, error: type[BaseException]) -> None:
    def interrupted(out: Path) -> None:
        write("half", out)
        raise error

    tools.put("crds", "1", lambda out: write("one", out))
    with pytest.raises(error):
        tools.put("crds", "2", interrupted)
    assert tools.has("crds", "1")
    assert [path.name for path in tools.crds.iterdir()] == ["file"]
    assert (tools.crds / "file").read_text() == "one"
    assert not (tools.path / "crds.new").exists()


def test_what_was_killed_before_its_stamp_is_made_again(tools: Folder) -> None:
    (tools.path / "crds").mkdir()
    (tools.path / "crds.new").mkdir()
    write("half", tools.path / "crds.new")
    assert not tools.has("crds", "1")
    tools.put("crds", "1", lambda out: None)
    assert list(tools.crds.iterdir()) == []


# Installing ------------------------------------------------------------------------------------------------


def test_two_at_once_install_once(monkeypatch: pytest.MonkeyPatch, tools: Folder) -> None:
    made: list[str] = []
    said: list[str] = []
    entered, waits = threading.Event(), threading.Event()

    def make(part: str, place: Folder, say: object, out: Path) -> None:
        made.append(part)
        entered.set()
        assert waits.wait(30), "the other one waits meanwhile"

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waiting for another"):
            waits.set()

    monkeypatch.setattr(install, "make", make)
    monkeypatch.setattr(install, "stamps", lambda: dict.fromkeys(install.PARTS, "1"))
    both = [threading.Thread(target=install.install, args=(tools, say)) for _ in range(2)]
    both[0].start()
    assert entered.wait(30)
    both[1].start()
    for one in both:
        one.join(30)
    assert made == list(install.PARTS)
    assert install.missing(tools) == []
    install.install(tools, pytest.fail)  # nothing is left to do or say


def test_without_go_there_is_a_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, VARIABLE: str(tmp_path / "tools"), "PATH": str(empty)}
    command = [sys.executable, "-m", "scripts.cluster_tools"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: go is not on PATH")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tools" / "bin").exists()


def test_an_old_go_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_go(monkeypatch, tmp_path, "exit 1", version="go1.19.8")
    with pytest.raises(ToolsError, match=r"is go1\.19\.8, and the cluster's tools need Go 1\.26 or later"):
        Go(print)


def test_a_build_that_fails_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: Folder
) -> None:
    fake_go(monkeypatch, tmp_path, "echo k8s.io/api >&2; echo 'main.go:1:1: no such thing' >&2; exit 1")
    with pytest.raises(ToolsError, match=r"go build failed:\nk8s\.io/api\nmain\.go:1:1: no such thing"):
        install.install(tools, print)
    assert not tools.programs.exists()
    assert "bin" in install.missing(tools)


def is_gone(pid: str) -> bool:
    """Soon: a process that was killed still has to be given a processor to end on."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_an_interrupt_ends_the_whole_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    fake_go(monkeypatch, tmp_path, f"sleep 300 & echo $$ $! > {pids}; echo k8s.io/api >&2; wait")
    monkeypatch.setattr("scripts.cluster_tools.go.SAY_EVERY_S", 0.0)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Go(interrupt).build(["./control-plane"], [], tmp_path)
    for pid in pids.read_text().split():
        assert is_gone(pid), "what it started is killed with it"


@pytest.mark.parametrize(
    "ask",
    [lambda go, out: go.build(["./control-plane"], [], out), lambda go, _out: go.download(["example.com/a@v1"])],
    ids=["build", "download"],
)
def test_a_proxy_that_never_answers_ends_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Callable[[Go, Path], object]
) -> None:
    pids = tmp_path / "pids"
    fake_go(monkeypatch, tmp_path, f"echo $$ > {pids}.new; echo asking >&2; mv {pids}.new {pids}; sleep 300")
    go = Go(print)
    monkeypatch.setattr("scripts.cluster_tools.go.ENDS_WITHIN_S", 3.0)
    with pytest.raises(ToolsError, match=r"did not end within 0 minutes.* `go env GOPROXY` names[^\n]*\nasking"):
        ask(go, tmp_path)
    assert is_gone(pids.read_text().strip())


def test_an_installation_that_hangs_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, tools: Folder
) -> None:
    monkeypatch.setattr("scripts.cluster_tools.folder.WAITS_S", 0.3)
    waited: list[int] = []
    with (
        tools.locked(pytest.fail),
        pytest.raises(ToolsError, match=r"another process has held .*/lock for 0 s: see which one"),
        tools.locked(lambda: waited.append(1)),
    ):
        pytest.fail("two have it")
    assert waited == [1]
    with tools.locked(pytest.fail):
        pass


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("dial tcp: lookup proxy.example.com: no such host", "is the proxy that `go env GOPROXY` names reachable?"),
        ("write /x: no space left on device", "the disk is full"),
        ("undefined: x", "go build failed:\nundefined: x"),
    ],
)
def test_what_stops_a_build_is_told(said: str, sentence: str) -> None:
    assert sentence in failure("build", said)


def test_every_program_is_pinned() -> None:
    pinned = (MODULE / "go.mod").read_text(encoding="utf-8")
    assert all(f"\t{package}\n" in pinned for package in install.PACKAGES if not package.startswith("./"))
    assert f"tool {install.DOCKLE}\n" in (SCANNER / "go.mod").read_text(encoding="utf-8")
    assert install.kubernetes_version().startswith("1.36.")


# Schemas ---------------------------------------------------------------------------------------------------


def test_a_schema_of_a_custom_resource_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    inner = {"type": "object", "properties": {"name": {"type": "string"}}}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {"type": "string"}}}
    port = {"type": "string", "x-kubernetes-int-or-string": True}
    listed = {"type": "array", "items": inner}
    spec = {"type": "object", "properties": {"list": listed, "free": free, "port": port, "map": {"type": "object"}}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}
    write_custom_kind({"names": {"kind": "Thing"}, "group": "example.com", "versions": [version]}, tmp_path)
    made = json.loads((tmp_path / "thing-example-v1.json").read_text())
    assert made["additionalProperties"] is False
    fields = made["properties"]["spec"]["properties"]
    assert fields["list"]["items"]["additionalProperties"] is False
    assert "additionalProperties" not in fields["free"]
    assert "additionalProperties" not in fields["map"]
    assert fields["port"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert made["properties"]["apiVersion"] == {"const": "example.com/v1"}
