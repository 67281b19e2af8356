"""The command line of the embedded tritonserver 2.51, built from a few numbers that the plan decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.embedded.ports import LOOPBACK, Ports
from deploy.operations.drain import UNBOUNDED_MS, exit_timeout_s

KEY_HEADER = "tritonkit-key"
"""The HTTP header that opens the restricted APIs; gRPC wants it with the prefix `triton-grpc-protocol-`."""

RESTRICTED_APIS = ("shared-memory", "model-config", "model-repository", "statistics", "trace", "logging")
KNOWN_APIS = (*RESTRICTED_APIS, "health", "metadata", "inference")

MIN_SHM_BYTES = 1 << 20
"""The smallest region the server takes for a Python instance (its own message speaks of 4 MiB)."""


def http_headers(key: str) -> dict[str, str]:
    """The headers of an HTTP request that may use the restricted APIs."""
    return {KEY_HEADER: key}


def grpc_headers(key: str) -> dict[str, str]:
    """The metadata of a gRPC call that may use the restricted protocols."""
    return {f"triton-grpc-protocol-{KEY_HEADER}": key}


# GPU -> bytes; a number alone is of each GPU.
PerGpu = int | Mapping[int, int]


def on_gpu(sizes: PerGpu, gpu: int) -> int:
    """Those of one GPU; 0 where nothing is said of it."""
    return sizes if isinstance(sizes, int) else sizes.get(gpu, 0)


@dataclass(frozen=True)
class ServerNeeds:
    """What a model repository needs from its server. Sizes in bytes, times in milliseconds.

    `python_instances` counts all instances of Python models, `most_instances_of_a_model` those of the
    model with the most (0: as many as there are). `shm_default_bytes` and `shm_growth_bytes` are per
    instance, `shm_full_bytes` is what all of them grow to with full batches. The CUDA pools are per GPU of `gpus`
    (device numbers; empty: no GPU is used), the pinned pool is one for the server. `cuda_pool_needed_bytes` and
    `pinned_pool_needed_bytes` are what the pipelines need of them, which a server that is to start has at least.
    `longest_request_ms` is how long a request may take from its arrival, queueing included.
    Raises ValueError for values that the server would refuse.
    """

    python_instances: int = 1
    most_instances_of_a_model: int = 0
    shm_default_bytes: int = MIN_SHM_BYTES
    shm_growth_bytes: int = MIN_SHM_BYTES
    shm_full_bytes: int = 0
    http_threads: int = 8
    grpc_infer_pool: int = 8
    gpus: tuple[int, ...] = ()
    cuda_memory_pool_bytes: PerGpu = 0
    pinned_pool_bytes: int = 0
    cuda_pool_needed_bytes: PerGpu = 0
    pinned_pool_needed_bytes: int = 0
    response_cache_bytes: int = 0
    load_threads: int = 4
    longest_request_ms: float = UNBOUNDED_MS
    control_mode: Literal["none", "explicit"] = "none"
    load_models: tuple[str, ...] = ()
    restricted_apis: tuple[str, ...] = RESTRICTED_APIS
    log_verbose: int = 0

    def __post_init__(self) -> None:
        for name in ("shm_default_bytes", "shm_growth_bytes"):
            if getattr(self, name) < MIN_SHM_BYTES:
                raise ValueError(f"{name} is {getattr(self, name)}, the server wants at least {MIN_SHM_BYTES}")
        unknown = sorted(set(self.restricted_apis) - set(KNOWN_APIS))
        if unknown:
            raise ValueError(f"unknown API {unknown[0]!r} in restricted_apis; valid: {', '.join(KNOWN_APIS)}")
        if self.load_models and self.control_mode != "explicit":
            raise ValueError("load_models needs control_mode 'explicit': in mode 'none' every model is loaded")

    @property
    def shm_bytes(self) -> int:
        """Shared memory that the instances take at start; each may grow by `shm_growth_bytes` at a time."""
        return self.python_instances * self.shm_default_bytes

    @property
    def exit_timeout_s(self) -> int:
        """How long a stopping server may take: the longest request, then unloading, then a second of margin."""
        return exit_timeout_s(self.longest_request_ms, self.most_instances_of_a_model or self.python_instances)


@dataclass(frozen=True)
class ServerFlags:
    """Everything a command line says. `key` opens the restricted APIs, `shm_prefix` names the segments."""

    needs: ServerNeeds
    repositories: tuple[Path, ...]
    backend_directory: Path
    cache_directory: Path
    ports: Ports
    shm_prefix: str
    key: str

    def arguments(self) -> list[str]:
        """The arguments after the program's name."""
        return [
            *self._models(),
            *self._services(),
            *self._restricted(),
            *self._memory(),
            f"--exit-timeout-secs={self.needs.exit_timeout_s}",
            f"--log-verbose={self.needs.log_verbose}",
        ]

    def _models(self) -> list[str]:
        return [
            *(f"--model-repository={path}" for path in self.repositories),
            f"--model-control-mode={self.needs.control_mode}",
            *(f"--load-model={name}" for name in self.needs.load_models),
            f"--model-load-thread-count={self.needs.load_threads}",
            f"--backend-directory={self.backend_directory}",
            "--strict-readiness=true",
            "--exit-on-error=true",
            "--disable-auto-complete-config",
        ]

    def _services(self) -> list[str]:
        gpu_metrics = "true" if self.needs.gpus else "false"
        return [
            f"--http-address={LOOPBACK}",
            f"--http-port={self.ports.http}",
            f"--http-thread-count={self.needs.http_threads}",
            f"--grpc-address={LOOPBACK}",
            f"--grpc-port={self.ports.grpc}",
            f"--grpc-infer-allocation-pool-size={self.needs.grpc_infer_pool}",
            "--allow-metrics=true",
            f"--metrics-address={LOOPBACK}",
            f"--metrics-port={self.ports.metrics}",
            f"--allow-gpu-metrics={gpu_metrics}",
            # The poller of these gauges holds up the exit for a whole interval, and they describe the machine.
            "--allow-cpu-metrics=false",
            "--metrics-interval-ms=500",
            "--allow-sagemaker=false",
            "--allow-vertex-ai=false",
        ]

    def _restricted(self) -> list[str]:
        apis = ",".join(self.needs.restricted_apis)
        if not apis:
            return []
        rule = f"{apis}:{KEY_HEADER}={self.key}"
        return [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]

    def _memory(self) -> list[str]:
        needs = self.needs
        python = {
            "shm-region-prefix-name": self.shm_prefix,
            "shm-default-byte-size": needs.shm_default_bytes,
            "shm-growth-byte-size": needs.shm_growth_bytes,
        }
        cache = [
            f"--cache-config=local,size={needs.response_cache_bytes}",
            f"--cache-directory={self.cache_directory}",
        ]
        return [
            *(f"--backend-config=python,{name}={value}" for name, value in python.items()),
            f"--pinned-memory-pool-byte-size={needs.pinned_pool_bytes}",
            *(
                f"--cuda-memory-pool-byte-size={gpu}:{on_gpu(needs.cuda_memory_pool_bytes, gpu)}"
                for gpu in needs.gpus
            ),
            *(cache if needs.response_cache_bytes else []),
        ]
