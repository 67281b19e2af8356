"""The gate: an engine's answers on the spec's labelled data, through the whole pipeline, against those of FP32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generator.engine.build.gate.beside import installed_beside, running
from generator.engine.build.gate.labels import check_labels
from generator.engine.build.gate.pipeline import Passed, Pipeline, samples_of, sha256_of, sha256_of_tensors
from generator.engine.build.gate.reference import Reference
from generator.engine.build.jobs import Job
from generator.engine.compile.base import Profile
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Lifted, Runner, Samples
from generator.engine.validate.compare import NEAR, Comparison, compare
from generator.engine.validate.data import check_gate_set, expected_inputs
from generator.engine.validate.judge import Gate, check_floor, judge
from generator.engine.validate.metrics import Boxes, Score, score_cosine, score_f1, score_top1
from generator.engine.validate.neighbours import TOLERANCES, check_neighbours
from generator.engine.validate.shapes import check_shapes
from generator.engine.validate.verdict import Verdict
from generator.gate_set import GateSet, read_gate_set
from generator.plan import Plan
from generator.problems import UserError
from generator.project import Project

if TYPE_CHECKING:
    from generator.engine.runner import Array

RANDOM_BATCHES, SEED = 8, 0


@dataclass(frozen=True)
class _Data:
    """What an engine is judged on, and FP32's result. Without a pipeline to run it is random and has no labels."""

    gate: Gate
    samples: Samples
    fp32: Passed
    score: Score | None
    items: GateSet | None


class Judge:
    """Judges engines of one job. `notes` are what is worth knowing of how it can."""

    def __init__(self, job: Job, graph: bytes, project: Project, profiles: Sequence[Profile]) -> None:
        self.job, self.graph, self.project, self.profiles = job, graph, project, profiles
        self.notes: list[Finding] = []
        self._pipeline: Pipeline | None = None
        self._others = installed_beside(job, project)
        self._fp32 = Reference(graph)
        self._data = self._read()

    @property
    def samples(self) -> Samples:
        """What the engine is given for the gate set."""
        return self._data.samples

    @property
    def items(self) -> Sequence[Mapping[str, Any]]:
        """The items of the gate set, as a client would send them; none where the data is random."""
        return () if self._data.items is None else self._data.items.items

    def verdict(self, runner: Runner, precision: str) -> Verdict:
        """What the gate says of an engine. Raises StageError when it cannot be compared at all."""
        return self._whole(runner, precision, *self._compared(runner, precision))

    def is_good(self, runner: Runner, precision: str) -> bool:
        """Whether the verdict would be that it passes: a search must not end at what is refused in the end."""
        compared, score = self._compared(runner, precision)
        if not judge(precision, self._data.gate, compared, reference=self._data.score, candidate=score).passed:
            return False  # the other checks take longer than this one
        return self._whole(runner, precision, compared, score).passed

    def _whole(self, runner: Runner, precision: str, compared: Comparison, score: Score | None) -> Verdict:
        """The verdict on what was compared already, and on shapes and neighbours."""
        data, sizes = self._data, self._sizes()
        fp32 = self._fp32
        lifted = not data.samples.batched
        try:
            shapes = check_shapes(
                Lifted(fp32) if lifted else fp32, Lifted(runner) if lifted else runner,
                self.profiles, data.samples, seed=SEED,
            )  # fmt: skip
        finally:
            fp32.close()
        return judge(
            precision, data.gate, compared, reference=data.score, candidate=score, shapes=shapes,
            neighbours=check_neighbours(
                runner, data.samples, sizes, TOLERANCES[precision], scores=data.gate.metric == "top1", seed=SEED
            ) if sizes else None,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """For the manifest: what it was judged on."""
        items = self._data.items
        where = None if items is None or self.job.accuracy is None else self.job.accuracy.data
        facts = {"data": where, "items": self._data.samples.items, "sha256": self._data.samples.sha256}
        beside = {there.model: there.manifest["sha256"] for there, _ in self._others}
        return {**facts, "beside": beside} if beside else facts

    # How it is made ------------------------------------------------------------------------------------------------

    def _read(self) -> _Data:
        """The data, run through FP32. Raises StageError."""
        inputs = expected_inputs(self.graph)
        accuracy = self.job.accuracy
        if accuracy is None:
            self.notes.append(
                Finding(
                    "TK984",
                    "no `accuracy` is given: the engine is compared with FP32 on random data alone",
                    "name a gate set: `accuracy: {data: data/gate.npz, metric: top1, floor: 0.98}`", "engine",
                )
            )  # fmt: skip
            return self._random()
        gate = Gate(
            accuracy.metric, accuracy.floor, accuracy.max_drop,
            accuracy.min_cosine, accuracy.min_snr_db, accuracy.min_top1_agreement,
        )  # fmt: skip
        self._pipeline = pipeline = Pipeline(self.job.plan, self.job.model.name, self.job.version, self.project)
        items = _read_items(pipeline.plan, self.project, accuracy.data, labelled=accuracy.metric != "cosine")
        fp32 = pipeline.run(items.items)
        samples = samples_of(fp32, sha256_of(items.items), batched=pipeline.batched)
        _check_metric(accuracy.metric, items, fp32)
        check_gate_set(samples, inputs, accuracy.metric, items.labels if accuracy.metric != "cosine" else None)
        score = _score(gate, items, fp32, fp32)
        if score.metric == "top1" and score.value == 0:
            check_labels(_first_classes(fp32), items.labels)
        check_floor(gate, score)
        return _Data(gate, samples, fp32, score, items)

    def _random(self) -> _Data:
        from generator.engine.runner import OnnxRunner

        batched = self.job.model.max_batch_size > 0
        samples = replace(random_samples(self.graph, self.profiles), batched=batched)
        plain = OnnxRunner(self.graph, threads=1)
        runner = plain if batched else Lifted(plain)
        passed = Passed(taken=list(samples.batches), given=[runner.run(batch) for batch in samples.batches])
        plain.close()
        return _Data(Gate.unlabelled(scores=False), samples, passed, None, None)

    def _compared(self, runner: Runner, precision: str) -> tuple[Comparison, Score | None]:
        """The engine's outputs beside those of FP32, and how right the answers are."""
        data, near = self._data, NEAR[precision]
        if self._pipeline is None or data.items is None:
            return compare(data.fp32.given, self._given(runner), near), None
        if not self._others or data.gate.metric == "cosine":
            together = self._pipeline.run(data.items.items, runner)
            own: Sequence[Mapping[str, Array]] = together.given
        else:  # losses add up: the answers are those with the other engines as they are served, the outputs its own
            with running(self._others, self.project.root) as others:
                together = self._pipeline.run(data.items.items, runner, others)
            own = together.given if _took_the_same(together, data.fp32) else self._given(runner)
        score = _score(data.gate, data.items, together, data.fp32, near)
        return compare(data.fp32.given, own, near), score

    def _given(self, runner: Runner) -> list[dict[str, Array]]:
        """What the engine alone answers to what it is given in FP32's pipeline."""
        same = runner if self._data.samples.batched else Lifted(runner)
        return [same.run(batch) for batch in self._data.samples.batches]

    def _sizes(self) -> list[int]:
        """Two batch sizes that are served: the smallest preferred one, and the largest."""
        model = self.job.model
        preferred = model.batching.preferred if model.batching is not None else []
        sizes = {min(preferred, default=model.max_batch_size), model.largest_run}
        return sorted(size for size in sizes if size > 1)


def _read_items(plan: Plan, project: Project, file: str, *, labelled: bool) -> GateSet:
    try:
        return read_gate_set(project.path(file), plan.inputs, labelled=labelled)
    except UserError as error:
        raise StageError(Finding("TK970", error.message, error.hint, "accuracy")) from error
    except OSError as error:
        raise StageError(Finding("TK970", f"the gate set {file}: {error.strerror}", about="accuracy")) from error


def _took_the_same(passed: Passed, fp32: Passed) -> bool:
    """Whether the engine got what FP32 got: no engine before it gave it something else."""
    return sha256_of_tensors(passed.taken) == sha256_of_tensors(fp32.taken)


def _check_metric(metric: str, items: GateSet, fp32: Passed) -> None:
    """Whether labels and answers are such as the metric compares. Raises StageError (TK970)."""
    if metric == "f1" and (items.labels.ndim != 3 or items.labels.shape[2] != 5):
        text = f"metric f1 compares boxes, and `labels` is {list(items.labels.shape)}"
        hint = "labels [items, most, 5]: x0, y0, x1, y1, class, with class -1 where there is none"
        raise StageError(Finding("TK970", text, hint, "accuracy"))
    if metric == "cosine" and not any(value.dtype.kind == "f" for given in fp32.given for value in given.values()):
        text = "metric cosine compares floats, and the engine gives none"
        raise StageError(Finding("TK970", text, "use `top1`, or `f1`", "accuracy"))


def _score(gate: Gate, items: GateSet, passed: Passed, fp32: Passed, near: float = 0.0) -> Score:
    """How right the pipeline's answers are by the spec's metric."""
    if gate.metric == "cosine":
        return score_cosine(compare(fp32.given, passed.given, near), gate.floor)
    if gate.metric == "f1":
        return score_f1([_boxes(answer) for answer in passed.answers], [_truth(label) for label in items.labels])
    return score_top1(_first_classes(passed), items.labels)


def _first_classes(passed: Passed) -> list[Array | None]:
    """The answers' labels, best first: of the output `label`, else of the first that holds no scores."""
    some: Mapping[str, Array] = next((answer for answer in passed.answers if answer is not None), {})
    labels = [name for name, value in some.items() if value.dtype.kind != "f"]
    name = "label" if "label" in some else next(iter([*labels, *some]), "")
    return [None if answer is None else _first_class(answer[name]) for answer in passed.answers]


def _first_class(answer: Array) -> Array:
    """Labels as they are; of scores the number of the class with the largest one."""
    return answer.argmax(axis=-1)[..., None] if answer.dtype.kind == "f" and answer.ndim else answer


def _boxes(answer: Mapping[str, Array] | None) -> Boxes | None:
    """A detector's answer: outputs `boxes` [k, 4], `label` [k], `score` [k], and `count` [1] of those there are."""
    if answer is None:
        return None
    lacking = [name for name in ("boxes", "label", "score", "count") if name not in answer]
    if lacking:
        message = (
            f"metric f1 needs the outputs boxes, label, score and count; the pipeline lacks {', '.join(lacking)}"
        )
        raise StageError(Finding("TK970", message, "name the outputs so, or use another metric", "accuracy"))
    labels, count = list(answer["label"].reshape(-1)), int(answer["count"].reshape(-1)[0])
    return Boxes(answer["boxes"].reshape(-1, 4), labels, answer["score"].reshape(-1), count)


def _truth(label: Array) -> Boxes:
    """What is right, [most, 5]: x0, y0, x1, y1 and the class, which is -1 where there is nothing."""
    rows = label[label[:, 4] >= 0]
    return Boxes(rows[:, :4], [str(int(value)) for value in rows[:, 4]])


def random_samples(graph: bytes, profiles: Sequence[Profile], seed: int = SEED) -> Samples:
    """Seeded data of the usual shape of the first profile: whole numbers of their whole type, floats of N(0, 1)."""
    import numpy as np

    inputs, random = expected_inputs(graph), np.random.default_rng(seed)

    def one(name: str) -> Array:
        shape = profiles[0][name].opt
        dtype = np.dtype(inputs[name].dtype)
        if dtype == np.object_:
            return np.full(shape, "text", dtype=np.object_)
        if dtype.kind == "f":
            return random.standard_normal(shape).astype(dtype)
        if dtype.kind == "b":
            return random.random(shape) < 0.5
        # Wider whole numbers are indices of something, as a rule, and small ones are valid.
        return random.integers(0, 256 if dtype.itemsize == 1 else 2, shape).astype(dtype)

    batches = tuple({name: one(name) for name in inputs} for _ in range(RANDOM_BATCHES))
    return Samples(batches, f"random, seed {seed}")
