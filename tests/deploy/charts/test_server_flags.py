"""Flags of tritonserver: none is invented, and each stands only where the release has it."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import triton_chart as chart
import yaml

from deploy.embedded import flags as embedded
from deploy.embedded.installation import Installation
from deploy.embedded.ports import Ports
from deploy.operations import releases
from generator.config.since import OLDEST

OLD: dict[str, Any] = {"release": "24.10", "allowVulnerable": True}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"server": {"modelControlMode": "explicit", "loadModels": ["digits", "photos"]}},
    {"restrictedApis": {"enabled": False}},
    {"gpu": {"count": 0}},
    {"server": {"grpcMaxConnectionAgeMs": 0}},
    {"server": {"histogramLatencies": False, "logVerbose": 2}},
]


def names(values: chart.Values) -> set[str]:
    """The names of the flags, with their dashes."""
    return {word.partition("=")[0] for word in chart.server(values)["args"]}


@cache
def help_of_the_embedded_server() -> dict[str, str]:
    """Every flag of the real tritonserver 2.51, and the kind of its value ("" where it takes none)."""
    server = Installation.find()
    done = subprocess.run(
        [str(server.binary), "--help"],
        env=server.variables(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.findall(r"^  (--[a-z0-9-]+)(?: <(.*)>)?$", done.stdout + done.stderr, flags=re.MULTILINE)
    assert len(found) > 60, done.stderr
    return dict(found)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_an_old_server_knows_every_flag_that_it_gets(variant: dict[str, Any]) -> None:
    known = help_of_the_embedded_server()
    for word in chart.server(chart.merged(variant, {"image": OLD}))["args"]:
        name, equals, value = word.partition("=")
        assert name in known
        assert bool(equals) == bool(known[name]), f"{name} takes {known[name] or 'no value'}"
        if known[name] == "integer":
            assert re.fullmatch(r"[0-9]+", value), word
        if known[name] == "boolean":
            assert value in ("true", "false"), word


@pytest.mark.parametrize(("flag", "since"), releases.FLAGS_SINCE.items())
def test_a_flag_stands_from_its_release_on(flag: str, since: str) -> None:
    year, month = map(int, since.split("."))
    before = f"{year}.{month - 1:02}" if month > 1 else f"{year - 1}.12"
    assert flag in names({"image": {"release": since}})
    assert flag not in names({"image": {"release": before, "allowVulnerable": True}})


def test_what_new_servers_get_beyond_an_old_one_is_known_with_its_release() -> None:
    newer = set().union(*(names(variant) for variant in VARIANTS)) - help_of_the_embedded_server().keys()
    assert newer == set(releases.FLAGS_SINCE)


@pytest.mark.parametrize(
    ("release", "has_them"), [("25.12", False), (releases.HISTOGRAMS_SINCE, True), ("26.07", True)]
)
def test_histograms_of_every_model_from_the_release_that_has_them(release: str, has_them: bool) -> None:
    assert (
        "--metrics-config=histogram_latencies=true" in chart.server({"image": {"release": release}})["args"]
    ) is has_them


def test_histograms_that_are_not_wanted() -> None:
    assert "--metrics-config" not in names({"server": {"histogramLatencies": False}})


def test_every_flag_of_the_chart_is_kept_from_being_said_twice() -> None:
    template = (chart.CHART / "templates" / "_server.tpl").read_text(encoding="utf-8")
    [block] = re.findall(r'define "triton.flagOwners" -}}\n(.*?){{- end', template, flags=re.DOTALL)
    owned = {f"--{name}" for name in yaml.safe_load(block)}
    used = set().union(*(names(variant) for variant in VARIANTS))
    assert used - {"--metrics-config"} <= owned  # it may be repeated, for other settings
    schema_paths = {path for path in yaml.safe_load(block).values() if path}
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
    for path in schema_paths:
        values = defaults
        for step in path.split("."):
            values = values[step]


def test_numbers_of_the_values_are_the_numbers_of_the_flags() -> None:
    values = {
        "server": {
            "httpThreads": 12, "grpcInferPool": 34, "modelLoadThreads": 5, "maxHttpInputBytes": 2_000_000_000,
            "grpcMaxConnectionAgeMs": 50_000, "grpcMaxConnectionAgeGraceMs": 20_000, "logVerbose": 1,
            "extraFlags": ["--pinned-memory-pool-byte-size=1"],
        },
        "ports": {"http": 9000, "grpc": 9001, "metrics": 9002},
        "service": {"grpc": {"port": 9001}},
        "drain": {"exitTimeoutSeconds": 44, "preStopSeconds": 100},
        "modelRepository": {"path": "/srv/models"},
    }  # fmt: skip
    words = chart.server(values)["args"]
    for expected in (
        "--http-thread-count=12", "--grpc-infer-allocation-pool-size=34", "--model-load-thread-count=5",
        "--http-max-input-size=2000000000", "--grpc-max-connection-age=50000", "--grpc-max-connection-age-grace=20000",
        "--log-verbose=1", "--http-port=9000", "--grpc-port=9001", "--metrics-port=9002", "--exit-timeout-secs=44",
        "--model-repository=/srv/models",
    ):  # fmt: skip
        assert words.count(expected) == 1, expected
    assert words[-1] == "--pinned-memory-pool-byte-size=1"


def test_the_embedded_server_and_a_pod_agree_on_what_is_fixed() -> None:
    """What is tried on a laptop holds on a cluster: readiness, errors at the start, complete configurations."""
    needs = embedded.ServerNeeds()
    local = embedded.ServerFlags(
        needs, (Path("/models"),), Path("/b"), Path("/c"), Ports(1, 2, 3), "p", "k"
    ).arguments()
    fixed = {word for word in local if word.partition("=")[2] in ("", "true", "false")}
    pod = set(chart.server({"gpu": {"count": 0}})["args"])
    assert fixed <= pod
    assert embedded.KEY_HEADER == "tritonkit-key"


def test_every_api_that_can_be_restricted_is_one_of_tritons() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
    apis = schema["properties"]["restrictedApis"]["properties"]["apis"]["items"]["enum"]
    assert set(apis) == set(embedded.KNOWN_APIS) - {"health"}


def test_known_holes_are_those_that_the_tool_knows() -> None:
    template = (chart.CHART / "templates" / "_releases.tpl").read_text(encoding="utf-8")
    [block] = re.findall(r'define "triton.holes" -}}\n(.*?){{- end', template, flags=re.DOTALL)
    listed = {cve: f"{clear // 100}.{clear % 100:02}" for cve, clear in yaml.safe_load(block).items()}
    assert listed == {hole.cve: hole.clear_from for hole in releases.HOLES}


def test_the_oldest_release_is_the_one_that_the_tool_supports_and_that_was_looked_at() -> None:
    template = (chart.CHART / "templates" / "_releases.tpl").read_text(encoding="utf-8")
    [oldest] = re.findall(r'define "triton.oldestRelease" -}}([0-9]+)', template)
    assert oldest == OLDEST.replace(".", "") == OLD["release"].replace(".", "")


def test_flags_with_a_release_are_those_that_the_tool_knows() -> None:
    template = (chart.CHART / "templates" / "_releases.tpl").read_text(encoding="utf-8")
    [block] = re.findall(r'define "triton.flagsSince" -}}\n(.*?){{- end', template, flags=re.DOTALL)
    assert {f"--{name}": since for name, since in yaml.safe_load(block).items()} == releases.FLAGS_SINCE


def test_the_default_release_has_no_known_hole_and_is_the_charts() -> None:
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert defaults["image"]["release"] == about["appVersion"] == releases.SOUND
    assert releases.holes_of(defaults["image"]["release"]) == ()
