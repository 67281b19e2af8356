"""The flags that a server needs for the engines that it is to load."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.plan import Plan
from generator.server_flags import server_flags
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project

COMPATIBLE = "--backend-config=tensorrt,version-compatible=true"
TWO = "{version_compatible: true, plugins: [plugins/a.so, plugins/b.so]}"


def opened(root: Path, target: str, **builds: str) -> Workspace:
    """One spec for each of `builds`, whose engine is built so."""
    specs = {
        name: SHORT.replace("name: small", f"name: {name}").replace("net.onnx}", f"net.onnx, build: {build}}}")
        for name, build in builds.items()
    }
    project = make_project(root, specs)
    (root / "plugins").mkdir()
    for name in ("a", "b", "c"):
        (root / "plugins" / f"{name}.so").write_bytes(b"library")
    work = open_workspace(project, target=target)
    work.stop_on_errors()
    return work


def plans(root: Path, target: str = "production", **builds: str) -> list[Plan]:
    return opened(root, target, **builds).plans[target]


@pytest.mark.parametrize(
    ("build", "flags"),
    {
        "{}": [],
        "{refit: true, hardware: ampere_plus}": [],
        "{version_compatible: true}": [COMPATIBLE],
        "{plugins: [plugins/a.so]}": ["--backend-config=tensorrt,plugins=plugins/a.so"],
        TWO: [COMPATIBLE, "--backend-config=tensorrt,plugins=plugins/a.so;plugins/b.so"],
    }.items(),
)
def test_the_flags_of_a_build(tmp_path: Path, build: str, flags: list[str]) -> None:
    assert server_flags(plans(tmp_path / "p", one=build)) == flags


def test_one_flag_has_the_plugins_of_all_pipelines(tmp_path: Path) -> None:
    both = plans(tmp_path / "p", one=TWO, two="{version_compatible: true, plugins: [plugins/c.so, plugins/a.so]}")
    libraries = "/opt/engines/plugins/a.so;/opt/engines/plugins/b.so;/opt/engines/plugins/c.so"
    assert server_flags(both, "/opt/engines/") == [COMPATIBLE, f"--backend-config=tensorrt,plugins={libraries}"]


def test_a_server_without_tensorrt_needs_none(tmp_path: Path) -> None:
    assert server_flags(plans(tmp_path / "p", "embedded", one=TWO)) == []


def test_who_renders_is_told_and_so_is_who_reads_the_configuration(tmp_path: Path) -> None:
    work = opened(tmp_path / "p", "production", one=TWO)
    notes = [(p.field, p.place.line, p.message, p.hint) for p in work.problems if p.code == "TK236"]
    assert [field for field, *_ in notes] == ["model.build.version_compatible", "model.build.plugins"]
    assert all(line == 5 for _, line, *_ in notes)
    assert COMPATIBLE in notes[0][2]
    assert "`production`" in notes[0][2]
    assert "a rendered repository does not hold them" in notes[1][3]
    [tree] = render_trees(work)
    config = " ".join(tree.files["one_engine/config.pbtxt"].decode().replace("\n#", "").split())
    assert f"The server has to be started with {COMPATIBLE}: a plan for several TensorRT versions" in config
    # Both are pasted into a shell, where `;` ends a command.
    flag = "'--backend-config=tensorrt,plugins=plugins/a.so;plugins/b.so'"
    assert f"started with {flag}: " in config
    assert f"`{flag}`" in notes[1][2]
    assert "backend-config" not in tree.files["one/config.pbtxt"].decode()
