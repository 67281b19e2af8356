"""The Compiler of `engine: inductor`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Compiled, Profile, Progress, Settings
from generator.engine.compile.inductor import worker
from generator.engine.compile.inductor.process import run_worker
from generator.engine.errors import Finding, StageError
from generator.extras import remedy
from tritonkit_runtime.buffered import inductor_package

# Seen on two cores: 35 s for a small network, minutes for a ResNet-50.
LIMIT_S = 1800.0
RUNTIME = str(Path(inductor_package.__file__).parents[2])  # which the worker's interpreter need not have
FILE = "model.inductor"  # a .pt2 package, or a .zip of a graph and torch.compile's cache: its inside tells


class _DiedError(StageError):
    """The worker ended without an answer."""

    def __init__(self, how: str, words: str) -> None:
        super().__init__(Finding("TK962", f"Inductor {how}: {words}", about="engine"))
        self.how, self.words = how, words


class InductorCompiler:
    """`device` is cpu or cuda. `factory` makes the module instead of the graph: `path/file.py:function` below `root`,
    a function without arguments that returns a torch.nn.Module.

    `python` is the interpreter that has torch. `options` are Inductor's, as in `{"max_autotune": True}`. `threads`:
    how many code for a CPU is written for (0: as many as torch takes).
    """

    name = "inductor"

    def __init__(
        self, *, device: str = "cpu", factory: str = "", root: Path | None = None, python: str = sys.executable,
        ahead_of_time: bool = True, limit_s: float = LIMIT_S, options: Mapping[str, Any] | None = None,
        threads: int = 0,
    ) -> None:  # fmt: skip
        self.device, self.factory, self.root, self.python = device, factory, root or Path.cwd(), python
        self.ahead_of_time, self.limit_s, self.options = ahead_of_time, limit_s, dict(options or {})
        self.threads = threads

    def missing(self) -> str:
        """Why it cannot compile on this machine, in one sentence; empty if it can."""
        wanted = ["torch"] if self.factory else ["torch", "onnx2torch"]
        absent = _absent(self.python, wanted)
        if absent:
            return (
                f"engine inductor needs {' and '.join(f'`{name}`' for name in absent)}, which this Python does not "
                f"have; {remedy('inductor')}"
            )
        if not any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++")):
            return "engine inductor needs a C++ compiler, and there is no g++ or clang++ on PATH"
        if self.device == "cuda" and not _has_headers(self.python):
            return (
                f"engine inductor on a GPU needs the headers of {self.python}, with which Triton compiles C, and "
                "finds no Python.h; install them (in Debian: python3-dev), or name their folder in CPATH"
            )
        return ""

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        """A package of AOTInductor, or torch.compile's cache where only that works (`why` in the facts says so).

        Raises StageError: TK961 (nothing to do it with), TK962 (it cannot), TK963 (the time limit), TK964 (factory).
        """
        if missing := self.missing():
            raise StageError(Finding("TK961", missing, about="engine"))
        request = self.request(graph, settings)
        progress(f"inductor: compiling for {self.device}, for up to {self.limit_s / 60:.0f} min")
        try:
            return self._compiled(graph, request, progress)
        except _DiedError as died:
            if not request["ahead_of_time"]:
                raise
            where = f" ({died.words})" if died.words else ""
            progress(f"inductor: AOTInductor {died.how}{where}; torch.compile takes its place")
            made = self._compiled(graph, {**request, "ahead_of_time": False}, progress)
            return replace(made, facts={**made.facts, "why": f"AOTInductor {died.how}"})

    def _compiled(self, graph: bytes, request: Mapping[str, Any], progress: Progress) -> Compiled:
        steps: list[str] = []

        def look() -> None:
            """What the worker came to since the last time."""
            found = steps_in(folder / worker.STEPS)
            for step in found[len(steps) :]:
                progress(f"inductor: {step}")
            steps[:] = found

        with tempfile.TemporaryDirectory(prefix="tritonkit-inductor-") as name:
            folder = Path(name)
            (folder / "request.json").write_text(json.dumps(request))
            (folder / "graph.onnx").write_bytes(graph)
            argv = [self.python, worker.__file__, str(folder)]
            # Caches of its own: what is shipped is what this run made, and nothing stays behind.
            environment = {
                **os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder),
                "PYTHONPATH": os.pathsep.join([RUNTIME, *filter(None, [os.environ.get("PYTHONPATH")])]),
            }  # fmt: skip
            ended = run_worker(argv, folder / "log", self.limit_s, environment, look)
            look()
            if ended.timed_out:
                raise StageError(self._too_long(steps, ended.words))
            result_file = folder / "result.json"
            if not result_file.exists():
                raise _DiedError(_death(ended.status), ended.words)
            result: dict[str, Any] = json.loads(result_file.read_text())
            if "error" in result:
                raise StageError(self._finding(result))
            data = (folder / "engine").read_bytes()
        return Compiled(FILE, data, result)

    def request(self, graph: bytes, settings: Settings) -> dict[str, Any]:
        """What the worker is asked. Raises StageError (TK962) if there is no profile to take shapes from."""
        if not settings.profiles:
            raise StageError(Finding("TK962", "Inductor needs a profile: the shapes of all inputs", about="build"))
        types, expected = _signature(graph) if graph else ({}, [])
        ranges = {}
        for name in types or settings.profiles[0]:
            dtype, axes = types.get(name, ("float32", []))
            low, opt, high = _widest(settings.profiles, name)
            names = [*axes, *([""] * (len(low) - len(axes)))]
            # The leading axis counts items: it is the same in every input, whether it has a name or not.
            names[:1] = ["batch" if not names[0] else names[0]] if names else []
            ranges[name] = {"dtype": dtype, "min": low, "opt": opt, "max": high, "axes": names}
        return {
            "device": self.device, "precision": settings.precision, "ranges": ranges,
            "outputs": [entry["name"] for entry in expected], "expected": expected,
            "channels_last": settings.channels_last,
            "factory": self.factory, "root": str(self.root), "ahead_of_time": self.ahead_of_time,
            "threads": self.threads, "stack_after_s": 0.95 * self.limit_s,
            "options": self.options, "dynamic": any(entry["min"] != entry["max"] for entry in ranges.values()),
        }  # fmt: skip

    def _too_long(self, steps: list[str], words: str) -> Finding:
        where = f"; it came to: {', '.join(steps)}" if steps else ""
        return Finding(
            "TK963", f"Inductor did not finish within {self.limit_s:g} s{where}{f' ({words})' if words else ''}",
            "give it more time, or fewer of `options` (max_autotune tries many kernels); where it hangs, "
            "TORCHINDUCTOR_COMPILE_THREADS=1 in the environment compiles in one process", "engine",
        )  # fmt: skip

    def _finding(self, result: Mapping[str, str]) -> Finding:
        words = " ".join(result["error"].split())[:500]
        if self.factory and result["step"] == "model":
            return Finding("TK964", f"the torch factory {self.factory} cannot be used: {words}", about="engine")
        hint = ""
        if "onnx2torch" in words or "NotImplementedError" in words:
            hint = "onnx2torch does not know every operator: give a torch factory, or use another engine"
        return Finding("TK962", f"Inductor cannot compile the model, at the step “{result['step']}”: {words}", hint)


def steps_in(file: Path) -> list[str]:
    """The lines of the worker that are whole."""
    try:
        return file.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []


def _absent(python: str, modules: list[str]) -> list[str]:
    """Those of `modules` that the interpreter does not have; none is imported."""
    code = "import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
    try:
        done = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return modules
    return done.stdout.split()


def _has_headers(python: str) -> bool:
    """Python.h where Triton or a C compiler by itself looks for it; True, too, where nothing can be asked."""
    code = (
        "import os, sysconfig\n"
        "scheme = sysconfig.get_default_scheme().replace('posix_local', 'posix_prefix')\n"
        "places = [sysconfig.get_paths(scheme=scheme)['include']]\n"
        "for name in ('CPATH', 'C_INCLUDE_PATH'): places += os.environ.get(name, '').split(os.pathsep)\n"
        "print(any(os.path.isfile(os.path.join(place, 'Python.h')) for place in places if place))\n"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return True
    return done.stdout.strip() != "False"


def _signature(graph: bytes) -> tuple[dict[str, tuple[str, list[str]]], list[dict[str, Any]]]:
    """Input → numpy's name of its type and the names of its free axes; and the outputs: name, type, lengths."""
    import onnx

    model = onnx.load_from_string(graph)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = {}
    for value in model.graph.input:
        if value.name not in given:
            tensor = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            inputs[value.name] = (dtype, [_axis(dim.dim_param) for dim in tensor.shape.dim])
    return inputs, [_output(value) for value in model.graph.output]


def _output(value: Any) -> dict[str, Any]:
    """`dims` has None for a length that is free, and is None for a shape that the graph does not say."""
    import onnx

    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    return {
        "name": value.name, "dtype": onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        "dims": dims if tensor.HasField("shape") else None,
    }  # fmt: skip


def _axis(name: str) -> str:
    """A name that torch takes: ONNX has any text, as in `batch size` or `seq+1`; those are found out instead."""
    return name if name.isidentifier() else ""


def _widest(profiles: Any, name: str) -> tuple[list[int], list[int], list[int]]:
    """The least and greatest of all profiles; the usual shape of the first."""
    mine: list[Any] = [profile[name] for profile in profiles]
    low = [min(lengths) for lengths in zip(*(entry.min for entry in mine), strict=True)]
    high = [max(lengths) for lengths in zip(*(entry.max for entry in mine), strict=True)]
    return low, list(mine[0].opt), high


def _death(status: int) -> str:
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


__all__ = ["InductorCompiler", "Profile"]
