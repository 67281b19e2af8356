"""The server that a repository is judged for: what it knows, and what its machine has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# The releases whose fields and backends are known. Those after 26.09 were not published when this was written.
RELEASES = (
    "24.10", "24.11", "24.12", "25.01", "25.02", "25.03", "25.04", "25.05", "25.06", "25.07", "25.08", "25.09",
    "25.10", "25.11", "25.12", "26.01", "26.02", "26.03", "26.04", "26.05", "26.06", "26.07", "26.08", "26.09",
    "26.10",
)  # fmt: skip
OLDEST, NEWEST = RELEASES[0], RELEASES[-1]


class Gpu(NamedTuple):
    """A GPU as its driver names it: `NVIDIA H200`, and its compute capability, `9.0`."""

    name: str
    capability: str


@dataclass(frozen=True)
class Server:
    """What decides, besides the repository, whether a model loads.

    `release` as in `24.10` (None: the one that a rendered config names, else the newest). `backends` are those that
    it has (None: those of NVIDIA's full image). `gpus` is how many its machine has (None: not known, nothing that
    depends on it is judged), `cores` likewise. `auto_complete` is False under `--disable-auto-complete-config`;
    `config_name` is that of `--model-config-name`. `cuda_pool_bytes` is per GPU.
    `gpu` is which kind it has, as in `h200` (empty: not known). `machine` are the GPUs of the very machine that it is
    to start on (empty: it has none; None: nobody has asked).
    """

    release: str | None = None
    backends: frozenset[str] | None = None
    gpus: int | None = None
    cores: int | None = None
    auto_complete: bool = True
    config_name: str = ""
    cuda_pool_bytes: int = 64 << 20
    gpu: str = ""
    machine: tuple[Gpu, ...] | None = None


# The wheel's server as deploy/embedded starts it: a test compares this with the flags and the installation.
EMBEDDED = Server(release="24.10", backends=frozenset({"python"}), gpus=0, auto_complete=False)
