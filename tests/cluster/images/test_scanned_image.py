"""The built image before a scanner: every finding is mended, or stands in one file with its reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker_engine import DockerEngine
from image_calls import make_image
from image_scanner import Finding, findings

from scripts.cluster_tools.folder import Folder

HERE = Path(__file__).parent


def accepted() -> list[dict[str, str]]:
    entries: list[dict[str, str]] = yaml.safe_load((HERE / "scan_accepted.yaml").read_text())
    assert all(len(entry["why"]) > 20 for entry in entries)
    return entries


def fits(finding: Finding, entry: dict[str, str]) -> bool:
    return finding[0] == entry["check"] and re.fullmatch(entry["says"], finding[1]) is not None


@pytest.fixture(scope="module")
def found(
    engine: DockerEngine, built: dict[str, Any], cluster_tools: Folder, tmp_path_factory: pytest.TempPathFactory
) -> list[Finding]:
    """Of the embedded image."""
    return findings(engine, built["image"], cluster_tools.dockle, tmp_path_factory.mktemp("scan"))


def test_no_finding_of_the_image_is_without_a_reason(found: list[Finding]) -> None:
    known = accepted()
    assert [finding for finding in found if not any(fits(finding, entry) for entry in known)] == []


def test_no_reason_is_without_a_finding(found: list[Finding]) -> None:
    assert [entry for entry in accepted() if not any(fits(finding, entry) for finding in found)] == []


def test_the_scanner_finds_what_is_wrong(engine: DockerEngine, cluster_tools: Folder, tmp_path: Path) -> None:
    """What our image must not get: a root user, a key in a variable or in a file, programs that give root away."""
    wrong = """\
FROM scratch
COPY id_rsa /root/.ssh/id_rsa
COPY credentials.json /models/digits/1/credentials.json
COPY shadow /etc/shadow
ENV REGISTRY_PASSWORD=hunter2
USER root
"""
    files = {"id_rsa": b"-----BEGIN", "credentials.json": b"{}", "shadow": b"root::19000:0:99999:7:::\n"}
    make_image(engine, "tritonkit-test-wrong:1", wrong, files)
    told = findings(engine, "tritonkit-test-wrong:1", cluster_tools.dockle, tmp_path)
    assert {"CIS-DI-0001", "CIS-DI-0006", "CIS-DI-0010", "DKL-LI-0001"} <= {check for check, _ in told}
    secrets = " ".join(says for check, says in told if check == "CIS-DI-0010")
    assert all(name in secrets for name in ("root/.ssh/id_rsa", "credentials.json", "REGISTRY_PASSWORD"))
    known = accepted()
    assert not any(fits(finding, entry) for finding in told for entry in known if finding[0] != "CIS-DI-0005")
