"""Steps before an engine of a fused pipeline on a GPU: whether one kernel there takes them over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from generator.collector import Collector, Path
from generator.engine.kernels import why_not
from generator.plan import EngineProgram, Stage, StepsProgram, TargetPlan

_LINE = "But for decoding it runs on the GPU, in one kernel that is compiled at start"


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
                continue
            before = _before(stage, stages, answers)
            able = next((steps for steps in before if not _why_not(steps)), None)
            if able is not None:
                self._note(stage, said)
                line = f"{_LINE}." if said == "gpu" else f"{_LINE}; on the CPU where that cannot be."
                model = replace(able.model, comments=(*able.model.comments, line))
                found[stages.index(able)] = replace(able, model=model)
                continue
            self._refuse(stage, said, before)
            buffers = replace(program.buffers, preprocess="cpu")
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
