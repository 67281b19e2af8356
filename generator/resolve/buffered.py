"""Engines of a fused pipeline on a GPU: they run in memory that is allocated once, so every size must be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from generator.collector import Collector, Path
from generator.plan import EngineBuffers, EngineProgram, ModelPlan, TargetPlan, Tensor
from generator.spec.models import Model
from generator.spec.serving import Batching, Buffers, InstanceGroup

# What the server's Python has to have for each engine.
_PACKAGES = {
    "tensorrt": "`tensorrt` (of the version that builds the plan)",
    "onnxruntime": "`onnxruntime-gpu`",
}


def kinds(groups: Sequence[InstanceGroup], config: Mapping[str, Any]) -> set[str]:
    """Where the instances run, in the spec's words; Triton's own words for them are in `config`."""
    said = config.get("instance_group")
    if not isinstance(said, list):
        return {group.kind for group in groups}
    found = [group.get("kind", "KIND_AUTO") for group in said if isinstance(group, Mapping)]
    return {str(kind).removeprefix("KIND_").lower() for kind in found}


class Buffering:
    """Gives engines their buffers. `where` is where the spec says the layout, `placed` where the instances run."""

    def __init__(
        self, target: TargetPlan, batching: Batching, placed: set[str], *, where: Path, collect: Collector
    ) -> None:
        self.target, self.batching, self.placed = target, batching, placed
        self.where, self.collect = where, collect
        self._ensemble = f"say `targets: {{{target.name}: {{layout: ensemble}}}}`"

    def given(
        self, model: ModelPlan, written: Model, fed: Mapping[str, Tensor], texts: Mapping[str, tuple[int, ...]]
    ) -> ModelPlan:
        """The model with buffers, if it is an engine that runs on a GPU. `fed`: input -> the tensor that it is given;
        `texts`: input -> the lengths that the tokens there are padded to.

        Problems are collected.
        """
        program = model.program
        if not isinstance(program, EngineProgram):
            return model
        on_gpu = self.target.gpu is not None and bool(self.placed & {"gpu", "auto"})
        if program.engine == "tensorrt" and self.placed - {"gpu", "auto"}:
            self.collect.error(
                "TK229", self.where,
                f"layout `fused` runs the TensorRT plan of `{model.key}` in the pipeline's instances, which need a "
                f"GPU for it; found `kind: {min(self.placed - {'gpu', 'auto'})}`",
                f"say `instances: [{{kind: gpu}}]`, or {self._ensemble}",
            )  # fmt: skip
            return model
        if not on_gpu:
            return model
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
        buffers = replace(
            self._sizes(model, said, lengths), open_lengths=opened, inputs=said.inputs, outputs=said.outputs
        )
        self.collect.note(
            "TK238", self.where,
            f"on target `{self.target.name}`, the server's Python runs the engine on the GPU: beside what the "
            f"steps need it has to have `numpy` and {_PACKAGES[program.engine]}",
            "put them into the image, or name an environment that has them: `parameters: {EXECUTION_ENV_PATH: …}`",
        )  # fmt: skip
        sizes = ", ".join(map(str, buffers.buckets))
        line = f"On a GPU it is ready for batches of {sizes}; others are padded to the next."
        if buffers.open_lengths:
            line += f" So are lengths, to {', '.join(map(str, buffers.open_lengths))}."
        return replace(model, program=replace(program, buffers=buffers), comments=(*model.comments, line))

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
        for tensor in (*model.inputs, *model.outputs):
            why, hint = "", self._ensemble
            if tensor.dtype == "STRING":
                why = "is text, which has no size"
            elif tensor.optional:
                why = "is optional, and an engine in buffers takes all of its inputs"
            elif (open_axes := lengths.get(tensor.name, tensor.dims).count(-1)) > has_lengths:
                why = f"is {tensor.describe()}, and -1 is any length"
                hint = (
                    "export the ONNX file with one length, or say those that are run "
                    f"(`buffers: {{lengths: [64, 256]}}`), or {self._ensemble}"
                )
                if open_axes > 1:
                    hint = f"export the ONNX file with one axis of any length beside the batch's, or {self._ensemble}"
            if why:
                self.collect.error(
                    "TK237", (*model.source, "onnx"),
                    "layout `fused` allocates the memory of an engine on a GPU once: "
                    f"`{tensor.name}` of `{model.key}` {why}",
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
