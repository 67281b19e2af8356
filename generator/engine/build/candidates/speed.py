"""How long the engines of a job take at the batch sizes that it is served with, and which is the fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from generator.engine.build.candidates.compiling import Built
from generator.engine.build.jobs import Job
from generator.engine.compile.base import Profile
from generator.engine.measure.fastest import Choice as Fastest
from generator.engine.measure.fastest import fastest
from generator.engine.measure.latency import ROUNDS, Timing, Timings, latency
from generator.engine.runner import Runner, Samples
from generator.engine.validate.shapes import tensors_of_shape

if TYPE_CHECKING:
    from generator.engine.runner import Tensors

# At least so many rounds give an interval of the median.
LEAST_ROUNDS, SECONDS_A_SIZE = 7, 10.0
# Of engines that cannot be told apart: the higher precision, and then the simpler engine.
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "fp8")
ENGINES = ("onnxruntime", "tensorrt", "inductor")


def sizes_of(job: Job) -> list[int]:
    """1, the preferred sizes, the largest, and of instances that share the engine the largest that it runs; without a
    batch axis only one size, 1.
    """
    model = job.model
    if model.max_batch_size == 0:
        return [1]
    preferred = model.batching.preferred if model.batching is not None else []
    return sorted({1, *preferred, model.max_batch_size, model.largest_run})


def measured(
    runners: Mapping[str, Runner], samples: Samples, job: Job, profiles: Sequence[Profile],
    progress: Callable[[str], None],
) -> Timings:  # fmt: skip
    """Engine → batch size → timing, interleaved. Other axes have their usual length."""

    def batch_of(size: int) -> Tensors:
        usual = {name: range_.opt for name, range_ in profiles[0].items()}
        batched = job.model.max_batch_size > 0
        shapes = {name: (size, *shape[1:]) if batched else shape for name, shape in usual.items()}
        return tensors_of_shape(shapes, samples)[0]

    found: dict[str, dict[int, Timing]] = {name: {} for name in runners}
    for size in sizes_of(job):
        progress(f"timing batches of {size}")
        tensors = batch_of(size)
        rounds = _rounds(runners, tensors)
        timed = latency(runners, lambda _size, same=tensors: same, [size], rounds=rounds)  # type: ignore[misc]
        for name, of_size in timed.items():
            found[name].update(of_size)
    return found


def _rounds(runners: Mapping[str, Runner], tensors: Tensors) -> int:
    """How often every engine is timed: fewer times where that would take long. A round runs each engine twice."""
    start = time.perf_counter()
    for runner in runners.values():
        runner.run(tensors)
    once_s = max(time.perf_counter() - start, 1e-6)
    return max(LEAST_ROUNDS, min(ROUNDS, int(SECONDS_A_SIZE / (2 * once_s))))


def fastest_of(built: Sequence[Built], timings: Timings) -> tuple[Built, Fastest]:
    """The fastest over all batch sizes, which count alike."""
    preferred = sorted(built, key=lambda b: (PRECISIONS.index(b.choice.precision), ENGINES.index(b.choice.engine)))
    found = fastest({b.choice.title: timings[b.choice.title] for b in built}, [b.choice.title for b in preferred])
    return next(b for b in built if b.choice.title == found.name), found
