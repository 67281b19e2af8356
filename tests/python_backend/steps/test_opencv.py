from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUNTIME = Path(__file__).parents[3] / "python_backend"
FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import cv2, numpy as np
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
decode = Decode(to="rgb", limits=Limits())
image = np.random.default_rng(1).integers(0, 255, (1000, 1000, 3), np.uint8)
data = cv2.imencode(".jpg", image)[1].tobytes()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    decode.decode(data)
before = faults()
for _ in range(10):
    decode.decode(data)
print((faults() - before) // 10, cv2.getNumThreads())
"""


def test_memory_stays_from_image_to_image() -> None:
    """3 MB of pixels are 732 pages of 4 KiB; the kernel would have to give and clear each of them every time."""
    done = subprocess.run([sys.executable, "-c", FAULTS, str(RUNTIME)], capture_output=True, text=True, check=True)
    faults, threads = map(int, done.stdout.split())
    assert faults < 100
    assert threads == 1
