"""What the coordinator and the workers tell each other. Names begin alike, so that they meet none of Locust's own.

Each names its `run`: what comes late from a run that is over is nobody's.
"""

from __future__ import annotations

# From the coordinator. PREPARE: number, of, options, payloads_sha256. CLOCK: sent_ns. GO: unix_ns by the worker's own
# clock. STOP: nothing.
PREPARE, CLOCK, GO, STOP = "tritonkit_prepare", "tritonkit_clock", "tritonkit_go", "tritonkit_stop"
# From a worker, with its number. TIME: the sent_ns of CLOCK, and unix_ns. SAMPLES: sender, data. DONE: reports.
# FAILED: problems.
READY, TIME, SAMPLES = "tritonkit_ready", "tritonkit_time", "tritonkit_samples"
DONE, FAILED = "tritonkit_done", "tritonkit_failed"

SAMPLE_BYTES = 1 << 20  # of one message
