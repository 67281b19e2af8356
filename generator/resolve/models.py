"""One model of the full form on one target: its program, tensors, batching, instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from generator.collector import Collector, did_you_mean, names
from generator.collector import Path as FieldPath
from generator.plan import (
    EngineProgram,
    FilesProgram,
    ModelPlan,
    Program,
    StepsProgram,
    TargetPlan,
    Tensor,
)
from generator.project import EMBEDDED, Project
from generator.resolve import steps as chains
from generator.resolve.buffered import Buffering
from generator.resolve.engines import EngineChooser
from generator.resolve.expand import check_axes, tensor_of
from generator.resolve.fused import is_fused
from generator.resolve.onnx_graph import OnnxGraph
from generator.resolve.own_class import own_class
from generator.resolve.python_model import check_labels, check_names, check_python_model
from generator.resolve.targets import dynamic, instances_on, merged_batching
from generator.resolve.versions import check_versions
from generator.resolve.warmup import check_warmup
from generator.spec import Spec, Target
from generator.spec.build import Build
from generator.spec.models import Model
from generator.spec.serving import Batching, CudaGraphs, InstanceGroup, Versions, check_ordering, check_preferred
from generator.spec.tensors import TensorSpec


class ModelResolver:
    """Resolves the models of one spec on one target."""

    def __init__(
        self, spec: Spec, changes: Target, *, target: TargetPlan, project: Project,
        graphs: Mapping[str, OnnxGraph], collect: Collector,
    ) -> None:  # fmt: skip
        self.spec, self.target, self.changes = spec, target, changes
        self.project, self.graphs, self.collect = project, graphs, collect

    def resolve(self, key: str, model: Model, origin: FieldPath) -> ModelPlan | None:
        """The ModelPlan; None after a problem that leaves no tensors to go on with."""
        batching = self._batching(model, origin)
        program: Program | None
        if model.kind == "onnx":
            program, tensors = self._engine(key, model, batching, origin)
        elif model.kind == "steps":
            program, tensors = self._steps(model, origin)
        else:
            if self._is_whole(model):
                batching = _whole_batching(model)
            program = (
                own_class(model, (*origin, "python"), self.project, self.collect)
                if model.kind == "python"
                else self._files(model, origin)
            )
            tensors = self._tensors(model)
        if program is None or tensors is None:
            return None
        name = self._name(key, model)
        check_labels(tensors[1], (*origin, "outputs"), self.project, self.collect)
        plan = ModelPlan(
            name=name, key=key, backend=self._backend(program), program=program,
            inputs=tensors[0], outputs=tensors[1],
            max_batch_size=batching.max_batch_size,
            batching=dynamic(batching),
            instances=self._instances(model, origin),
            versions=model.versions, warmup=tuple(model.warmup), response_cache=model.response_cache,
            cuda_graphs=self._cuda_graphs(model, program, origin), metrics=model.metrics,
            parameters=model.parameters, config=model.config, source=origin,
            comments=self._comments(program, model.versions),
        )  # fmt: skip
        if isinstance(program, EngineProgram) and program.engine == "inductor" and not self._is_fused:
            buffering = Buffering(
                self.target, batching, plan.instances, plan.config, where=(*origin, "engine"), collect=self.collect
            )
            plan = buffering.given(plan, model, {}, {})
        check_versions(plan, self.project, self.collect)
        if not self._is_fused:  # else it is sent to the whole pipeline, if at all
            check_warmup(plan, self.project, self.collect)
        in_buffers = isinstance(program, EngineProgram) and self._has_buffers(program.engine)
        check_python_model(plan, self.collect, holds_bf16=in_buffers and self._is_fused)
        check_names(plan, self.project, self.collect)
        return plan

    @property
    def _is_fused(self) -> bool:
        return is_fused(self.spec, self.changes)

    def _has_buffers(self, engine: str) -> bool:
        """Whether the engine runs in memory that is allocated once."""
        return engine == "inductor" or (self._is_fused and self.target.gpu is not None)

    def _name(self, key: str, model: Model) -> str:
        return model.name or (self.spec.name if self._is_pipeline(model) else f"{self.spec.name}_{key}")

    def _is_pipeline(self, model: Model) -> bool:
        """Whether the model is what clients ask for: without a flow it is the first one."""
        models = self.spec.models
        return models is not None and self.spec.flow is None and model is next(iter(models.values()))

    def _backend(self, program: Program) -> str:
        if isinstance(program, FilesProgram):
            return ""
        if self._is_fused:
            return "python"
        if isinstance(program, EngineProgram) and program.engine in self.target.backends:
            return program.engine
        return "python"

    def _batching(self, model: Model, origin: FieldPath) -> Batching:
        """The model's own, else the pipeline's with what the target changes; waiting is the engine's alone."""
        if model.batching is not None:
            self._check_batching(model.batching, (*origin, "batching"))
            return model.batching
        batching = merged_batching(self.spec.batching, self.changes.batching)
        where: FieldPath = ("targets", self.target.name, "batching") if self.changes.batching else ("batching",)
        self._check_batching(batching, where)
        self._check_queue(batching)
        if model.kind == "onnx":
            return batching
        # A batch is formed once, before the engine: other models take what is there and never wait for more.
        return batching.model_copy(update={"preferred": [], "max_queue_delay_us": 0})

    def _check_batching(self, batching: Batching, path: FieldPath) -> None:
        """What a target makes of the pipeline's batching has to fit as what is written in one place does."""
        for check in (check_preferred, check_ordering):
            try:
                check(batching)
            except ValueError as error:
                self.collect.error("TK214", path, str(error))

    def _check_queue(self, batching: Batching) -> None:
        """Seen on the embedded server: benchmarks/queue_policy.md has the figures."""
        stall_ms = 500
        objective = self.spec.objective
        if self.target.name == EMBEDDED and batching.queue and objective and objective.p99_ms < stall_ms:
            self.collect.note(
                "TK224",
                ("batching", "queue"),
                f"with a queue policy Triton {self.target.server} at times sleeps {stall_ms} ms while requests wait; "
                f"the objective is {objective.p99_ms:g} ms",
                "say `targets: {embedded: {batching: {queue: null}}}` to do without one there",
            )

    def _instances(self, model: Model, origin: FieldPath) -> tuple[InstanceGroup, ...]:
        if "instance_group" in model.config:
            return ()
        if origin == ("preprocess",) and self.target.gpu is None:
            # Cores do all the work there, and decoding is most of it: one process would leave the others idle.
            groups = self.changes.instances or self.spec.instances or []
            return (InstanceGroup(kind="cpu", count=sum(group.count for group in groups) or 1),)
        if model.kind == "onnx" and self.changes.instances is not None:
            return instances_on(
                self.changes.instances, self.target, ("targets", self.target.name, "instances"), self.collect
            )
        if model.instances is not None:
            path = (*origin, "instances") if self.spec.models is not None else ("instances",)
            return instances_on(model.instances, self.target, path, self.collect)
        if model.kind == "onnx" and self.spec.instances is not None:
            return instances_on(self.spec.instances, self.target, ("instances",), self.collect)
        if model.kind == "files":
            return ()
        return (InstanceGroup(kind="gpu" if model.kind == "onnx" and self.target.gpu else "cpu"),)

    def _engine(
        self, key: str, model: Model, batching: Batching, origin: FieldPath
    ) -> tuple[EngineProgram | None, tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None]:
        graph = self.graphs.get(key)
        if graph is None:
            return None, None
        batched = batching.max_batch_size > 0
        if batched and graph.fixed_batch():
            self.collect.error(
                "TK205",
                (*origin, "onnx"),
                f"`{graph.file}` has no batch axis of any length first in {names(graph.fixed_batch())}, "
                f"and max_batch_size is {batching.max_batch_size}",
                "export it with a dynamic first axis, or set `batching: {max_batch_size: 0}`",
            )
        inputs = tuple(t.without_batch() if batched else t.whole() for t in graph.inputs)
        outputs = tuple(t.without_batch() if batched else t.whole() for t in graph.outputs)
        if self.spec.models is not None:
            check_axes(graph, graph.file, batched, (*origin, "onnx"), self.collect)
        program = self._engine_program(model, graph, self._name(key, model), origin)
        return program, (
            self._with_declared(inputs, model.inputs, (*origin, "inputs"), graph.file),
            self._with_declared(outputs, model.outputs, (*origin, "outputs"), graph.file),
        )

    def _engine_program(self, model: Model, graph: OnnxGraph, name: str, origin: FieldPath) -> EngineProgram:
        asked = self.changes.engine or model.engine or "onnxruntime"
        precision = self.changes.precision or model.precision or "fp32"
        chooser = EngineChooser(self.target, self.project, self.collect)
        where: FieldPath = (*origin, "precision")
        if self.changes.precision is not None or self.changes.engine is not None:
            where = ("targets", self.target.name)
        choice = chooser.choose(asked, precision, graph, name, origin=origin, where=where)
        is_shared = model.buffers is not None and model.buffers.process == "shared"
        if model.buffers is not None and not self._has_buffers(choice.engine) and not (is_shared and self._is_fused):
            self.collect.note(
                "TK223", (*origin, "buffers"),
                f"`buffers` are of an engine that runs {'on a GPU ' * (not is_shared)}inside a Python model (layout "
                f"`fused`); on target `{self.target.name}` there is none",
                "on a CPU they count with `process: shared`" if self._is_fused else "",
            )  # fmt: skip
        return EngineProgram(
            choice.engine, choice.precision, graph.versions, graph.newest, asked=asked, asked_precision=precision,
            build=model.build or Build(), accuracy=model.accuracy,
        )  # fmt: skip

    def _with_declared(
        self, found: tuple[Tensor, ...], declared: Mapping[str, TensorSpec], path: FieldPath, what: str
    ) -> tuple[Tensor, ...]:
        """What the model has, with the extras that the spec declares; a contradiction is a problem."""
        by_name = {t.name: t for t in found}
        for name, spec in declared.items():
            tensor = tensor_of(name, spec)
            if name not in by_name:
                self.collect.error(
                    "TK203", (*path, name), f"`{what}` has no tensor `{name}` there; it has {names(by_name)}",
                    did_you_mean(name, by_name),
                )  # fmt: skip
            elif (tensor.dtype, tensor.dims) != (by_name[name].dtype, by_name[name].dims):
                self.collect.error(
                    "TK207",
                    (*path, name),
                    f"`{name}` is declared {tensor.describe()}; `{what}` has {by_name[name].describe()}",
                )
            else:
                by_name[name] = tensor
        return tuple(by_name.values())

    def _steps(
        self, model: Model, origin: FieldPath
    ) -> tuple[StepsProgram | None, tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None]:
        path = (*origin, "steps") if self.spec.models is not None else origin
        if len(model.inputs) != 1 and not chains.take_several(model.steps or []):
            self.collect.error(
                "TK219", (*origin, "inputs"), f"`steps` take one input; found {names(model.inputs)}",
                "use a `python` class for several",
            )  # fmt: skip
            return None, None
        sources = _declared(model.inputs)
        chain = chains.chain(model.steps or [], sources, self.project, path, self.collect)
        if chain is None:
            return None, None
        outputs = chain.outputs
        where = (*origin, "outputs") if self.spec.models is not None else ("outputs",)
        if not chain.named:
            if len(model.outputs) > 1:
                self.collect.error("TK207", where, f"the steps give one tensor; declared are {names(model.outputs)}")
                return None, None
            outputs = (replace(outputs[0], name=next(iter(model.outputs), "output")),)
        elif model.outputs and set(model.outputs) != {t.name for t in outputs}:
            self.collect.error(
                "TK207",
                where,
                f"the steps give {names(t.name for t in outputs)}; declared are {names(model.outputs)}",
                "name them alike; `top_k` takes `label_output` and `score_output`",
            )
            return None, None
        outputs = self._with_declared(outputs, model.outputs, where, "the last step")
        return StepsProgram(chain.json, chain.file), (sources, outputs)

    def _tensors(self, model: Model) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """As declared; a copied model that is the pipeline may leave them to the pipeline."""
        inherits = model.kind == "files" and self._is_pipeline(model)
        inputs = model.inputs or (self.spec.inputs if inherits else {})
        return _declared(inputs), _declared(model.outputs or (self.spec.outputs if inherits else {}))

    def _is_whole(self, model: Model) -> bool:
        """Whether nothing but `config` says what a copied model is."""
        return model.kind == "files" and not any(self._tensors(model))

    def _files(self, model: Model, origin: FieldPath) -> FilesProgram | None:
        directory = model.files or ""
        if not self.project.path(directory).is_dir():
            self.collect.error("TK201", (*origin, "files"), f"there is no directory `{directory}`")
            return None
        if not {"backend", "platform"} & set(model.config):
            self.collect.error(
                "TK223", origin, "a model of `files` has to say what runs it", "add `config: {backend: NAME}`"
            )
        whole = self._is_whole(model)
        for field in sorted(model.model_fields_set - {"files", "config", "name"}) if whole else ():
            self.collect.error(
                "TK223",
                (*origin, field),
                f"a model without `inputs` and `outputs` says all in `config`; found `{field}`",
                "declare its tensors, or say it in Triton's own words under `config`",
            )
        return FilesProgram(directory, whole)

    def _cuda_graphs(self, model: Model, program: Program, origin: FieldPath) -> CudaGraphs | None:
        if model.cuda_graphs is None:
            return None
        if isinstance(program, FilesProgram) or self._backend(program) == "tensorrt":
            return model.cuda_graphs
        message = f"CUDA graphs are TensorRT's; on target `{self.target.name}` the model does not run there"
        if model.kind == "onnx":
            self.collect.note("TK223", (*origin, "cuda_graphs"), message)
        else:
            self.collect.error("TK223", (*origin, "cuda_graphs"), message, "remove it")
        return None

    def _comments(self, program: Program, versions: Versions | None) -> tuple[str, ...]:
        if isinstance(program, EngineProgram):
            runs = f"Runs {_files(program)} in ONNX Runtime."
            if program.engine == "tensorrt":
                made_for = f"in {program.precision}, built for {self.target.gpu}"
                verb = "Serves" if self._backend(program) == "tensorrt" else "Runs"
                runs = f"{verb} the TensorRT plan of {_files(program)} {made_for}."
            elif program.engine == "inductor":
                runs = f"Runs what Inductor compiled of {_files(program)} in {program.precision}."
            elif program.is_built:
                runs = f"Runs what was built of {_files(program)} in {program.precision}, in ONNX Runtime."
            if len(program.versions) > 1 and versions is None:
                return (runs, f"The spec says no `versions`, so Triton serves the newest alone: {program.newest}.")
            return (runs,)
        if isinstance(program, StepsProgram):
            return ("Steps: " + " -> ".join(name for name, _ in program.steps) + ".",)
        return ()


def _whole_batching(model: Model) -> Batching:
    """What sizes count on where `config` alone says what the model is; it says nothing of it to Triton."""
    size = model.config.get("max_batch_size")
    return Batching(max_batch_size=min(size, 65536) if isinstance(size, int) and size > 0 else 0, dynamic=False)


def _declared(tensors: Mapping[str, TensorSpec]) -> tuple[Tensor, ...]:
    return tuple(tensor_of(name, spec) for name, spec in tensors.items())


def _files(program: EngineProgram) -> str:
    """The ONNX files in words, with their versions where there are several."""
    if len(program.versions) == 1:
        return program.versions[0].onnx
    return ", ".join(f"{version.onnx} (version {version.number})" for version in program.versions)
