"""What is freed stays with the process: no page faults from batch to batch."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
import numpy as np
from tritonkit_runtime import kept_memory
if sys.argv[1] == "keep":
    kept_memory.keep()
source = np.ones((16, 150_528), np.uint8)
for number in range(60):
    if number == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    own = [image.copy() for image in source]
    del own
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_images_that_are_copied_and_freed_cost_no_page_faults() -> None:
    assert faults("keep") < 100  # of 40 batches of 16 images, 37 pages each


def test_it_may_be_called_where_there_is_no_such_thing() -> None:
    """Other C libraries have no mallopt."""
    code = (
        "import ctypes, types\n"
        "from tritonkit_runtime import kept_memory\n"
        "ctypes.CDLL = lambda _name: types.SimpleNamespace()\n"
        "kept_memory.keep()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
