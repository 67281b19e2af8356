"""The files of docker compose: read by the tools that will read them, and the same rules as the chart's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose.files import PORTS, PROMETHEUS, Images, differences, files_of, rules, write
from deploy.docker.request import Request, prepare
from deploy.tools.helm import Helm
from deploy.tools.process import find
from generator.problems import ProblemsError, UserError
from generator.project import Project

CLONE = Path(__file__).parents[3]
IMAGES = Images("tritonkit/digits:embedded", "tritonkit/digits-load:embedded")


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    root = tmp_path_factory.mktemp("project")
    (root / "specs").mkdir()
    shutil.copy(CLONE / "specs" / "digits.yaml", root / "specs")
    for name in ("models", "data", "steps"):
        (root / name).symlink_to(CLONE / name)
    return prepare(Project(root), [root / "specs" / "digits.yaml"], target=None, embedded=True)


@pytest.fixture(scope="module")
def files(request_: Request) -> dict[str, str]:
    return files_of(request_, IMAGES, Helm.found())


@pytest.fixture
def services(files: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files["compose.yaml"])["services"]
    return found


def test_prometheus_takes_its_configuration_and_the_rules(files: dict[str, str], tmp_path: Path) -> None:
    write(files, tmp_path)
    promtool = find("promtool", "apt-get install prometheus")
    done = subprocess.run([promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_the_rules_are_the_charts_for_what_is_scraped(files: dict[str, str], request_: Request) -> None:
    groups = yaml.safe_load(files["rules.yml"])["groups"]
    assert groups == rules(request_.values, Helm.found())
    expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    [scrape] = yaml.safe_load(files["prometheus.yml"])["scrape_configs"]
    labels = scrape["static_configs"][0]["labels"]
    selector = f'namespace="{labels["namespace"]}",release="{labels["release"]}"'
    assert any(f"nv_inference_request_success{{{selector}" in expression for expression in expressions)
    assert scrape["static_configs"][0]["targets"] == ["server:8002"]


def test_only_this_machine_reaches_them(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_ports_may_be_others(services: dict[str, Any], files: dict[str, str]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == [f"127.0.0.1:${{{variable}:-{port}}}:{port}" for variable, port in PORTS.items()]
    head = files["compose.yaml"].partition("services:")[0]
    assert all(f"{variable}={port}" in head for variable, port in PORTS.items())


def test_no_service_may_do_more_than_its_work(services: dict[str, Any]) -> None:
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_numbers_are_those_of_the_plan(services: dict[str, Any], request_: Request) -> None:
    drain = request_.values["drain"]
    server = services["server"]
    assert server["shm_size"] == request_.values["sharedMemoryBytes"]
    assert server["stop_grace_period"] == f"{drain['exitTimeoutSeconds'] + drain['marginSeconds']}s"
    assert server["environment"] == {"TRITON_RESTRICTED_KEY": "${TRITON_RESTRICTED_KEY:-}"}
    assert {name: service["image"] for name, service in services.items()} == {
        "server": IMAGES.server, "prometheus": PROMETHEUS, "load": IMAGES.load,
    }  # fmt: skip


def test_what_is_written_is_checked(files: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert differences(files, folder) == list(files)
    assert write(files, folder) == list(files)
    assert write(files, folder) == []
    (folder / "rules.yml").write_text(files["rules.yml"] + "# mine\n")
    assert differences(files, folder) == ["rules.yml"]
    assert write(files, folder) == ["rules.yml"]


def test_files_of_others_stay(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    with pytest.raises(ProblemsError) as error:
        write(files, tmp_path)
    assert error.value.problems[0].code == "TK473"
    assert [path.name for path in tmp_path.iterdir()] == ["prometheus.yml"]


@pytest.mark.parametrize("content", [b"\x7fELF\xff\xfe\x00", b"# Written by hand, in Latin-1: \xe9\n", None])
def test_files_of_others_need_not_be_text(files: dict[str, str], tmp_path: Path, content: bytes | None) -> None:
    foreign = tmp_path / "compose.yaml"
    foreign.mkdir() if content is None else foreign.write_bytes(content)
    with pytest.raises(ProblemsError) as error:
        write(files, tmp_path)
    [problem] = error.value.problems
    assert problem.code == "TK473"
    assert f"`{foreign}` was not written by tritonkit" in problem.message
    assert [path.name for path in tmp_path.iterdir()] == ["compose.yaml"]


@pytest.mark.parametrize("kind", ["dangling link", "link to others' file", "pipe"])
def test_what_is_no_file_of_ours_is_neither_opened_nor_written(
    files: dict[str, str], tmp_path: Path, kind: str
) -> None:
    folder, place = tmp_path / "out", tmp_path / "out" / "rules.yml"
    folder.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "elsewhere.yml")
    if kind == "link to others' file":
        (tmp_path / "elsewhere.yml").write_text("mine: 1\n")
    assert differences(files, folder) == list(files)
    with pytest.raises(ProblemsError) as error:
        write(files, folder)
    assert error.value.problems[0].code == "TK473"
    assert str(place) in error.value.problems[0].message
    assert [path.name for path in folder.iterdir()] == ["rules.yml"]
    assert [path.name for path in tmp_path.iterdir() if path != folder] == (
        ["elsewhere.yml"] if kind == "link to others' file" else []
    )


def test_a_link_to_a_file_of_ours_stays_one(files: dict[str, str], tmp_path: Path) -> None:
    write(files, tmp_path)
    place = tmp_path / "rules.yml"
    place.rename(tmp_path / "real.yml")
    place.symlink_to("real.yml")
    (tmp_path / "real.yml").write_text(files["rules.yml"] + "# mine\n")
    assert write(files, tmp_path) == ["rules.yml"]
    assert place.is_symlink()
    assert (tmp_path / "real.yml").read_text() == files["rules.yml"]


@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_all_are_written_or_none(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, *, was_there: bool
) -> None:
    folder = tmp_path / "out"
    if was_there:
        write(files, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if was_there else {}
    really = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == "new" and target.name == "rules.yml":
            raise failure
        return really(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(type(failure)):
        write({name: f"{text}# newer\n" for name, text in files.items()}, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_helm_that_prints_no_yaml(request_: Request, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\ncat >/dev/null\nprintf 'kind: ['\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match="what `helm` printed is no YAML"):
        files_of(request_, Images("a", "b"), Helm(program))
