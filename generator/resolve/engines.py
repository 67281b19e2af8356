"""Which engine runs a model on a target, and in which precision."""

from __future__ import annotations

from typing import Literal, NamedTuple

from generator.collector import Collector
from generator.collector import Path as FieldPath
from generator.engine.install.store import installed
from generator.plan import TargetPlan
from generator.project import Project
from generator.resolve.onnx_graph import OnnxGraph
from generator.spec.base import Engine, Precision

# What ONNX Runtime can be given a graph of; on the CPU it has too few kernels for bf16.
ON_ANY, ON_GPU = frozenset({"fp32", "fp16", "int8"}), frozenset({"bf16"})
# What Inductor can be given a module of.
OF_INDUCTOR, OF_INDUCTOR_ON_GPU = frozenset({"fp32", "fp16", "bf16"}), frozenset({"tf32"})


class Choice(NamedTuple):
    """What runs the model, in which precision."""

    engine: Literal["onnxruntime", "tensorrt", "inductor"]
    precision: str


class EngineChooser:
    """Decides for the models of one target."""

    def __init__(self, target: TargetPlan, project: Project, collect: Collector) -> None:
        self.target, self.project, self.collect = target, project, collect

    def choose(
        self, asked: Engine, precision: Precision, graph: OnnxGraph, name: str, *,
        origin: FieldPath, where: FieldPath,
    ) -> Choice:  # fmt: skip
        """The engine of model `name`. `where` is what the spec says of its precision here."""
        if asked == "auto":
            return self._measured(precision, graph, name, origin)
        if asked == "tensorrt" and not self._has_tensorrt():
            self.collect.note(
                "TK216",
                (*origin, "engine"),
                f"target `{self.target.name}` cannot run TensorRT: `{graph.file}` runs in ONNX Runtime, fp32, there",
                "say `gpu` for a target that has one",
            )
            return Choice("onnxruntime", "fp32")
        if asked != "tensorrt":
            self._check_precision(asked, precision, where)
        return Choice(asked, precision)

    def _has_tensorrt(self) -> bool:
        return "tensorrt" in self.target.backends and self.target.gpu is not None

    def _check_precision(self, asked: Literal["onnxruntime", "inductor"], precision: str, where: FieldPath) -> None:
        on_any, on_gpu = (ON_ANY, ON_GPU) if asked == "onnxruntime" else (OF_INDUCTOR, OF_INDUCTOR_ON_GPU)
        valid = on_any | on_gpu if self.target.gpu is not None else on_any
        if precision not in valid:
            listed = ", ".join(f"`{word}`" for word in ("fp32", "tf32", "fp16", "bf16", "int8") if word in valid)
            place = "with a GPU" if self.target.gpu is not None else "on the CPU"
            name = "ONNX Runtime" if asked == "onnxruntime" else "Inductor"
            self.collect.error(
                "TK221",
                where,
                f"{name} does not run {precision} {place}; it runs {listed}",
                "use one of those, or `engine: tensorrt`",
            )

    def _measured(self, precision: str, graph: OnnxGraph, name: str, origin: FieldPath) -> Choice:
        """What was the fastest when it was measured; ONNX Runtime, as the file is, until then."""
        found = {
            (there.engine, there.precision)
            for version in graph.versions
            if (there := installed(self.project, self.target.name, name, version.number)) is not None
        }
        if len(found) == 1:
            [(engine, served)] = found
            if engine == "onnxruntime":
                return Choice("onnxruntime", served)
            if engine == "inductor":
                return Choice("inductor", served)
            if engine == "tensorrt" and self._has_tensorrt():
                return Choice("tensorrt", served)
        self.collect.note(
            "TK235",
            (*origin, "engine"),
            f"`auto` has not been measured on target `{self.target.name}`: `{graph.file}` runs in ONNX Runtime, fp32",
            f"`tritonkit build --target {self.target.name}` measures every engine there is"
            + (f", up to {precision}" if precision != "fp32" else ""),
        )
        return Choice("onnxruntime", "fp32")
