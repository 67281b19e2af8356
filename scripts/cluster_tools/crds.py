"""The definitions of the custom resources that the chart makes, from the modules of the projects they belong to."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.cluster_tools.go import Go

# module@version -> the definitions in it
SOURCES = {
    "github.com/kedacore/keda/v2@v2.21.0": [
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ],
    "sigs.k8s.io/gateway-api@v1.6.3": [
        "config/crd/standard/gateway.networking.k8s.io_gatewayclasses.yaml",
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
    ],
}


def stamp() -> str:
    """What the definitions are made of."""
    return "\n".join(line for module, files in SOURCES.items() for line in (module, *files))


def copy_definitions(go: Go, out: Path) -> None:
    """Copies every definition to `out`. Raises ToolsError where a module cannot be had."""
    for module, source in go.download(list(SOURCES)).items():
        for name in SOURCES[module]:
            shutil.copyfile(source / name, out / Path(name).name)  # without the cache's read-only mode
