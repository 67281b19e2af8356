"""The short form written out in full: three models and the flow between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator.collector import Collector, names
from generator.collector import Path as FieldPath
from generator.plan import Tensor
from generator.project import Project
from generator.resolve import steps as chains
from generator.resolve.onnx_graph import OnnxGraph, OnnxTensor
from generator.resolve.versions import read_graphs
from generator.spec import Spec
from generator.spec.base import spec_dtype, triton_dtype
from generator.spec.models import EngineModel, FlowStep, Model
from generator.spec.serving import InstanceGroup
from generator.spec.steps import ChannelsFirst, StepChoice
from generator.spec.tensors import TensorSpec


@dataclass(frozen=True)
class Expanded:
    """A pipeline in the full form. `origins` says where in the written spec each model stands."""

    models: Mapping[str, Model]
    flow: tuple[FlowStep, ...] | None
    origins: Mapping[str, FieldPath]
    graphs: Mapping[str, OnnxGraph]


def check_axes(graph: OnnxGraph, onnx: str, batched: bool, path: FieldPath, collect: Collector) -> bool:
    """Whether every tensor has an axis for Triton to declare, beside that of the batch."""
    scalars = graph.bare() if batched else [t.name for t in (*graph.inputs, *graph.outputs) if not t.dims]
    if scalars:
        found = "no axis beside that of the batch" if batched else "no axis"
        hint = "add an axis of length 1 in the graph (Unsqueeze)"
        if batched and all(t.dims for t in (*graph.inputs, *graph.outputs)):
            hint += ", or set `batching: {max_batch_size: 0}` and write `dims` with the first axis, -1"
        collect.error("TK205", path, f"`{onnx}` has {found} in {names(scalars)}; Triton wants one", hint)
    return not scalars


def tensor_of(name: str, spec: TensorSpec) -> Tensor:
    """A declared tensor as Triton sees it."""
    return Tensor(
        name, triton_dtype(spec.type), spec.shape(), spec.optional, spec.ragged, spec.format,
        None if spec.reshape is None else tuple(spec.reshape), spec.labels, spec.type == "bytes",
    )  # fmt: skip


def as_spec(tensor: Tensor) -> TensorSpec:
    """The inverse of `tensor_of`, for what was derived."""
    return TensorSpec(type=spec_dtype(tensor.dtype), dims=list(tensor.dims))


def expand(spec: Spec, project: Project, collect: Collector) -> Expanded | None:
    """The full form of `spec`; None after a problem that leaves nothing to go on with."""
    if spec.models is not None:
        graphs = {}
        for key, model in spec.models.items():
            if model.onnx is not None:
                graph = read_graphs(project, model, ("models", key, "onnx"), collect)
                if graph is not None:
                    graphs[key] = graph
        origins: dict[str, FieldPath] = {key: ("models", key) for key in spec.models}
        return Expanded(spec.models, None if spec.flow is None else tuple(spec.flow), origins, graphs)
    assert spec.model is not None  # noqa: S101  (the spec's own validator)
    graph = read_graphs(project, spec.model, ("model", "onnx"), collect)
    batched = spec.batching.max_batch_size > 0
    if graph is None or not check_axes(graph, graph.file, batched, ("model", "onnx"), collect):
        return None
    return _Short(spec, spec.model, graph, project, collect).expand()


class _Short:
    """Expands one spec of the short form."""

    def __init__(
        self, spec: Spec, engine: EngineModel, graph: OnnxGraph, project: Project, collect: Collector
    ) -> None:
        self.spec, self.engine, self.graph = spec, engine, graph
        self.project, self.collect = project, collect
        self.batched = spec.batching.max_batch_size > 0
        taken = {*spec.inputs, *spec.outputs}
        # An engine's tensor may have the name of one of the pipeline's; between the models it needs its own.
        self.between = {
            t.name: f"engine_{t.name}" if t.name in taken else t.name for t in (*graph.inputs, *graph.outputs)
        }
        self.models: dict[str, Model] = {}
        self.flow: list[FlowStep] = []

    def expand(self) -> Expanded | None:
        before = self._before()
        engine = self._engine_flow(before)
        after = self._after()
        if engine is None or not after:
            return None
        fields = {name: getattr(self.engine, name) for name in EngineModel.model_fields}
        self.models["engine"] = Model(**fields, instances=self.spec.instances)
        order: list[str] = [k for k in ("preprocess", "engine", "postprocess") if k in self.models]
        flow = tuple(sorted([*self.flow, engine], key=lambda step: order.index(step.model)))
        origins: dict[str, FieldPath] = {
            "preprocess": ("preprocess",), "engine": ("model",), "postprocess": ("postprocess",),
        }  # fmt: skip
        return Expanded({k: self.models[k] for k in order}, flow, origins, {"engine": self.graph})

    def _item(self, tensor: OnnxTensor) -> Tensor:
        return tensor.without_batch() if self.batched else tensor.whole()

    def _one(self, values: tuple[OnnxTensor, ...], word: str, path: FieldPath) -> OnnxTensor | None:
        if len(values) == 1:
            return values[0]
        self.collect.error(
            "TK219",
            path,
            f"`{path[0]}` needs an engine with one {word}; `{self.graph.file}` has {names(t.name for t in values)}",
            "write the full form (`models` and `flow`): `tritonkit render --show-plan` prints a start",
        )
        return None

    def _before(self) -> bool:
        """Adds the pre-processing model. Whether the engine reads its output (else the client's tensors)."""
        if not self.spec.preprocess:
            return False
        path: FieldPath = ("preprocess",)
        if len(self.spec.inputs) != 1:
            self.collect.error("TK219", ("inputs",), f"`preprocess` takes one input; found {names(self.spec.inputs)}",
                               "write the full form (`models` and `flow`)")  # fmt: skip
            return True
        [(name, source)] = self.spec.inputs.items()
        chain = chains.chain(self.spec.preprocess, tensor_of(name, source), self.project, path, self.collect)
        if chain is not None and chain.named:
            self._before_named(name, chain, path)
            return True
        target = self._one(self.graph.inputs, "input", path)
        if target is None or chain is None:
            return True
        wanted, steps, found = self._item(target), list(self.spec.preprocess), chain.outputs[0]
        if _fits_channels_first(found, wanted):
            steps.append(StepChoice(channels_first=ChannelsFirst()))
            found = Tensor("", found.dtype, (found.dims[2], found.dims[0], found.dims[1]))
        if (found.dtype, found.dims) != (wanted.dtype, wanted.dims) and not _dims_meet(found, wanted):
            hint = f"end with `- cast: {{to: {wanted.dtype.lower()}}}`" if found.dims == wanted.dims else ""
            self.collect.error(
                "TK204",
                path,
                f"the steps end in {found.describe()}; the engine's input `{wanted.name}` is {wanted.describe()}",
                hint,
            )
        between = self.between[wanted.name]
        self.models["preprocess"] = Model(
            steps=steps, inputs=dict(self.spec.inputs), outputs={between: as_spec(found)},
            instances=[InstanceGroup(kind="cpu")],
        )  # fmt: skip
        self.flow.append(FlowStep(model="preprocess", inputs={name: name}, outputs={between: between}))
        return True

    def _before_named(self, source: str, chain: chains.Chain, path: FieldPath) -> None:
        """Adds a pre-processing model whose last step gives several tensors: the engine's inputs by their names."""
        last = self.spec.preprocess[-1].name
        if last == "top_k":
            self.collect.error("TK206", path, "`top_k` cannot feed an engine", "use it under `postprocess`")
            return
        found = {tensor.name: tensor for tensor in chain.outputs}
        inputs = {tensor.name: self._item(tensor) for tensor in self.graph.inputs}
        if set(found) != set(inputs):
            message = f"`{last}` gives {names(found)}; the inputs of `{self.graph.file}` are {names(inputs)}"
            self.collect.error("TK204", path, message, "give them the engine's names")
            return
        for name, tensor in found.items():
            wanted = inputs[name]
            if tensor.dtype != wanted.dtype or wanted.dims not in ((-1,), tensor.dims):
                message = f"`{last}` gives {tensor.describe()} as `{name}`; the engine's is {wanted.describe()}"
                self.collect.error("TK204", path, message, "`dtype` and `buckets` of the step say what it gives")
        self.models["preprocess"] = Model(
            steps=list(self.spec.preprocess), inputs=dict(self.spec.inputs),
            outputs={name: as_spec(tensor) for name, tensor in found.items()}, instances=[InstanceGroup(kind="cpu")],
        )  # fmt: skip
        given = {name: self.between[name] for name in found}
        self.flow.append(FlowStep(model="preprocess", inputs={source: source}, outputs=given))

    def _engine_flow(self, before: bool) -> FlowStep | None:
        inputs = {t.name: self.between[t.name] for t in self.graph.inputs}
        outputs = {t.name: self.between[t.name] for t in self.graph.outputs}
        if not before:
            pairs = self._pairs(tuple(self.spec.inputs), self.graph.inputs, ("inputs",))
            if pairs is None:
                return None
            inputs = pairs
        if not self.spec.postprocess:
            pairs = self._pairs(tuple(self.spec.outputs), self.graph.outputs, ("outputs",))
            if pairs is None:
                return None
            outputs = pairs
        return FlowStep(model="engine", inputs=inputs, outputs=outputs)

    def _pairs(
        self, outside: tuple[str, ...], inside: tuple[OnnxTensor, ...], path: FieldPath
    ) -> dict[str, str] | None:
        """The engine's tensors by the pipeline's: of the same name, or the only one of each."""
        if len(outside) == len(inside) == 1:
            return {inside[0].name: outside[0]}
        if set(outside) == {t.name for t in inside}:
            return {t.name: t.name for t in inside}
        self.collect.error(
            "TK203",
            path,
            f"the pipeline's {path[0]} are {names(outside)}, the engine's {names(t.name for t in inside)}",
            "give them the engine's names, or write the full form (`models` and `flow`)",
        )
        return None

    def _after(self) -> bool:
        """Adds the post-processing model. False after a problem."""
        if not self.spec.postprocess:
            return True
        path: FieldPath = ("postprocess",)
        steps, sources = list(self.spec.postprocess), self._taken(path)
        if not sources:
            return False
        if chains.take_several(steps):
            # The spec names the engine's tensors; between the models they have names of their own.
            steps[0] = chains.renamed(steps[0], self.between)
        items = [(self.between[source.name], self._item(source)) for source in sources]
        given = [Tensor(name, item.dtype, item.dims) for name, item in items]
        chain = chains.chain(steps, given, self.project, path, self.collect)
        if chain is None:
            return False
        self.models["postprocess"] = Model(
            steps=steps, inputs={t.name: as_spec(t) for t in given}, outputs=dict(self.spec.outputs),
            instances=[InstanceGroup(kind="cpu")],
        )  # fmt: skip
        inside, outside = {t.name: t.name for t in given}, {n: n for n in self.spec.outputs}
        self.flow.append(FlowStep(model="postprocess", inputs=inside, outputs=outside))
        return True

    def _taken(self, path: FieldPath) -> tuple[OnnxTensor, ...]:
        """The engine's outputs that the post-processing takes; none after a problem."""
        wanted = chains.take_several(self.spec.postprocess)
        if not wanted:
            source = self._one(self.graph.outputs, "output", path)
            return () if source is None else (source,)
        there = {t.name: t for t in self.graph.outputs}
        if missing := [name for name in wanted if name not in there]:
            step = self.spec.postprocess[0].name
            self.collect.error(
                "TK206",
                (*path, 0, step),
                f"`{step}` takes {names(wanted)}; `{self.graph.file}` has no output {names(missing)}",
                f"it has {names(there)}",
            )
            return ()
        return tuple(there[name] for name in wanted)


def _dims_meet(a: Tensor, b: Tensor) -> bool:
    same_rank = len(a.dims) == len(b.dims)
    return (
        a.dtype == b.dtype and same_rank and all(x in (y, -1) or y == -1 for x, y in zip(a.dims, b.dims, strict=True))
    )


def _fits_channels_first(found: Tensor, wanted: Tensor) -> bool:
    """Whether [H, W, C] images meet an engine that wants [C, H, W] and nothing else differs."""
    if len(found.dims) != 3 or len(wanted.dims) != 3:
        return False
    turned = Tensor("", found.dtype, (found.dims[2], found.dims[0], found.dims[1]))
    return not _dims_meet(found, wanted) and _dims_meet(turned, wanted)
