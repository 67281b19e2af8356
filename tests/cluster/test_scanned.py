"""Manifests and Dockerfiles before a scanner: every finding is mended, or stands in one file with its reason."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from scanner import scan

from deploy.tools.helm import INSTALL
from deploy.tools.process import find

pytestmark = pytest.mark.timeout(1500)  # installs the scanner the first time

HERE, CLONE = Path(__file__).parent, Path(__file__).parents[2]
CHART = CLONE / "deploy" / "charts" / "triton"
Finding = tuple[str, str]  # the check, and the kind of object that it is about


def accepted() -> dict[Finding, str]:
    entries = yaml.safe_load((HERE / "scan_accepted.yaml").read_text())
    assert all(len(entry["why"]) > 20 for entry in entries)
    return {(entry["check"], kind): entry["why"] for entry in entries for kind in entry["of"]}


def told(checks: list[dict[str, Any]]) -> dict[Finding, str]:
    """Each finding once, with a sentence for whoever reads the failure."""
    return {
        (check["check_id"], check["resource"].partition(".")[0]): (
            f"{check['check_id']} {check['check_name']}: {check['resource']} in {check['file_path']}"
        )
        for check in checks
    }


@pytest.fixture(scope="module")
def of_chart(tmp_path_factory: pytest.TempPathFactory) -> dict[Finding, str]:
    """Of the chart under every file of example values, in a namespace of its own as releases are."""
    folder, helm = tmp_path_factory.mktemp("manifests"), find("helm", INSTALL)
    examples = sorted(CHART.glob("ci/*-values.yaml"))
    assert examples
    for values in examples:
        done = subprocess.run(
            [helm, "template", "demo", CHART, "--namespace", "serving", "--values", values, "--kube-version", "1.31.0"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{values.name}: {done.stderr}"
        (folder / f"{values.stem}.yaml").write_text(done.stdout)
    return told(scan(folder, "kubernetes"))


def test_no_finding_of_the_chart_is_without_a_reason(of_chart: dict[Finding, str]) -> None:
    known = accepted()
    assert [sentence for finding, sentence in of_chart.items() if finding not in known] == []


def test_no_reason_is_without_a_finding(of_chart: dict[Finding, str]) -> None:
    assert [finding for finding in accepted() if finding not in of_chart] == []


def test_dockerfiles_have_no_finding(tmp_path: Path) -> None:
    names = ["Dockerfile", "Dockerfile.embedded", "Dockerfile.load"]
    for name in names:
        folder = tmp_path / name.lower()
        folder.mkdir()
        (folder / "Dockerfile").write_text((CLONE / "deploy" / "docker" / name).read_text())
    assert [*told(scan(tmp_path, "dockerfile")).values()] == []


def test_the_scanner_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN true\n")
    found = {check["check_id"] for check in scan(tmp_path, "dockerfile")}
    assert {"CKV_DOCKER_2", "CKV_DOCKER_3", "CKV_DOCKER_7"} <= found  # no health check, root, no tag
