"""Claim: memory that goes back to the kernel after every batch costs an image more than copying it.

    python benchmarks/page_faults.py

Triton's stub copies each request's tensor into memory of its own, and frees it when the request is answered. Here
images of 224x224 pixels are copied so, put into one batch, and freed: as glibc does it by itself, and told to keep
memory as the runtime's steps for images tell it. Each in processes of its own, in turns. Writes page_faults.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from _common import HERE, machine, median, rounds, write_result

sys.path.insert(0, str(HERE.parent / "python_backend"))

IMAGE_BYTES, COUNTS, WAYS, ROUNDS, REPEATS = 224 * 224 * 3, (1, 9, 16, 64), ("as it is", "kept"), 9, 200


def copied(images: int) -> dict[str, float]:
    """Microseconds and page faults an image of copying and freeing so many, as one process has them."""
    source = np.ones((images, IMAGE_BYTES), np.uint8)
    staged, spent_ns = np.empty((images, IMAGE_BYTES), np.uint8), 0
    for number in range(REPEATS + 20):
        if number == 20:  # the first ones are not counted
            spent_ns, faults = 0, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter_ns()
        own = [image.copy() for image in source]
        spent_ns += time.perf_counter_ns() - start
        np.stack(own, out=staged)
        start = time.perf_counter_ns()
        del own
        spent_ns += time.perf_counter_ns() - start
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {"us": spent_ns / 1000 / REPEATS / images, "faults": faults / REPEATS / images}


def main() -> None:
    """Every way and size in turns; `--one WAY` is one turn."""
    if "--one" in sys.argv:
        if sys.argv[-1] == "kept":
            from tritonkit_runtime.kept_memory import keep

            keep()
        print(json.dumps({str(count): copied(count) for count in COUNTS}))
        return
    seen: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _, way in rounds(list(WAYS), ROUNDS, 1):
        done = subprocess.run(
            [sys.executable, __file__, "--one", way], capture_output=True, text=True, check=True, cwd=HERE
        )
        seen[way].append(json.loads(done.stdout))
    found = {
        way: {
            str(count): {word: median([turn[str(count)][word] for turn in turns]) for word in ("us", "faults")}
            for count in COUNTS
        }
        for way, turns in seen.items()
    }
    write_result("page_faults", {"machine": machine(), "image_bytes": IMAGE_BYTES, "an_image": found}, indent=1)


if __name__ == "__main__":
    main()
