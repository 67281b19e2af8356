"""Plan -> Report: the way of every tensor of a request, from the client and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from generator.copies.hops import Hop, Place, Report, Sizes
from generator.copies.inside import Pixels, gets_a_copy, is_shared, is_staged_as_it_comes, pixels_of, stages_of
from generator.copies.rules import RULES
from generator.elements import ELEMENT_BYTES
from generator.instances import ON_A_GPU, groups_of
from generator.plan import EngineProgram, EnsemblePlan, EnsembleStep, FlowProgram, ModelPlan, Plan, Tensor
from generator.problems import UserError
from generator.resolve.direct import leaves_on_gpu, takes_from_gpu

Protocol = Literal["grpc", "http", "system-shm", "cuda-shm"]
_SHM: dict[Protocol, Place] = {"system-shm": "client's shm", "cuda-shm": "client's GPU"}
_COPY = {"grpc": 2, "http": 1}  # what a front end copies a tensor on each way
_TOGETHER = "merged-out"  # once for all instances whose batches run as one; everything else is for each of them


def copies_of(plan: Plan, protocol: Protocol, sizes: Sizes) -> Report:
    """Every hop of one execution of the pipeline, whose requests all run in the same batches; with several instances
    those of all executions whose batches an engine process runs as one.

    Models beside each other, without a flow, are reported one after the other, each as called by a client. UserError
    for several instances where no engine process can run their batches as one.
    """
    if sizes.instances > 1:
        _check_instances(plan, sizes)
    tracer = _Tracer(plan, protocol, sizes)
    hops: list[Hop] = []
    unknown: list[str] = []
    if plan.ensemble is not None:
        hops += tracer.ensemble(plan.ensemble)
        callers: list[EnsemblePlan | ModelPlan] = [plan.ensemble]
    else:
        callers = list(plan.models)
        for model in plan.models:
            hops += tracer.alone(model)
    for model in plan.models:
        if tracer.kind(model) == "unknown":
            unknown.append(f"what backend of `{model.name}` copies is not known here")
        elif _keeps_gpu_inputs(model) and not takes_from_gpu(model):
            unknown.append(f"`{model.name}` takes inputs where they are: on a GPU they may not be copied to the host")
    least_bytes, least_copies = _least(plan, protocol, tracer, callers)
    assumed = {text: None for text in map(sizes.assumption, tracer.met.values()) if text}
    return Report(
        plan.name, plan.target.name, protocol, sizes, tuple(hops), least_bytes, least_copies, tuple(assumed),
        tuple(unknown),
    )  # fmt: skip


def _check_instances(plan: Plan, sizes: Sizes) -> None:
    instances, items = sizes.instances, sizes.items * sizes.requests
    shared = [engine for engine in plan.engines() if is_shared(engine.part)]
    if not shared:
        raise UserError(
            f"batches of {instances} instances of `{plan.name}` are not run as one: no engine of it is shared on "
            f"target `{plan.target.name}`", "say `process: shared` in its `buffers`, or ask for one instance",
        )  # fmt: skip
    for model, part, _ in shared:
        if (there := model.instance_count()) < instances:
            raise UserError(
                f"`{model.name}` has {there} instances, and not {instances}", "ask for fewer, or add some"
            )
        if (most := part.largest_run) < instances * items:
            raise UserError(
                f"{instances} x {items} items are more than the engine process of `{model.name}` runs as one: its "
                f"`buckets` end at {most}", "ask for fewer instances or items, or let the buckets end later",
            )  # fmt: skip


Kind = Literal["stub", "native", "gpu", "unknown"]


class _Tracer:
    """Makes hops, and remembers the tensors that it met and where the ensemble's lie."""

    def __init__(self, plan: Plan, protocol: Protocol, sizes: Sizes) -> None:
        self.plan, self.protocol, self.sizes = plan, protocol, sizes
        self.by_name = {model.name: model for model in plan.models}
        self.met: dict[str, Tensor] = {}
        self.lies: dict[str, Place] = {}

    def kind(self, model: ModelPlan) -> Kind:
        """What runs it."""
        backend = str(model.backend or model.config.get("backend") or model.config.get("platform") or "")
        if backend == "python":
            return "stub"
        if backend == "onnxruntime" or backend.startswith("tensorrt"):
            return "gpu" if self.on_gpu(model) or backend != "onnxruntime" else "native"
        return "unknown"

    def on_gpu(self, model: ModelPlan) -> bool:
        """Whether its instances are on a GPU."""
        groups = groups_of(model.instances, model.config)
        return self.plan.target.gpu is not None and any(group.kind in ON_A_GPU for group in groups)

    def hop(self, tensor: Tensor, model: ModelPlan | EnsemblePlan | None, name: str, way: tuple[Place, Place],
            rule: str, *, copies: bool = True, waits: bool = False) -> Hop:  # fmt: skip
        """A hop of a tensor, that is called `name` by its reader."""
        owner = model or self.plan.ensemble or self.plan.models[0]
        batched = owner.max_batch_size > 0
        self.met.setdefault(tensor.name, tensor)
        sizes, times = self.sizes, self.sizes.instances
        if rule == _TOGETHER:
            sizes, times = replace(sizes, requests=sizes.requests * times), 1
        size = times * sizes.size_bytes(tensor, batched=batched) if copies else 0
        shape = sizes.shape(tensor, batched=batched)
        by = RULES[rule].by or (model.backend if model is not None and isinstance(model, ModelPlan) else "")
        return Hop(name, model.name if model else "", tensor.dtype, shape, *way, by, size, rule, waits, times)

    # Client and front end ------------------------------------------------------------------------------

    def arrive(self, tensor: Tensor) -> Iterator[Hop]:
        """An input from the client to where models read it."""
        if self.protocol == "http":
            yield self.hop(tensor, None, tensor.name, ("socket", "server"), "http-in")
        elif self.protocol == "grpc":
            yield self.hop(tensor, None, tensor.name, ("socket", "server"), "grpc-in")
            yield self.hop(tensor, None, tensor.name, ("server", "server"), "grpc-parse")
        else:
            place = _SHM[self.protocol]
            rule = "shm-in" if self.protocol == "system-shm" else "cuda-shm-in"
            yield self.hop(tensor, None, tensor.name, (place, place), rule, copies=False)
        self.lies[tensor.name] = _SHM.get(self.protocol, "server")

    def leave(self, tensor: Tensor) -> Iterator[Hop]:
        """An output from the response to the client."""
        if self.protocol == "http":
            yield self.hop(tensor, None, tensor.name, ("server", "socket"), "http-out")
        elif self.protocol == "grpc":
            yield self.hop(tensor, None, tensor.name, ("server", "server"), "grpc-serialise")
            yield self.hop(tensor, None, tensor.name, ("server", "socket"), "grpc-out")
        else:
            place = _SHM[self.protocol]
            rule = "shm-out" if self.protocol == "system-shm" else "cuda-shm-out"
            yield self.hop(tensor, None, tensor.name, (place, place), rule, copies=False)

    # Pipelines -----------------------------------------------------------------------------------------

    def ensemble(self, ensemble: EnsemblePlan) -> Iterator[Hop]:
        """All steps, in order."""
        for tensor in ensemble.inputs:
            yield from self.arrive(tensor)
        answers = {tensor.name for tensor in ensemble.outputs}
        for step in ensemble.steps:
            yield from self.step(step, answers)
        for tensor in ensemble.outputs:
            yield from self.leave(tensor)

    def alone(self, model: ModelPlan) -> Iterator[Hop]:
        """A model that a client calls by itself."""
        for tensor in model.inputs:
            yield from self.arrive(tensor)
        own = {tensor.name: tensor.name for tensor in (*model.inputs, *model.outputs)}
        yield from self.run(model, own, own, set(own))
        for tensor in model.outputs:
            yield from self.leave(tensor)

    def step(self, step: EnsembleStep, answers: set[str]) -> Iterator[Hop]:
        """A step of the ensemble; what an earlier one made is handed over first."""
        model = self.by_name[step.model]
        sent = {tensor.name for tensor in self.plan.inputs}
        for tensor in model.inputs:
            name = step.inputs.get(tensor.name)
            if name is not None and name not in sent:
                place = self.lies.get(name, "server")
                rule = "hand-over-gpu" if place == "GPU" else "hand-over"
                yield self.hop(tensor, model, name, (place, place), rule, copies=False)
        yield from self.run(model, step.inputs, step.outputs, answers)

    def run(
        self, model: ModelPlan, inputs: Mapping[str, str], outputs: Mapping[str, str], answers: set[str]
    ) -> Iterator[Hop]:
        """Into the model, through it, and out to where its outputs lie then."""
        kind = self.kind(model)
        for tensor in model.inputs:
            if tensor.name in inputs:
                yield from self.into(model, tensor, inputs[tensor.name], kind)
        if kind == "stub":
            yield from self.inside(model)
        for tensor in model.outputs:
            if tensor.name in outputs:
                yield from self.out_of(model, tensor, outputs[tensor.name], kind, answers)

    def into(self, model: ModelPlan, tensor: Tensor, name: str, kind: Kind) -> Iterator[Hop]:
        """An input from where it lies to where the program reads it."""
        lies = self.lies.get(name, "server")
        on_gpu = lies in ("GPU", "client's GPU")
        several = self.sizes.requests > 1 and model.max_batch_size > 0
        if kind == "stub" and on_gpu and takes_from_gpu(model):
            # No region of a client gets to the stub itself: the backend puts each tensor of each request there.
            yield self.hop(tensor, model, name, (lies, "GPU"), "pool-in", waits=True)
            yield self.hop(tensor, model, name, ("GPU", "GPU"), "gpu-in")
        elif kind == "stub":
            rule = "stub-from-gpu" if on_gpu else "stub-in"
            yield self.hop(tensor, model, name, (lies, "stub's shm"), rule, waits=on_gpu)
            unpack = "as-numpy" if tensor.dtype in ELEMENT_BYTES else "text-in"
            yield self.hop(tensor, model, name, ("stub's shm", "process"), unpack)
            if several and not (self._in_buffers(model, tensor.name) and is_staged_as_it_comes(model, tensor.name)):
                yield self.hop(
                    tensor, model, name, ("process", "process"), "concatenate",
                    copies=tensor.dtype in ELEMENT_BYTES,  # of texts it is the references
                )  # fmt: skip
        elif kind == "gpu" and not on_gpu:
            yield self.hop(tensor, model, name, (lies, "pinned"), "pinned-in")
            yield self.hop(tensor, model, name, ("pinned", "GPU"), "to-gpu", waits=tensor is model.inputs[0])
        elif kind != "unknown":
            rule = "gather" if several else "native"
            yield self.hop(tensor, model, name, (lies, lies), rule, copies=several)

    def _in_buffers(self, model: ModelPlan, name: str) -> bool:
        """Whether the engines that take a model's input have buffers to put each request's rows in."""
        takers = [stage.model for stage in stages_of(model) if name in stage.inputs.values()] or [model]
        return self.on_gpu(model) or all(map(is_shared, takers))

    def inside(self, model: ModelPlan) -> Iterator[Hop]:
        """Between the stages of a process, and between it and a GPU."""
        if not isinstance(model.program, FlowProgram):
            if is_shared(model):
                yield from self._shared(model, model, {}, {}, {})
            elif isinstance(model.program, EngineProgram) and self.on_gpu(model):
                yield from self._gpu(model, model, {}, {}, {})
            return
        stages = model.program.stages
        sent = {tensor.name for tensor in model.inputs}
        for stage in stages:
            if is_shared(stage.model):
                pixels = pixels_of(model, stage.model)
                yield from self._shared(model, stage.model, stage.inputs, stage.outputs, pixels)
                continue
            if isinstance(stage.model.program, EngineProgram) and self.on_gpu(model):
                yield from self._gpu(model, stage.model, stage.inputs, stage.outputs, pixels_of(model, stage.model))
                continue
            for tensor in stage.model.inputs:
                name = stage.inputs.get(tensor.name)
                if name is None:
                    continue
                if gets_a_copy(stage, name, stages, model):
                    yield self.hop(tensor, model, name, ("process", "process"), "own-copy")
                elif name not in sent:
                    yield self.hop(tensor, model, name, ("process", "process"), "in-process", copies=False)

    def _gpu(
        self, model: ModelPlan, part: ModelPlan, inputs: Mapping[str, str], outputs: Mapping[str, str],
        pixels: Mapping[str, Pixels],
    ) -> Iterator[Hop]:  # fmt: skip
        """An engine on the GPU of a Python process: through pinned memory in and out, and the host waits once.

        `pixels`: what comes in place of an input that a kernel makes there. Files that the GPU decodes are JPEGs all.
        """
        for tensor in part.inputs:
            name = inputs.get(tensor.name, tensor.name)
            if takes_from_gpu(model) and self.lies.get(name, "server") in ("GPU", "client's GPU"):
                continue  # it is there already
            copied = pixels[tensor.name].decoded if tensor.name in pixels else tensor
            if tensor.name in pixels and (file := pixels[tensor.name].file) is not None:
                yield self.hop(file, model, name, ("process", "GPU"), "file-in")
                yield self.hop(copied, model, name, ("GPU", "GPU"), "decoded", copies=False)
            else:
                yield self.hop(copied, model, name, ("process", "pinned"), "staged-in")
                yield self.hop(copied, model, name, ("pinned", "GPU"), "buffer-in")
            if tensor.name in pixels:
                yield self.hop(tensor, model, name, ("GPU", "GPU"), "kernel", copies=False)
        for i, tensor in enumerate(part.outputs):
            name = outputs.get(tensor.name, tensor.name)
            if leaves_on_gpu(model):
                yield self.hop(tensor, model, name, ("GPU", "GPU"), "gpu-left", copies=False, waits=i == 0)
                continue
            yield self.hop(tensor, model, name, ("GPU", "pinned"), "buffer-out", waits=i == 0)
            yield self.hop(tensor, model, name, ("pinned", "process"), "staged-out")

    def _shared(
        self, model: ModelPlan, part: ModelPlan, inputs: Mapping[str, str], outputs: Mapping[str, str],
        pixels: Mapping[str, Pixels],
    ) -> Iterator[Hop]:  # fmt: skip
        """An engine in a process that all instances share: through memory that both see, in and out. That process
        waits for the GPU once, for all batches that it has put together. `pixels` as above.
        """
        on_gpu = self.on_gpu(model)
        merged: Place = "pinned" if on_gpu else "engine process"
        for tensor in part.inputs:
            name = inputs.get(tensor.name, tensor.name)
            if tensor.name in pixels:
                yield from self._handed_over(tensor, model, name, pixels[tensor.name])
                continue
            yield self.hop(tensor, model, name, ("process", "engine's shm"), "shared-in")
            if on_gpu:
                yield self.hop(tensor, model, name, ("engine's shm", "GPU"), "shared-to-gpu")
            else:
                yield self.hop(tensor, model, name, ("engine's shm", "engine process"), "merged-in")
        for i, tensor in enumerate(part.outputs):
            name = outputs.get(tensor.name, tensor.name)
            if on_gpu:
                yield self.hop(tensor, model, name, ("GPU", "pinned"), "merged-out", waits=i == 0)
            yield self.hop(tensor, model, name, (merged, "engine's shm"), "rows-out")
            yield self.hop(tensor, model, name, ("engine's shm", "process"), "shared-out")

    def _handed_over(self, tensor: Tensor, model: ModelPlan, name: str, pixels: Pixels) -> Iterator[Hop]:
        """Images of which a kernel in the engine's process makes its input: decoded there, or before."""
        yield self.hop(pixels.crosses, model, name, ("process", "engine's shm"), "shared-in")
        if pixels.file is not None:
            yield self.hop(pixels.file, model, name, ("engine's shm", "engine process"), "file-taken")
            yield self.hop(pixels.file, model, name, ("engine process", "GPU"), "file-in")
            yield self.hop(pixels.decoded, model, name, ("GPU", "GPU"), "decoded", copies=False)
        else:
            yield self.hop(pixels.decoded, model, name, ("engine's shm", "GPU"), "shared-to-gpu")
        yield self.hop(tensor, model, name, ("GPU", "GPU"), "kernel", copies=False)

    def out_of(self, model: ModelPlan, tensor: Tensor, name: str, kind: Kind, answers: set[str]) -> Iterator[Hop]:
        """An output from the program to where the next one, or the client, finds it."""
        response: Place = _SHM.get(self.protocol, "server") if name in answers else "server"
        first = tensor is model.outputs[0]  # the host waits once for all of them
        if kind == "stub" and leaves_on_gpu(model) and response == "client's GPU":
            yield self.hop(tensor, model, name, ("GPU", "GPU"), "stub-from-engine", waits=True)
            yield self.hop(tensor, model, name, ("GPU", response), "respond-from-pool", waits=first)
        elif kind == "stub" and leaves_on_gpu(model):
            yield self.hop(tensor, model, name, ("GPU", "stub's shm"), "stub-from-engine", waits=True)
            yield self.hop(tensor, model, name, ("stub's shm", response), "respond")
        elif kind == "stub":
            yield self.hop(tensor, model, name, ("process", "stub's shm"), "stub-out")
            waits = first and response == "client's GPU"
            yield self.hop(tensor, model, name, ("stub's shm", response), "respond", waits=waits)
        elif kind == "gpu" and (name not in answers or response == "client's GPU"):
            response = "GPU" if name not in answers else response
            yield self.hop(tensor, model, name, ("GPU", response), "on-gpu", waits=first)
        elif kind == "gpu":
            yield self.hop(tensor, model, name, ("GPU", response), "from-gpu", waits=first)
        elif kind == "native":
            yield self.hop(tensor, model, name, ("server", response), "native-out")
        self.lies[name] = response


def _keeps_gpu_inputs(model: ModelPlan) -> bool:
    return model.parameters.get("FORCE_CPU_ONLY_INPUT_TENSORS") == "no"


def _least(
    plan: Plan, protocol: Protocol, tracer: _Tracer, callers: list[EnsemblePlan | ModelPlan]
) -> tuple[int, int]:
    """Each tensor of the client over the socket once, an engine's tensors to the GPU and back once; no other copy.
    What comes back of a batch of several instances is one copy.
    """
    found: list[tuple[int, int]] = []  # bytes of a tensor, and in how many copies
    sizes, instances = tracer.sizes, tracer.sizes.instances

    def add(owner: EnsemblePlan | ModelPlan, tensors: Iterable[Tensor], times: int) -> None:
        batched = owner.max_batch_size > 0
        found.extend((instances * sizes.size_bytes(tensor, batched=batched), times) for tensor in tensors)

    for caller in callers if protocol in _COPY else ():
        add(caller, (*caller.inputs, *caller.outputs), instances)
    for engine in plan.engines() if protocol != "cuda-shm" else ():
        if tracer.kind(engine.model) == "gpu" or tracer.on_gpu(engine.model):
            pixels = pixels_of(engine.model, engine.part)
            add(
                engine.model,
                (pixels[t.name].crosses if t.name in pixels else t for t in engine.part.inputs),
                instances,
            )
            add(engine.model, engine.part.outputs, 1 if is_shared(engine.part) else instances)
    return sum(size for size, _ in found), sum(times for _, times in found)
