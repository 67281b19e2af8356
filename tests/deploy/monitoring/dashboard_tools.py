"""The dashboards as Grafana reads them, and their queries as Prometheus gets them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chart_tools import CHART, NAMESPACE, RELEASE

FILES = sorted((CHART / "dashboards").glob("*.json"))
VARIABLES = {"namespace": NAMESPACE, "release": RELEASE, "pipeline": "digits", "__rate_interval": "5m"}


def dashboard(file: Path) -> dict[str, Any]:
    """One dashboard."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def drawn(file: Path) -> list[dict[str, Any]]:
    """Its panels without the rows' titles."""
    return [panel for panel in dashboard(file)["panels"] if panel["type"] != "row"]


def asked(text: str, **variables: str) -> str:
    """A query with its variables put in; `variables` stand for those of the tests' release."""
    for name, value in {**VARIABLES, **variables}.items():
        text = text.replace(f"${name}", value)
    return text


def queries(**variables: str) -> Iterator[tuple[str, str, str]]:
    """Panel, legend and query of all that is drawn."""
    for file in FILES:
        for panel in drawn(file):
            for target in panel["targets"]:
                yield panel["title"], target["legendFormat"], asked(target["expr"], **variables)


def choices() -> Mapping[str, str]:
    """By variable, the selector whose labels it offers."""
    variables = [variable for file in FILES for variable in dashboard(file)["templating"]["list"]]
    return {v["name"]: v["query"]["query"] for v in variables if v["type"] == "query"}
