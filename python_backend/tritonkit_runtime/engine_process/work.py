"""What an engine process runs, and the address at which instances of one server find it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.parameters import TensorSpec

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.wanted import Wanted


@dataclass(frozen=True)
class Work:
    """An engine and how it is loaded; the fields are those of `buffered.loading.load`. A `kernel` makes one input."""

    model: str
    engine: str
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    buckets: tuple[int, ...]
    gpu: int | None
    batched: bool
    threads: int
    slots: int
    kernel: Wanted | None = None

    def text(self) -> str:
        """As JSON, for the command line of the process."""
        return json.dumps({
            "model": self.model, "engine": self.engine, "path": str(self.path), "inputs": wire.shown(self.inputs),
            "outputs": wire.shown(self.outputs), "buckets": self.buckets, "gpu": self.gpu, "batched": self.batched,
            "threads": self.threads, "slots": self.slots,
            "kernel": None if self.kernel is None else self.kernel.shown(),
        })  # fmt: skip

    @classmethod
    def of(cls, text: str) -> Work:
        """From the command line."""
        fields = json.loads(text)
        inputs, outputs = (
            tuple(TensorSpec(one["name"], one["dtype"], tuple(one["dims"])) for one in fields.pop(side))
            for side in ("inputs", "outputs")
        )
        path, buckets = Path(fields.pop("path")), tuple(fields.pop("buckets"))
        kernel: Wanted | None = None
        if (said := fields.pop("kernel")) is not None:
            # Models that carry the runtime have this part of it where they need it alone.
            from tritonkit_runtime.preprocess.wanted import Wanted

            kernel = Wanted.of(said)
        return cls(**fields, path=path, inputs=inputs, outputs=outputs, buckets=buckets, kernel=kernel)

    @property
    def about(self) -> str:
        """`model photos on GPU 0`, for messages."""
        return f"model {self.model} on {'the CPU' if self.gpu is None else f'GPU {self.gpu}'}"

    def address(self) -> str:
        """A name without a file, which is gone with the process; of this server and this very work alone.

        The number of a process is its own only within its namespace and its time, so both are part of the name. A
        model file that was replaced is another, so that after a reload nobody is given the old engine.
        """
        server = os.getppid()
        found = self.path.stat()
        file = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        parts: Sequence[object] = (
            self.text(), os.getuid(), server, _began(server), Path("/proc/self/ns/pid").stat().st_ino, file
        )  # fmt: skip
        return "\0tritonkit-engine-" + hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _began(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where that cannot be read."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
