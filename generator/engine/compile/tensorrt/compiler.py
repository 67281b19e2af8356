"""The compiler of TensorRT plans: what a build asks for, and what becomes of it in the worker's process."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Compiled, Progress, Settings
from generator.engine.compile.tensorrt.apart import Worker, job_folder, probe
from generator.engine.compile.tensorrt.worker import write_batches
from generator.engine.errors import Finding, StageError

_RESOURCE = re.compile(r"libnvinfer_builder_resource[\w.]*")
_NODE = re.compile(r"node (\d+):")
_MOST_ERRORS = 8


class TensorRT:
    """Builds plans with the TensorRT of `python`'s environment; the Compiler of `engine: tensorrt`.

    `int8_by` says how an int8 graph without Q/DQ finds its ranges on 8.6: "cache" (Settings.ranges as a calibration
    cache), "dynamic_range" (the same, tensor by tensor) or "batches" (TensorRT calibrates with `batches`, all of one
    shape). `seconds` is what the last build took inside of TensorRT.
    """

    name = "tensorrt"

    def __init__(
        self, *, python: str = sys.executable, limit_s: float = 3600.0, int8_by: str = "cache",
        batches: Sequence[Mapping[str, Any]] = (),
    ) -> None:  # fmt: skip
        self._python, self._limit_s = python, limit_s
        self._int8_by, self._batches = int8_by, batches
        self._facts: dict[str, Any] | None = None
        self.seconds = 0.0
        self.calibration_cache = b""

    def probe(self) -> dict[str, Any]:
        """What is here, asked once: see `apart.probe`."""
        if self._facts is None:
            self._facts = probe(self._python)
        return self._facts

    @property
    def precision_in_graph(self) -> bool:
        """Whether fp16 and bf16 are casts in the graph (10 and later), and not flags of the builder (8.6)."""
        return bool(self.probe().get("strongly_typed", True))

    def missing(self) -> str:
        """Why no plan can be built here, in one sentence; empty if one can."""
        reason = str(self.probe().get("reason", ""))
        return f"TensorRT cannot build here: {reason}" if reason else ""

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        """A plan. Raises StageError with everything that TensorRT has against graph or settings."""
        worker = Worker(self._python, self._limit_s)
        with job_folder() as folder:
            (folder / "graph.onnx").write_bytes(graph)
            (folder / "job.json").write_text(json.dumps(self._job(settings)))
            if settings.timing_cache:
                (folder / "timing.cache").write_bytes(settings.timing_cache)
            if self._batches:
                write_batches(folder / "calibration.npz", list(self._batches))
            try:
                answer = worker.job("build", folder, progress)
            except StageError as error:
                raise StageError(
                    [_explained(finding, worker.errors(), graph) for finding in error.findings]
                ) from None
            return self._compiled(folder, answer)

    def _job(self, settings: Settings) -> dict[str, Any]:
        data = asdict(settings)
        del data["timing_cache"]
        return {"settings": data, "int8_by": self._int8_by}

    def _compiled(self, folder: Path, answer: Mapping[str, Any]) -> Compiled:
        self.seconds = float(answer["seconds"])
        self.calibration_cache = (folder / "calibration.cache").read_bytes()
        return Compiled(
            file="model.plan",
            data=(folder / "model.plan").read_bytes(),
            facts=answer["facts"],
            timing_cache=(folder / "timing.cache").read_bytes(),
        )


def _explained(finding: Finding, errors: list[str], graph: bytes) -> Finding:
    """The finding with what the log adds: why no plan came, or which node a number stands for."""
    if finding.code == "TK951":
        return _with_node(finding, graph)
    if finding.code != "TK955":
        return finding
    missing = next((match[0].rstrip(".") for match in map(_RESOURCE.search, errors) if match), "")
    if missing:
        return Finding(
            "TK956",
            f"{finding.message}: this installation has no {missing}, without which it runs plans but builds none",
            "install the whole TensorRT, or build with trtexec in a container of the server's release",
            "engine",
        )
    said = "; ".join(errors[:_MOST_ERRORS]) or "its log says nothing"
    return Finding("TK955", f"{finding.message}: {said}", _remedy(said), "engine")


def _remedy(said: str) -> str:
    if "memory" in said.lower():
        return "lower `build.workspace_mib` or the largest shapes, or free memory of the GPU"
    return "lower `build.optimization_level`, or take another precision; the message names the layer"


def _with_node(finding: Finding, graph: bytes) -> Finding:
    """8.6's parser says a node's number alone: name and operator are the graph's, where onnx is there to read it."""
    match = _NODE.search(finding.message)
    if match is None:
        return finding
    try:
        import onnx

        node = onnx.load_model_from_string(graph).graph.node[int(match[1])]
    except Exception:  # noqa: BLE001 — a name less is no reason to lose the finding
        return finding
    named = f"node {match[1]} ({node.op_type} {node.name!r}):"
    return Finding(finding.code, finding.message.replace(match[0], named, 1), finding.hint, finding.about)
