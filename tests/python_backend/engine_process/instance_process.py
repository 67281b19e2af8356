"""`instance_process.py WORK MOST`: an instance of a model, told what to do on stdin. It speaks one line for each."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.engine_process import worker
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def run(loaded: Loaded, seed: int, items: int, spins: int, batches: int) -> None:
    """Batches one after the other; the first that is wrong or fails ends it."""
    for number in range(batches):
        x = np.random.default_rng([seed, number]).normal(size=(items, 4)).astype(np.float32)
        try:
            found = loaded.ring.run({"x": x, "spins": np.full((items, 1), spins, np.int64)})
        except BatchError as error:
            say(failed=str(error), done=number)
            return
        if not np.array_equal(found["doubled"], 2 * x):
            say(wrong=number)
            return
    say(done=batches)


def main() -> None:
    try:
        loaded = worker.load(Work.of(sys.argv[1]), int(sys.argv[2]))
    except ParameterError as error:
        say(refused=str(error))
        return
    say(ready=True)
    for line in sys.stdin:
        run(loaded, **json.loads(line))
    loaded.close()


if __name__ == "__main__":
    main()
