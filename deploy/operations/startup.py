"""How long a pod may take until it serves: nothing listens before all models are loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.operations.sizes import GIB, engine_file_bytes, is_python
from generator.memory import placed
from generator.plan import Plan
from generator.project import Project

PERIOD_S = 5
LEAST_S = 120
SERVER_S = 20.0  # the process, its backends, and CUDA's context
PYTHON_S = 3.0  # an instance of a Python model: its process and imports; taken one after the other
ENGINE_S_PER_GIB = 20.0  # read from a volume at 50 MB/s, and put onto the GPU
REQUESTS_S = 1.0  # one warm-up request; the first of a shape is slow
_SHOWN_S = 0.1
MARGIN = 4  # a cold node and a slow volume: a budget that is too long only delays a kill that is due


@dataclass(frozen=True)
class Startup:
    """How long the models are expected to take, and the probe's budget: `period_s` x `failures`."""

    expected_s: float
    period_s: int
    failures: int
    made_of: str

    @property
    def budget_s(self) -> int:
        """From the container's start until it is killed."""
        return self.period_s * self.failures


def startup_of(plans: Sequence[Plan], project: Project) -> Startup:
    """Of a server with all these pipelines. Raises OSError where an engine's file cannot be read."""
    where = placed(plans)
    models = [(model, where.instances(plan, model)) for plan in plans for model in plan.models]
    processes = sum(instances for model, instances in models if is_python(model))
    size_gib = sum(engine_file_bytes(plan, project) for plan in plans) / GIB
    requests = sum(warmup.count * instances for model, instances in models for warmup in model.warmup)
    parts = (SERVER_S, processes * PYTHON_S, size_gib * ENGINE_S_PER_GIB, requests * REQUESTS_S)
    words = [f"{SERVER_S:g} s for the server"]
    if processes:
        words.append(f"{PYTHON_S:g} s for each Python instance ({processes})")
    if parts[2] >= _SHOWN_S:
        words.append(f"{parts[2]:.1f} s for {size_gib * 1024:.3g} MiB of engines")
    if requests:
        words.append(f"{REQUESTS_S:g} s for each warm-up request ({requests})")
    made_of = ", ".join(words)
    expected_s = sum(parts)
    return Startup(expected_s, PERIOD_S, math.ceil(max(LEAST_S, MARGIN * expected_s) / PERIOD_S), made_of)
