"""Steps before an engine of a fused pipeline on a GPU: whether one kernel there takes them over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from generator.collector import Collector, Path
from generator.engine.kernels import why_not
from generator.plan import EngineBuffers, EngineProgram, Stage, StepsProgram, TargetPlan

_LINES = {
    False: "But for decoding it runs on the GPU, in one kernel that is compiled at start",
    True: "It runs on the GPU: JPEG files are decoded there, and one kernel that is compiled at start does the rest",
}


class Preprocessing:
    """Decides what the engines' `preprocess` comes to. `where` is where the spec says the layout."""

    def __init__(self, target: TargetPlan, where: Path, collect: Collector) -> None:
        self.target, self.where, self.collect = target, where, collect

    def placed(self, stages: Sequence[Stage], answers: Sequence[str]) -> tuple[Stage, ...]:
        """The stages, engines with `cpu` where `auto` can be nothing else; `answers` are the pipeline's outputs.

        Problems are collected.
        """
        found = list(stages)
        for at, stage in enumerate(stages):
            program = stage.model.program
            if not isinstance(program, EngineProgram) or program.buffers is None:
                continue
            said = program.buffers.preprocess
            if said == "cpu":
                found[at] = self._decoding(stage, program, program.buffers, None)
                continue
            before = _before(stage, stages, answers)
            able = next((steps for steps in before if not _why_not(steps)), None)
            if able is not None:
                self._note(stage, said)
                found[at] = self._decoding(stage, program, program.buffers, able)
                decodes = decodes_on_gpu(found[at])
                line = _LINES[decodes]
                certain = said == "gpu" and (not decodes or program.buffers.decode == "gpu")
                line += "." if certain else "; on the CPU where that cannot be."
                model = replace(able.model, comments=(*able.model.comments, line))
                found[stages.index(able)] = replace(able, model=model)
                continue
            self._refuse(stage, said, before)
            buffers = replace(program.buffers, preprocess="cpu", decode="cpu")
            found[at] = replace(stage, model=replace(stage.model, program=replace(program, buffers=buffers)))
        return tuple(found)

    def _note(self, engine: Stage, said: str) -> None:
        self.collect.note(
            "TK238", (*engine.model.source, "buffers", "preprocess"),
            f"on target `{self.target.name}`, a kernel for the steps before `{engine.model.key}` is compiled when it "
            "is loaded: CUDA's compiler has to be there, libnvrtc.so of CUDA 12 or 13"
            + ("" if said == "gpu" else "; without it the steps run on the CPU"),
            "put `nvidia-cuda-nvrtc-cu12` into the server's Python, if its image has no libnvrtc.so",
        )  # fmt: skip

    def _decoding(self, engine: Stage, program: EngineProgram, buffers: EngineBuffers, steps: Stage | None) -> Stage:
        """The engine's stage, with `decode: cpu` where it can be nothing else. `steps` run on the GPU before it."""
        said, why = buffers.decode, ""
        if said == "cpu":
            return engine
        if steps is None:
            why, hint = "what follows `decode` runs on the CPU", "say `preprocess: gpu` too, or `decode: cpu`"
        elif said == "gpu" and buffers.preprocess == "auto":
            why = "`preprocess: auto` may come to the CPU"
            hint = "say `preprocess: gpu`, or `decode: auto`"
        elif not _decodes(steps):
            why, hint = f"`{steps.model.key}` takes images that are decoded already", "remove it"
        place = (*engine.model.source, "buffers", "decode")
        if not why:
            self.collect.note(
                "TK238", place,
                f"on target `{self.target.name}`, JPEG files for `{engine.model.key}` are decoded on the GPU by "
                "NVIDIA's nvImageCodec and nvJPEG, which the server's Python has to have"
                + ("" if said == "gpu" else "; without them the CPU decodes"),
                "put `nvidia-nvimgcodec-cu13[nvjpeg]` into the server's Python (`-cu12` where its CUDA is 12)",
            )  # fmt: skip
            return engine
        report = self.collect.note if said == "auto" and steps is not None else self.collect.error
        report("TK243", place, f"`decode: {said}` of `{engine.model.key}` has no effect: {why}", hint)
        changed = replace(program, buffers=replace(buffers, decode="cpu"))
        return replace(engine, model=replace(engine.model, program=changed))

    def _refuse(self, engine: Stage, said: str, before: Sequence[Stage]) -> None:
        why = f"`{before[0].model.key}`: {_why_not(before[0])}" if before else "no steps give a tensor to it alone"
        report = self.collect.error if said == "gpu" else self.collect.note
        report(
            "TK239", (*engine.model.source, "buffers", "preprocess"),
            f"no kernel on the GPU can take over the steps before `{engine.model.key}` ({why})"
            + ("" if said == "gpu" else "; they run on the CPU"),
            "say `preprocess: cpu`, or let steps end at the engine that are `resize` (linear, area or nearest), with "
            "`decode` before it, and `normalize`, `cast`, `channels_first` or `reshape` after it",
        )  # fmt: skip


def steps_on_gpu(engine: Stage, stages: Sequence[Stage], answers: Sequence[str]) -> Stage | None:
    """The stage of steps that a kernel before this engine takes over, where its plan says so."""
    program = engine.model.program
    if not isinstance(program, EngineProgram) or program.buffers is None or program.buffers.preprocess == "cpu":
        return None
    return next((stage for stage in _before(engine, stages, answers) if not _why_not(stage)), None)


def decodes_on_gpu(engine: Stage) -> bool:
    """Whether JPEG files are decoded on the GPU before this engine, where its plan says so."""
    program = engine.model.program
    return isinstance(program, EngineProgram) and program.buffers is not None and program.buffers.decode != "cpu"


def _decodes(stage: Stage) -> bool:
    program = stage.model.program
    return isinstance(program, StepsProgram) and any(name == "decode" for name, _ in program.steps)


def _before(engine: Stage, stages: Sequence[Stage], answers: Sequence[str]) -> list[Stage]:
    """Stages of steps whose only tensor goes to the engine and nowhere else."""
    taken = [*answers, *(name for stage in stages for name in stage.inputs.values())]
    alone = {name for name in engine.inputs.values() if taken.count(name) == 1}
    return [
        stage for stage in stages
        if isinstance(stage.model.program, StepsProgram) and set(stage.outputs.values()) <= alone
        and len(stage.outputs) == len(stage.model.inputs) == 1
    ]  # fmt: skip


def _why_not(stage: Stage) -> str:
    program = stage.model.program
    return why_not(program.steps) if isinstance(program, StepsProgram) else "they are no steps"
