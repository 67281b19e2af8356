"""Engines that run in memory which is allocated once, so that every size must be known.

Those of a fused pipeline on a GPU, or in a process that its instances share, and what Inductor compiled wherever it
runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from generator.collector import Collector, Path
from generator.instances import ON_A_GPU
from generator.plan import EngineBuffers, EngineProgram, ModelPlan, TargetPlan, Tensor
from generator.project import EMBEDDED
from generator.resolve.shared_process import check_lengths, fitting, instances_in, sizes_together
from generator.spec.models import Model
from generator.spec.serving import Batching, Buffers, InstanceGroup

# What the server's Python has to have for each engine.
_PACKAGES = {
    "tensorrt": "`tensorrt` (of the version that builds the plan)",
    "onnxruntime": "`onnxruntime-gpu`",
    "inductor": "`torch` (of the version that compiles); for what `torch.compile` made, `onnx`, `onnx2torch` and a "
    "C++ compiler too",
}


class Buffering:
    """Gives engines their buffers. `where` is where the spec says the layout, or the engine where that is a model of
    its own; `instances` and `config` say where the instances run, in the spec's words or in Triton's.
    """

    def __init__(
        self, target: TargetPlan, batching: Batching, instances: Sequence[InstanceGroup], config: Mapping[str, Any],
        *, where: Path, collect: Collector,
    ) -> None:  # fmt: skip
        self.target, self.batching = target, batching
        self.instances = instances_in(instances, config, has_gpu=target.gpu is not None)
        self.placed = self.instances.kinds
        self.where, self.collect = where, collect
        self._ensemble = f"say `targets: {{{target.name}: {{layout: ensemble}}}}`"

    def given(
        self, model: ModelPlan, written: Model, fed: Mapping[str, Tensor], texts: Mapping[str, tuple[int, ...]]
    ) -> ModelPlan:
        """The model with buffers, if it is an engine that has them. `fed`: input -> the tensor that it is given;
        `texts`: input -> the lengths that the tokens there are padded to.

        Problems are collected.
        """
        program = model.program
        if not isinstance(program, EngineProgram):
            return model
        on_gpu = self.target.gpu is not None and bool(self.placed & ON_A_GPU)
        if self._needs_gpu(program) and self.placed - ON_A_GPU:
            what = "the TensorRT plan" if program.engine == "tensorrt" else "what Inductor compiles"
            self.collect.error(
                "TK229", self.where,
                f"{what} of `{model.key}` runs in Python instances, which need a GPU for it on target "
                f"`{self.target.name}`; found `kind: {min(self.placed - ON_A_GPU)}`",
                f"say `instances: [{{kind: gpu}}]`, or {self._instead(program)}",
            )  # fmt: skip
            return model
        said = written.buffers or Buffers()
        is_shared = said.process == "shared"
        if is_shared:
            said = fitting(model, said, self.instances, self.target.name, self.collect)
        if not on_gpu and self.target.gpu is not None and said.decode == "gpu":
            self.collect.error(
                "TK243", (*model.source, "buffers", "decode"),
                f"`decode: gpu` of `{model.key}` has no effect: no instance is on a GPU",
                "say `instances: [{kind: gpu}]`, or `decode: auto`",
            )  # fmt: skip
        if not on_gpu and program.engine != "inductor" and not is_shared:
            return model
        if on_gpu and self.placed - ON_A_GPU and said.preprocess == "gpu":
            self.collect.error(
                "TK239", (*model.source, "buffers", "preprocess"),
                f"with `preprocess: gpu` of `{model.key}` no instance loads that is not on a GPU; found "
                f"`kind: {min(self.placed - ON_A_GPU)}`",
                "say `kind: gpu` of all instances, or `preprocess: auto`",
            )  # fmt: skip
        if program.engine == "tensorrt" and program.build.plugins:
            self.collect.error(
                "TK229", (*model.source, "build", "plugins"),
                "layout `fused` runs the plan in the Python model, which loads no plugin libraries of yours",
                self._ensemble,
            )  # fmt: skip
        lengths = {tensor.name: fed[tensor.name].dims for tensor in model.inputs if _narrows(tensor, fed)}
        is_open = {t.name for t in model.inputs if -1 in lengths.get(t.name, t.dims)}
        opened = self._open_lengths(model, said, is_open, texts)
        has_lengths = bool(opened)
        if is_shared and is_open:
            check_lengths(model, said, opened, is_open, self.collect)
            has_lengths = True  # once is enough
        self._check(model, lengths, has_lengths=has_lengths, is_shared=is_shared)
        if not on_gpu:  # memory of the host alone, which nothing is copied to or from
            said = Buffers(buckets=said.buckets, slots=said.slots, process=said.process)
        buffers = replace(
            self._sizes(model, said, lengths), open_lengths=opened, inputs=said.inputs, outputs=said.outputs,
            decode=said.decode, process=said.process,
        )  # fmt: skip
        if self.target.name != EMBEDDED:  # whose Python is the one that builds
            self.collect.note(
                "TK238", self.where,
                f"on target `{self.target.name}`, the server's Python runs the engine{' on the GPU' * on_gpu}: "
                f"beside what the steps need it has to have `numpy` and {_PACKAGES[program.engine]}",
                "put them into the image, or name an environment that has them: "
                "`parameters: {EXECUTION_ENV_PATH: …}`",
            )  # fmt: skip
        sizes = ", ".join(map(str, buffers.buckets))
        where = "On a GPU it" if program.engine != "inductor" and not is_shared else "It"
        line = f"{where} is ready for batches of {sizes}; others are padded to the next."
        if buffers.open_lengths:
            line += f" So are lengths, to {', '.join(map(str, buffers.open_lengths))}."
        lines = [line]
        if is_shared:
            lines.append("One process has it for all instances on a GPU, and one for those on the CPU.")
            # One session does what each instance's own did on a core of its own.
            program = replace(program, intra_op_threads=max(program.intra_op_threads, self.instances.on_cpu))
        return replace(model, program=replace(program, buffers=buffers), comments=(*model.comments, *lines))

    def _needs_gpu(self, program: EngineProgram) -> bool:
        """Inductor compiles for the GPU of a target that has one."""
        return program.engine == "tensorrt" or (program.engine == "inductor" and self.target.gpu is not None)

    def _instead(self, program: EngineProgram) -> str:
        """What needs no such buffers."""
        return "say `engine: onnxruntime`" if program.engine == "inductor" else self._ensemble

    def _open_lengths(
        self, model: ModelPlan, said: Buffers, is_open: Set[str], texts: Mapping[str, tuple[int, ...]]
    ) -> tuple[int, ...]:
        """The lengths that the open axis is made ready for: the spec's own, else those of the texts that come in.

        `is_open`: the inputs that have one.
        """
        if not is_open:
            if said.lengths:
                self.collect.error(
                    "TK223", (*model.source, "buffers", "lengths"),
                    f"no input of `{model.key}` has an axis of any length beside the batch's, for `lengths` to be of",
                    "remove it",
                )  # fmt: skip
            return ()
        given = {length for name in is_open for length in texts.get(name, ())}
        found = tuple(sorted(said.lengths or given))
        if said.lengths and given and (longest := max(given)) > found[-1]:
            self.collect.error(
                "TK237", (*model.source, "buffers", "lengths"),
                f"`lengths` {list(found)} end at {found[-1]}, and `tokenize` gives `{model.key}` texts of {longest}: "
                "there is no memory for them",
                "let them end at the last bucket of `tokenize`, or leave them out",
            )  # fmt: skip
        self._check_axes(model, found)
        return found

    def _check_axes(self, model: ModelPlan, found: Sequence[int]) -> None:
        """A plan runs the lengths alone that it was built for."""
        program = model.program
        if not isinstance(program, EngineProgram) or program.engine != "tensorrt" or program.build.profiles:
            return
        for axis, (least, _, most) in program.build.axes.items():
            if outside := [length for length in found if not least <= length <= most]:
                self.collect.error(
                    "TK237", (*model.source, "build", "axes", axis),
                    f"the plan of `{model.key}` is built for {axis} from {least} to {most}, and it has to run "
                    f"{outside[-1]}, a length of its batches",
                    f"say `axes: {{{axis}: [{min(least, found[0])}, …, {max(most, found[-1])}]}}`, or other lengths",
                )  # fmt: skip

    def _check(
        self, model: ModelPlan, lengths: Mapping[str, tuple[int, ...]], *, has_lengths: bool, is_shared: bool
    ) -> None:
        """Every tensor must have one size but for an open axis that there are lengths for, and be in every batch."""
        assert isinstance(model.program, EngineProgram)  # noqa: S101  (for the type checker: callers have looked)
        instead = self._instead(model.program)
        whose = "layout `fused` allocates the memory of an engine on a GPU once"
        if model.program.engine == "inductor":
            whose = "the memory of what Inductor compiles is allocated once"
        elif is_shared:
            whose = "`process: shared` allocates the memory of an engine once"
        for tensor in (*model.inputs, *model.outputs):
            why, hint = "", instead
            if tensor.dtype == "STRING":
                why = "is text, which has no size"
            elif tensor.optional:
                why = "is optional, and an engine in buffers takes all of its inputs"
            elif (open_axes := lengths.get(tensor.name, tensor.dims).count(-1)) > has_lengths:
                why = f"is {tensor.describe()}, and -1 is any length"
                said = "" if is_shared else "say those that are run (`buffers: {lengths: [64, 256]}`), or "
                hint = f"export the ONNX file with one length, or {said}{instead}"
                if open_axes > 1:
                    hint = f"export the ONNX file with one axis of any length beside the batch's, or {instead}"
            if why:
                self.collect.error(
                    "TK237", (*model.source, "onnx"),
                    f"{whose}: `{tensor.name}` of `{model.key}` {why}",
                    hint,
                )  # fmt: skip

    def _sizes(self, model: ModelPlan, said: Buffers, lengths: Mapping[str, tuple[int, ...]]) -> EngineBuffers:
        largest = max(1, model.max_batch_size)
        preferred = self.batching.preferred if self.batching.dynamic and model.max_batch_size else []
        usual = sorted({*_doubling(largest), *preferred})
        if said.process == "shared" and model.max_batch_size and self.instances.on_a_gpu:
            usual = sizes_together(largest, self.instances.on_a_gpu)
        buckets = sorted(said.buckets) or usual
        missing = [size for size in dict.fromkeys([*preferred, largest]) if size not in buckets]
        beyond = [size for size in buckets if size > largest]
        if said.process == "shared" and model.max_batch_size:
            self._check_shared(model, buckets, largest)
        elif missing or beyond:
            what = f"lack {missing[0]}" if missing else f"hold {beyond[0]}"
            self.collect.error(
                "TK214", (*model.source, "buffers", "buckets"),
                f"`buckets` {buckets} {what}; the largest batch is {largest}"
                + (f", preferred are {list(preferred)}" if preferred else ""),
                "let them end at the largest batch and hold every preferred size, or leave them out",
            )  # fmt: skip
        return EngineBuffers(tuple(buckets), said.slots, said.copies, lengths, said.preprocess)

    def _check_shared(self, model: ModelPlan, buckets: Sequence[int], largest: int) -> None:
        """Batches of several instances run together in what is larger than one of them; none is too large."""
        if buckets[-1] < largest:
            self.collect.error(
                "TK214", (*model.source, "buffers", "buckets"),
                f"`buckets` {list(buckets)} end at {buckets[-1]}; the largest batch that an instance hands over is "
                f"{largest}",
                "let them end at the largest batch or beyond, or leave them out",
            )  # fmt: skip


def _narrows(tensor: Tensor, fed: Mapping[str, Tensor]) -> bool:
    """Whether what comes before the engine always gives one length where its own file leaves it open."""
    return -1 in tensor.dims and tensor.name in fed and len(fed[tensor.name].dims) == len(tensor.dims)


def _doubling(largest: int) -> list[int]:
    """1, 2, 4, ... and `largest` itself: at most half of a padded batch is padding."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]
