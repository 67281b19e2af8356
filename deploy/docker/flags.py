"""The server's command line in an image: the same that the chart gives it, from the same values.

A test renders the chart and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.operations.releases import HISTOGRAMS_SINCE, has_flag
from deploy.values.check import merged

CHART = Path(__file__).parents[1] / "charts" / "triton"
KEY = "TRITON_RESTRICTED_KEY"
"""The environment variable of the key; `$(…)` of it in a flag is replaced by Kubernetes or by the image's `start`."""

Values = Mapping[str, Any]


def with_defaults(values: Values) -> dict[str, Any]:
    """The chart's values with these in them, as Helm merges them: key by key, lists and null as they are."""
    return merged(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), values)


def arguments(values: Values) -> list[str]:
    """What stands behind `tritonserver`, of whole values (`with_defaults`)."""
    server, release = values["server"], values["image"]["release"]
    flags = [
        f"--model-repository={values['modelRepository']['path']}",
        f"--model-control-mode={server['modelControlMode']}",
        *(f"--load-model={name}" for name in server["loadModels"]),
        f"--model-load-thread-count={server['modelLoadThreads']}",
        "--strict-readiness=true",
        "--exit-on-error=true",
        "--disable-auto-complete-config",
        f"--http-port={values['ports']['http']}",
        f"--http-thread-count={server['httpThreads']}",
    ]
    if has_flag(release, "--http-max-input-size"):
        flags.append(f"--http-max-input-size={server['maxHttpInputBytes']}")
    if has_flag(release, "--allow-client-shm"):
        flags.append("--allow-client-shm=false")
    flags += [
        f"--grpc-port={values['ports']['grpc']}",
        f"--grpc-infer-allocation-pool-size={server['grpcInferPool']}",
    ]
    if server["grpcMaxConnectionAgeMs"]:
        flags += [
            f"--grpc-max-connection-age={server['grpcMaxConnectionAgeMs']}",
            f"--grpc-max-connection-age-grace={server['grpcMaxConnectionAgeGraceMs']}",
        ]
    flags += [
        "--allow-metrics=true",
        f"--metrics-port={values['ports']['metrics']}",
        f"--allow-gpu-metrics={'true' if values['gpu']['count'] > 0 else 'false'}",
        "--allow-cpu-metrics=false",
    ]
    if server["histogramLatencies"] and release >= HISTOGRAMS_SINCE:
        flags.append("--metrics-config=histogram_latencies=true")
    flags += ["--allow-sagemaker=false", "--allow-vertex-ai=false"]
    restricted = values["restrictedApis"]
    if restricted["enabled"]:
        rule = f"{','.join(restricted['apis'])}:{restricted['header']}=$({KEY})"
        flags += [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]
    flags += [f"--exit-timeout-secs={values['drain']['exitTimeoutSeconds']}", f"--log-verbose={server['logVerbose']}"]
    return [*flags, *server["extraFlags"]]
