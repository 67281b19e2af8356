"""PyTorch's way of gpu_preprocess.py, in a process of its own: another interpreter has it.

Run by that interpreter the file is the process: it reads one command a line and answers with one line of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

MEAN, STD, SIDE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 224
_PATIENCE_S = 10.0  # for one answer, when the process is ready


class Torch:
    """The process. It starts at once and gets ready beside what goes on here."""

    def __init__(self, interpreter: str, folder: Path, photos: list[Any]) -> None:
        self._folder, self._lines = folder, queue.Queue[str]()
        np.save(folder / "photos.npy", np.stack(photos))
        # Libraries that lie beside this interpreter, and were put on the path for it, are not for the other one.
        beside, paths = Path(sys.prefix).parent, os.environ.get("LD_LIBRARY_PATH", "").split(":")
        environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if not Path(path).is_relative_to(beside))
        self._process = subprocess.Popen(
            [interpreter, str(Path(__file__).resolve()), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def _answer(self, patience_s: float) -> dict[str, Any]:
        line = self._lines.get(timeout=patience_s)
        if not line:
            raise RuntimeError(f"PyTorch's process ended with {self._process.wait(timeout=5)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _asked(self, patience_s: float, **command: Any) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("PyTorch's process takes no commands")
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer(patience_s)

    def ready(self, expected: Any, patience_s: float) -> dict[str, Any]:
        """Its versions, and how far its pixels are from the CPU's, in levels; `absent` says why it is not there."""
        try:
            found = self._answer(patience_s)
        except (RuntimeError, queue.Empty) as error:
            return {"absent": f"{type(error).__name__}: {error}"}
        if "absent" in found:
            return found
        self._asked(_PATIENCE_S, do="save", size=len(expected))
        made = np.load(self._folder / "made.npy")
        apart = np.abs(made.astype(np.float64) - expected) * np.array(STD).reshape(1, 3, 1, 1)
        # It does not round to whole levels between resizing and normalising, as uint8 pixels have to be.
        return {**found, "most_levels": float(apart.max()), "passed": bool(apart.max() <= 1)}

    def timed_us(self, size: int, count: int) -> float:
        """Microseconds a batch."""
        return float(self._asked(_PATIENCE_S, do="run", size=size, count=count)["us"])

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _serve(folder: Path) -> None:
    """The other process: photographs through pinned memory, then PyTorch's own kernels."""
    try:
        import torch
        from torch.nn import functional

        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 — whatever it is, the other side is told
        _tell(absent=f"{type(error).__name__}: {error}")
        return
    photos = np.load(folder / "photos.npy")
    staged = torch.empty(photos.shape, dtype=torch.uint8, pin_memory=True)
    into = staged.numpy()
    mean, std = (torch.tensor(values, device="cuda").view(1, 3, 1, 1) for values in (MEAN, STD))

    def made(size: int) -> Any:
        for number in range(size):  # one by one, as they come from a decoder
            into[number] = photos[number]
        pixels = staged[:size].to("cuda", non_blocking=True).permute(0, 3, 1, 2).float()
        resized = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=False)
        found = ((resized - mean) / std).contiguous()
        torch.cuda.synchronize()
        return found

    with torch.inference_mode():
        made(len(photos))
        _tell(torch=torch.__version__, cuda=torch.version.cuda)
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "save":
                np.save(folder / "made.npy", made(command["size"]).cpu().numpy())
                _tell(done=True)
                continue
            started = time.perf_counter()
            for _ in range(command["count"]):
                made(command["size"])
            _tell(us=(time.perf_counter() - started) / command["count"] * 1e6)


def _tell(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(120, exit=True)
    _serve(Path(sys.argv[1]))
