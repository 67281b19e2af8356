"""Engines that run in memory which is allocated once, so that every size must be known.

Those of a fused pipeline on a GPU, and what Inductor compiled wherever it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from generator.collector import Collector, Path
from generator.plan import EngineBuffers, EngineProgram, ModelPlan, TargetPlan, Tensor
from generator.project import EMBEDDED
from generator.spec.models import Model
from generator.spec.serving import Batching, Buffers, InstanceGroup

# What the server's Python has to have for each engine.
_PACKAGES = {
    "tensorrt": "`tensorrt` (of the version that builds the plan)",
    "onnxruntime": "`onnxruntime-gpu`",
    "inductor": "`torch` (of the version that compiles); for what `torch.compile` made, `onnx`, `onnx2torch` and a "
    "C++ compiler too",
}
_PLACES = frozenset({"gpu", "auto"})


def kinds(groups: Sequence[InstanceGroup], config: Mapping[str, Any]) -> set[str]:
    """Where the instances run, in the spec's words; Triton's own words for them are in `config`."""
    said = config.get("instance_group")
    if not isinstance(said, list):
        return {group.kind for group in groups}
    found = [group.get("kind", "KIND_AUTO") for group in said if isinstance(group, Mapping)]
    return {str(kind).removeprefix("KIND_").lower() for kind in found}


class Buffering:
    """Gives engines their buffers. `where` is where the spec says the layout, or the engine where that is a model of
    its own; `placed` where the instances run.
    """

    def __init__(
        self, target: TargetPlan, batching: Batching, placed: set[str], *, where: Path, collect: Collector
    ) -> None:
        self.target, self.batching, self.placed = target, batching, placed
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
        on_gpu = self.target.gpu is not None and bool(self.placed & _PLACES)
        if self._needs_gpu(program) and self.placed - _PLACES:
            what = "the TensorRT plan" if program.engine == "tensorrt" else "what Inductor compiles"
            self.collect.error(
                "TK229", self.where,
                f"{what} of `{model.key}` runs in Python instances, which need a GPU for it on target "
                f"`{self.target.name}`; found `kind: {min(self.placed - _PLACES)}`",
                f"say `instances: [{{kind: gpu}}]`, or {self._instead(program)}",
            )  # fmt: skip
            return model
        if not on_gpu and self.target.gpu is not None and written.buffers and written.buffers.decode == "gpu":
            self.collect.error(
                "TK243", (*model.source, "buffers", "decode"),
                f"`decode: gpu` of `{model.key}` has no effect: no instance is on a GPU",
                "say `instances: [{kind: gpu}]`, or `decode: auto`",
            )  # fmt: skip
        if not on_gpu and program.engine != "inductor":
            return model
        if on_gpu and self.placed - _PLACES and written.buffers and written.buffers.preprocess == "gpu":
            self.collect.error(
                "TK239", (*model.source, "buffers", "preprocess"),
                f"with `preprocess: gpu` of `{model.key}` no instance loads that is not on a GPU; found "
                f"`kind: {min(self.placed - _PLACES)}`",
                "say `kind: gpu` of all instances, or `preprocess: auto`",
            )  # fmt: skip
        if program.engine == "tensorrt" and program.build.plugins:
            self.collect.error(
                "TK229", (*model.source, "build", "plugins"),
                "layout `fused` runs the plan in the Python model, which loads no plugin libraries of yours",
                self._ensemble,
            )  # fmt: skip
        lengths = {tensor.name: fed[tensor.name].dims for tensor in model.inputs if _narrows(tensor, fed)}
        said = written.buffers or Buffers()
        is_open = {t.name for t in model.inputs if -1 in lengths.get(t.name, t.dims)}
        opened = self._open_lengths(model, said, is_open, texts)
        self._check(model, lengths, has_lengths=bool(opened))
        if not on_gpu:  # memory of the host alone, which nothing is copied to or from
            said = Buffers(buckets=said.buckets, slots=said.slots)
        buffers = replace(
            self._sizes(model, said, lengths), open_lengths=opened, inputs=said.inputs, outputs=said.outputs,
            decode=said.decode,
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
        where = "On a GPU it" if program.engine != "inductor" else "It"
        line = f"{where} is ready for batches of {sizes}; others are padded to the next."
        if buffers.open_lengths:
            line += f" So are lengths, to {', '.join(map(str, buffers.open_lengths))}."
        return replace(model, program=replace(program, buffers=buffers), comments=(*model.comments, line))

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

    def _check(self, model: ModelPlan, lengths: Mapping[str, tuple[int, ...]], *, has_lengths: bool) -> None:
        """Every tensor must have one size but for an open axis that there are lengths for, and be in every batch."""
        assert isinstance(model.program, EngineProgram)  # noqa: S101  (for the type checker: callers have looked)
        instead = self._instead(model.program)
        whose = "layout `fused` allocates the memory of an engine on a GPU once"
        if model.program.engine == "inductor":
            whose = "the memory of what Inductor compiles is allocated once"
        for tensor in (*model.inputs, *model.outputs):
            why, hint = "", instead
            if tensor.dtype == "STRING":
                why = "is text, which has no size"
            elif tensor.optional:
                why = "is optional, and an engine in buffers takes all of its inputs"
            elif (open_axes := lengths.get(tensor.name, tensor.dims).count(-1)) > has_lengths:
                why = f"is {tensor.describe()}, and -1 is any length"
                hint = (
                    "export the ONNX file with one length, or say those that are run "
                    f"(`buffers: {{lengths: [64, 256]}}`), or {instead}"
                )
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
        buckets = sorted(said.buckets) or sorted({*_doubling(largest), *preferred})
        missing = [size for size in dict.fromkeys([*preferred, largest]) if size not in buckets]
        beyond = [size for size in buckets if size > largest]
        if missing or beyond:
            what = f"lack {missing[0]}" if missing else f"hold {beyond[0]}"
            self.collect.error(
                "TK214", (*model.source, "buffers", "buckets"),
                f"`buckets` {buckets} {what}; the largest batch is {largest}"
                + (f", preferred are {list(preferred)}" if preferred else ""),
                "let them end at the largest batch and hold every preferred size, or leave them out",
            )  # fmt: skip
        return EngineBuffers(tuple(buckets), said.slots, said.copies, lengths, said.preprocess)


def _narrows(tensor: Tensor, fed: Mapping[str, Tensor]) -> bool:
    """Whether what comes before the engine always gives one length where its own file leaves it open."""
    return -1 in tensor.dims and tensor.name in fed and len(fed[tensor.name].dims) == len(tensor.dims)


def _doubling(largest: int) -> list[int]:
    """1, 2, 4, ... and `largest` itself: at most half of a padded batch is padding."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]
