"""Gives `decode` files that are nearly images; a crash, a hang or a wrong answer is kept as a file.

python tests/python_backend/fuzz/decoder_fuzz.py --count 100000          # a new seed, which it prints
python tests/python_backend/fuzz/decoder_fuzz.py --count 2000 --seed 7   # the same inputs again
python tests/python_backend/fuzz/decoder_fuzz.py --file findings/3f2a.bin  # one input again
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROUND = 2_000  # inputs a process: its memory is looked at once it ends
CPU_SECONDS = 2.0  # an input may take; ordinary ones take 0.3 ms
WALL_SECONDS = 300  # a round may take
MEMORY_MIB = 100  # a round may add to the process, beside what hypothesis remembers of its inputs
MAX_PIXELS = 20_000

sys.path[:0] = [str(HERE), str(HERE.parents[2] / "python_backend")]


# The property, in a process of its own ---------------------------------------------------------------------


def make_check() -> Any:
    """A function that raises AssertionError unless decode does right by these bytes."""
    import numpy as np
    from image_files import encoded, picture

    from tritonkit_runtime.batch import Batch
    from tritonkit_runtime.parameters import Limits
    from tritonkit_runtime.steps.decode import CHANNELS, Decode
    from tritonkit_runtime.steps.header import read_header

    decoders = {to: Decode(to=to, limits=Limits(60_000, MAX_PIXELS)) for to in CHANNELS}
    good = [encoded(picture(5, 7)), encoded(picture(9, 6), ".jpg")]
    alone = {to: [decoder.decode(file) for file in good] for to, decoder in decoders.items()}

    def check(data: bytes) -> None:
        told = set()
        for to, decoder in decoders.items():
            items = np.array([good[0], data, good[1]], dtype=object).reshape(-1, 1)
            batch = Batch({}, (3,))
            before, image, after = decoder(batch, items)
            np.testing.assert_array_equal(before, alone[to][0])
            np.testing.assert_array_equal(after, alone[to][1])
            assert set(batch.failed) <= {1}, batch.failed
            told.add(batch.failed.get(1))
            if image is None:
                message = batch.failed[1]
                assert 0 < len(message) < 300, message
                assert message.isprintable(), repr(message)  # one line, no escapes
                continue
            header = read_header(data)
            assert image.dtype == np.uint8
            assert image.shape[2:] == (CHANNELS[to],)
            sizes = {(header.height, header.width)}
            if b"\xff\xe1" in data or b"eXIf" in data:  # an orientation may turn it
                sizes.add((header.width, header.height))
            assert image.shape[:2] in sizes, (image.shape, header)
            assert header.width * header.height <= MAX_PIXELS
        assert len(told) == 1, told

    return check


def _bound_cpu(seconds: float) -> None:
    """The process ends by SIGPROF once it has worked so long: within a library in C too."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _peak_mib() -> int:
    """The most memory that this process has had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def run_round(seed: int, count: int, current: Path) -> None:
    """`count` inputs of one seed; `current` always holds the one that is tried."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from mutations import images

    check = make_check()
    file = os.open(current, os.O_WRONLY | os.O_CREAT)
    before_mib = _peak_mib()
    tried = 0

    @seeded(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(images())
    def each(data: bytes) -> None:
        nonlocal tried
        tried += 1
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
        _bound_cpu(CPU_SECONDS)
        try:
            check(data)
        finally:
            _bound_cpu(0)

    each()
    os.close(file)
    added_mib = _peak_mib() - before_mib
    assert added_mib < MEMORY_MIB, f"the round took {added_mib} MiB"
    print(tried)


# The rounds ------------------------------------------------------------------------------------------------


def _child(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(Path(__file__)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WALL_SECONDS, check=False)


def _failure(done: subprocess.CompletedProcess[str]) -> str | None:
    if done.returncode == -signal.SIGPROF:
        return f"took more than {CPU_SECONDS} s of CPU"
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        return done.stderr.strip()[-3000:]
    if done.stderr:
        return f"something was written to stderr: {done.stderr[:1000]}"
    return None


def run(count: int, seed: int, findings: Path) -> int:
    """0 when all inputs did right; otherwise the last input is kept in `findings` and 1 returned."""
    print(f"decoder_fuzz: {count} inputs, seed {seed}", flush=True)
    begun, tried = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current"
        for number, first in enumerate(range(0, count, ROUND)):
            size = min(ROUND, count - first)
            this = f"--round={seed + number}", f"--count={size}", f"--current={current}"
            try:
                done = _child(*this)
                why = _failure(done)
            except subprocess.TimeoutExpired:
                why = f"a round took more than {WALL_SECONDS} s"
            if why is not None:
                data = current.read_bytes() if current.exists() else b""
                findings.mkdir(parents=True, exist_ok=True)
                kept = findings / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
                kept.write_bytes(data)
                print(f"FAILED in the round of seed {seed + number}: {why}")
                print(f"this input: {sys.executable} {Path(__file__)} --file {kept}")
                print(f"the round:  {sys.executable} {Path(__file__)} --count {size} --seed {seed + number}")
                return 1
            tried += int(done.stdout.strip())
            if number % 10 == 9:
                print(f"decoder_fuzz: {tried} inputs in {time.monotonic() - begun:.0f} s", flush=True)
    print(f"decoder_fuzz: {tried} inputs in {time.monotonic() - begun:.0f} s, all as it should be", flush=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2_000, help="inputs to try")
    parser.add_argument("--seed", type=int, help="chosen and printed when left out")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="where inputs that fail are kept")
    parser.add_argument("--file", type=Path, help="try this one input")
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--current", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.file is not None:
        _bound_cpu(CPU_SECONDS)
        make_check()(options.file.read_bytes())
    elif options.round is not None:
        run_round(options.round, options.count, options.current)
    else:
        seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
        return run(options.count, seed, options.findings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
