"""The graph in the precision that is asked for: casts, or Q/DQ with ranges from the spec's calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from generator.engine.build.candidates.choices import has_cuda
from generator.engine.build.gate.judge import Judge
from generator.engine.build.gate.pipeline import Pipeline, samples_of, sha256_of_tensors
from generator.engine.build.jobs import Job
from generator.engine.build.lower.by_modelopt import by_modelopt
from generator.engine.build.lower.lowered import IN_GRAPH, QUANTISED, Lowered
from generator.engine.build.lower.unused import unused, unused_of_lowering
from generator.engine.cache import Cache
from generator.engine.compile.onnxruntime import overflows_here, saturates_here
from generator.engine.errors import Finding, StageError
from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate.verdict import FORMAT
from generator.gate_set import read_gate_set
from generator.problems import UserError
from generator.project import Project
from generator.spec.build import Calibration

if TYPE_CHECKING:
    import onnx

    from generator.engine.calibrate.ranges import Ranges
    from generator.engine.runner import Tensors

Progress = Callable[[str], None]
Words = Literal["tensorrt", "onnxruntime"]
RANKED_WITH = 32


class Lowerer:
    """Lowers the graph of one job; what it has found out once it keeps."""

    def __init__(self, job: Job, model: onnx.ModelProto, judge: Judge, project: Project, cache: Cache) -> None:
        self.job, self.model, self.judge, self.project, self.cache = job, model, judge, project, cache
        self.notes: list[Finding] = []
        self._ranges: dict[bool, Ranges] = {}  # by whether they are for symmetric 8 bits
        fold, keep = job.program.fold, job.program.build.keep
        self.notes += [
            *unused_of_lowering(job.program, {node.op_type for node in model.graph.node}),
            *unused(job.program, on_gpu=job.plan.target.gpu is not None),
        ]
        # Steps that were folded in are no layers of the network: they stay as exact as they were outside of it.
        self.keep = keep if fold is None else keep.model_copy(update={"nodes": [*keep.nodes, *fold.nodes]})
        self._samples: Samples | None = None

    def lower(self, engine: str, precision: str, progress: Progress, *, in_graph: bool = True) -> Lowered:
        """For an engine; `in_graph=False` leaves fp16 and bf16 to the compiler's flags. Raises StageError."""
        lowered = self._lowered(engine, precision, progress, in_graph=in_graph)
        return lowered if engine != "tensorrt" else self._with_plugin(lowered)

    def _with_plugin(self, lowered: Lowered) -> Lowered:
        """With TensorRT's own suppression in the graph that it is given, if the spec says so."""
        if self.job.program.build.nms != "efficient":
            return lowered
        import onnx

        from generator.engine.fold.plugin import with_plugin

        try:
            changed = _bytes(with_plugin(onnx.load_model_from_string(lowered.graph)))
        except ValueError as error:  # the spec was looked at: the lowering has changed it
            text, hint = f"`nms: efficient` finds no suppression any more: {error}", "take `nms: standard`"
            raise StageError(Finding("TK926", text, hint, "build")) from error
        return replace(lowered, compiled=changed, facts={**lowered.facts, "nms": "efficient"})

    def _lowered(self, engine: str, precision: str, progress: Progress, *, in_graph: bool) -> Lowered:
        if precision in QUANTISED:
            return self._quantised(engine, precision, progress, in_graph=in_graph)
        if precision in IN_GRAPH and in_graph:
            from generator.engine.precision import lower, quantizable

            progress(f"casting to {precision}")
            made = lower(self.model, "fp16" if precision == "fp16" else "bf16", self.keep)
            layers = {layer.name for layer in quantizable(self.model)}
            if layers and layers <= set(made.stay):
                text = f"all {len(layers)} layers with weights stay in fp32: {next(iter(made.stay.values()))}"
                self.notes.append(Finding("TK993", text, "look at `stay` in engine.json", "precision"))
            return Lowered(_bytes(made.model), facts={"stay": dict(made.stay), "clipped": dict(made.clipped)})
        return Lowered(_bytes(self.model))

    def ranges(self, words: Words, progress: Progress) -> Ranges:
        """The ranges of all tensors, from the cache where data, graph and method are the same. Raises StageError."""
        from generator.engine.calibrate import cache_facts, collect, from_text

        calibration, samples = self.samples(progress)
        symmetric = words == "tensorrt" and calibration.method == "entropy"  # other methods find the same for both
        if symmetric in self._ranges:
            return self._ranges[symmetric]
        asked = (self.model, samples, calibration.method, calibration.percentile)

        def make() -> bytes:
            def told(done: int, total: int) -> None:
                progress(f"calibrating ({calibration.method}): {done} of {total} items")

            return collect(*asked, told, symmetric=symmetric).text().encode()

        facts = cache_facts(*asked, symmetric=symmetric)
        found: Ranges = self.cache.value("calibrate", facts, make, lambda data: from_text(str(data, "utf-8")))
        self.notes += [note for note in found.warnings if note not in self.notes]
        self._ranges[symmetric] = found
        return found

    def samples(self, progress: Progress) -> tuple[Calibration, Samples]:
        """What the spec says of calibrating, and the engine's inputs of its data. Raises StageError."""
        calibration = self.job.program.build.calibration
        if calibration is None:
            raise StageError(
                Finding(
                    "TK990",
                    f"{self.job.program.precision} needs data to find its ranges with, and no `calibration` is given",
                    "`build: {calibration: {data: data/calibration.npz}}`: inputs as clients send them, none of the "
                    "gate set", "build.calibration",
                )
            )  # fmt: skip
        if self._samples is None:
            self._samples = self._calibration_samples(calibration.data, calibration.samples, progress)
        return calibration, self._samples

    # int8 ----------------------------------------------------------------------------------------------------------

    def _quantised(self, engine: str, precision: str, progress: Progress, *, in_graph: bool) -> Lowered:
        from generator.engine.precision import cast, fp8, quantized

        build, words, target = self.job.program.build, words_of(engine), self.job.plan.target
        on_cuda = target.gpu is not None and has_cuda()
        is_int8_here = words == "onnxruntime" and precision == "int8"
        if build.quantizer == "modelopt":
            calibration, samples = self.samples(progress)
            graph, told = by_modelopt(
                self.model, samples, self.keep, calibration, words=words, in_graph=in_graph,
                overflows=is_int8_here and overflows_here(target.name, on_cuda=on_cuda),
                mode="fp8" if precision == "fp8" else "int8", cache=self.cache, progress=progress,
            )  # fmt: skip
            return Lowered(graph, facts=told)
        if engine == "tensorrt" and precision == "int8" and build.int8_by != "qdq":
            return self._without_qdq(progress, in_graph=in_graph)
        ranges = self.ranges(words, progress)
        facts: dict[str, Any] = {"calibration": self._calibration_facts(ranges)}
        # It is judged here, wherever it is served: with sums that overflow, no engine would pass.
        reduced = is_int8_here and saturates_here(on_cuda=on_cuda)
        if reduced:
            facts["reduced_range"] = True
        layers: Sequence[str] | None = None
        if build.mixed and precision == "int8":
            facts["mixed"] = self._mixed(words, ranges, progress, reduced=reduced, in_graph=in_graph)
            layers = facts["mixed"]["layers"]
        progress(f"quantising to {precision}")
        made = (
            fp8(self.model, ranges, self.keep, layers) if precision == "fp8"
            else quantized(self.model, ranges, self.keep, layers, words, reduce_range=reduced)
        )  # fmt: skip
        facts["quantised"] = {"layers": len(made.layers), "stay": dict(made.stay)}
        if words == "tensorrt" and in_graph:
            # What is not in 8 bits is in 16, as 8.6 does by itself: else int8 would be slower than fp16.
            return Lowered(_bytes(cast(made.model, "fp16", self.keep)), ranges, facts)
        return Lowered(_bytes(made.model), ranges, facts)

    def _without_qdq(self, progress: Progress, *, in_graph: bool) -> Lowered:
        """The graph as it is, which TensorRT 8.6 quantises by ranges, or by data. Raises StageError (TK953)."""
        by = self.job.program.build.int8_by
        if in_graph:
            text = f"`int8_by: {by}` is for TensorRT 8.6 alone: from 10 on it computes in int8 what Q/DQ says"
            raise StageError(Finding("TK953", text, "use `int8_by: qdq`, or build with TensorRT 8.6", "build"))
        if self.job.program.fold is not None:
            text = (
                f"with `int8_by: {by}` TensorRT may run the folded steps in int8, too; the gate judges them with it"
            )
            self.notes.append(Finding("TK993", text, "`int8_by: qdq` keeps them as exact as they are", "build"))
        if by != "tensorrt":
            ranges = self.ranges("tensorrt", progress)
            return Lowered(
                _bytes(self.model), ranges, {"calibration": self._calibration_facts(ranges), "int8_by": by}
            )
        calibration, samples = self.samples(progress)
        batches = _of_one_shape(samples)
        facts = {"file": calibration.data, "data_sha256": samples.sha256, "method": "TensorRT's entropy",
                 "samples": replace(samples, batches=batches).items}  # fmt: skip
        return Lowered(_bytes(self.model), facts={"calibration": facts, "int8_by": by}, batches=batches)

    def _mixed(
        self, words: Words, ranges: Ranges, progress: Progress, *, reduced: bool, in_graph: bool
    ) -> dict[str, Any]:
        """The largest set of layers that the gate accepts, and how it was found."""
        import onnxruntime

        from generator.engine.precision import cast, search, sensitivity

        keep = self.keep
        assert self._samples is not None  # noqa: S101  (ranges has read them)
        few = _few(self._samples)
        facts = {
            "request": dict(self.job.request), "engine": words, "ranges": ranges.text(), "data": few.sha256,
            "reduced": reduced, "in_graph": in_graph, "gate": self.judge.facts(), "rules": FORMAT,
            "onnxruntime": onnxruntime.__version__,
        }  # fmt: skip

        def told(done: int, total: int) -> None:
            progress(f"how much each layer harms: {done} of {total}")

        def is_good(model: onnx.ModelProto) -> bool:
            if words == "tensorrt" and in_graph:
                model = cast(model, "fp16", keep)  # as what is built will be
            runner = OnnxRunner(_bytes(model), threads=1)
            try:
                return self.judge.is_good(runner, "int8")
            finally:
                runner.close()

        def make() -> dict[str, Any]:
            ranking = sensitivity(self.model, ranges, few, told, keep=keep, for_engine=words)
            found = search(
                self.model, ranges, ranking, is_good, progress, keep=keep, for_engine=words, reduce_range=reduced
            )
            return {
                "layers": list(found.quantised.layers),
                "ranking": [harm.row() for harm in ranking],
                "trials": [asdict(trial) for trial in found.trials],
            }

        made: dict[str, Any] = self.cache.json("mixed", facts, make)
        return made

    # Data ----------------------------------------------------------------------------------------------------------

    def _calibration_samples(self, file: str, most: int, progress: Progress) -> Samples:
        from generator.engine.calibrate.overlap import overlap, overlap_finding

        progress("reading the calibration data")
        pipeline = Pipeline(self.job.plan, self.job.model.name, self.job.version, self.project)
        try:
            items = read_gate_set(self.project.path(file), pipeline.plan.inputs, labelled=False).items
        except UserError as error:
            text = error.message.replace("gate set", "calibration set")
            raise StageError(Finding("TK991", text, error.hint, "build.calibration")) from error
        except OSError as error:
            text = f"the calibration set {file}: {error.strerror}"
            raise StageError(Finding("TK991", text, "paths count from the root", "build.calibration")) from error
        shared = overlap(items, self.judge.items)
        if shared:
            raise StageError(overlap_finding(shared, len(items)))
        chosen = _spread(items, most)
        passed = pipeline.run(chosen)
        return samples_of(passed, sha256_of_tensors(passed.taken), batched=pipeline.batched)

    def _calibration_facts(self, ranges: Ranges) -> dict[str, Any]:
        assert self.job.program.build.calibration is not None  # noqa: S101  (ranges has looked)
        return {"file": self.job.program.build.calibration.data, **ranges.facts}


def _spread(items: Sequence[Mapping[str, Any]], most: int) -> Sequence[Mapping[str, Any]]:
    """At most so many, evenly from the first to the last: data is often sorted by class."""
    if len(items) <= most:
        return items
    return [items[index * len(items) // most] for index in range(most)]


def _of_one_shape(samples: Samples) -> tuple[Tensors, ...]:
    """The batches of the commonest shape, the first of them if there are several: TensorRT takes no other."""
    shapes = [tuple((name, value.shape) for name, value in sorted(batch.items())) for batch in samples.batches]
    chosen = max(dict.fromkeys(shapes), key=shapes.count)
    return tuple(batch for batch, shape in zip(samples.batches, shapes, strict=True) if shape == chosen)


def _few(samples: Samples) -> Samples:
    """Enough of them to rank layers with."""
    chosen = 1
    while chosen < len(samples.batches) and replace(samples, batches=samples.batches[:chosen]).items < RANKED_WITH:
        chosen += 1
    return replace(samples, batches=samples.batches[:chosen])


def words_of(engine: str) -> Words:
    """Whose Q/DQ it is."""
    return "tensorrt" if engine == "tensorrt" else "onnxruntime"


def _bytes(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data
