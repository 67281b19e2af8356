"""TensorRT's own command line program: the exact command for a build's settings, and a build through it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from generator.engine.compile.base import Compiled, Profile, Progress, Settings
from generator.engine.compile.tensorrt.watched import watched
from generator.engine.errors import Finding, StageError

GRAPH, PLAN, TIMING_CACHE, CALIBRATION = "model.onnx", "model.plan", "timing.cache", "calibration.cache"
_HARDWARE = {"ampere_plus": "ampere+", "same_compute_capability": "sameComputeCapability"}
_FLAGS = {"fp32": ["--noTF32"], "tf32": [], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}
_VERSION = re.compile(r"TensorRT v(\d+)")
_TWO_DIGITS = 100_000  # from here on a version's number has two digits for its minor version
_RESOURCE = re.compile(r"libnvinfer_builder_resource[\w.]*")


def arguments(settings: Settings, major: int, folder: str = ".") -> list[str]:
    """trtexec's arguments, for TensorRT `major` (8, 10, 11); the files named above lie in `folder`.

    From 10 on the graph says the precision, by casts or Q/DQ. Raises StageError (TK959) for what that version of
    trtexec cannot do.
    """
    found = _cannot(settings, major)
    if found:
        raise StageError(found)
    given = [f"--onnx={folder}/{GRAPH}", f"--saveEngine={folder}/{PLAN}", "--skipInference"]
    given += _precision(settings, major, folder)
    for number, profile in enumerate(settings.profiles):
        given += [f"--profile={number}"] if len(settings.profiles) > 1 else []
        given += [f"--{word}Shapes={_shapes(profile, word)}" for word in ("min", "opt", "max")]
    if settings.workspace_mib is not None:
        given.append(f"--memPoolSize=workspace:{settings.workspace_mib}")
    if settings.optimization_level is not None:
        given.append(f"--builderOptimizationLevel={settings.optimization_level}")
    given += ["--versionCompatible"] if settings.version_compatible else []
    given += [f"--hardwareCompatibilityLevel={_HARDWARE[settings.hardware]}"] if settings.hardware != "none" else []
    given += ["--refit"] if settings.refit else []
    # One without a folder lies beside the graph; the loader would look for it among the system's.
    libraries = [library if "/" in library else f"{folder}/{library}" for library in settings.plugins]
    given += [f"--staticPlugins={library}" for library in libraries]
    return [*given, f"--timingCacheFile={folder}/{TIMING_CACHE}", "--profilingVerbosity=detailed"]


def _precision(settings: Settings, major: int, folder: str) -> list[str]:
    if major >= 10:
        return ["--stronglyTyped", *(["--noTF32"] if settings.precision == "fp32" else [])]
    calibrated = settings.precision == "int8" and settings.ranges
    return [*_FLAGS[settings.precision], *([f"--calib={folder}/{CALIBRATION}"] if calibrated else [])]


def _cannot(settings: Settings, major: int) -> list[Finding]:
    findings = []
    if major < 10 and settings.precision not in _FLAGS:
        findings.append(f"trtexec {major} cannot build in {settings.precision}; it knows {', '.join(_FLAGS)}")
    if major < 10 and len(settings.profiles) > 1:
        findings.append(f"trtexec {major} builds one profile, and there are {len(settings.profiles)}")
    if major < 10 and settings.hardware == "same_compute_capability":
        findings.append(f"trtexec {major} cannot build for `hardware: same_compute_capability`")
    return [Finding("TK959", text, "take TensorRT 10 or later, or ask for less", "build") for text in findings]


def _shapes(profile: Profile, word: str) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, getattr(shapes, word)))}" for name, shapes in profile.items())


def command_text(settings: Settings, major: int, folder: str = ".", program: str = "trtexec") -> str:
    """The command for a shell, quoted. Raises StageError (TK959)."""
    return shlex.join([program, *arguments(settings, major, folder)])


def trtexec_here() -> str:
    """The trtexec that TRTEXEC names, or that is on PATH; empty where there is none."""
    return shutil.which(os.environ.get("TRTEXEC") or "trtexec") or ""


class Trtexec:
    """Builds plans with a trtexec that is installed; the Compiler where TensorRT's Python package is not."""

    name = "tensorrt"

    def __init__(self, program: str = "trtexec", limit_s: float = 3600.0) -> None:
        self._program, self._limit_s = program, limit_s
        self._number: int | None = None

    def missing(self) -> str:
        """Why it cannot run, in one sentence; empty if it can."""
        if shutil.which(self._program) is None:
            return f"there is no `{self._program}` on PATH"
        return "" if self._version() else f"`{self._program} --help` does not say its version"

    def version(self) -> tuple[int, ...]:
        """(10, 15, 1); empty when it does not say."""
        number = self._version()
        if number >= _TWO_DIGITS:
            return number // 10000, number // 100 % 100, number % 100
        return (number // 1000, number // 100 % 10, number % 100) if number else ()

    def _version(self) -> int:
        """As trtexec writes it: 8601 is 8.6.1, 101501 is 10.15.1; 0 when it does not say. It is asked once."""
        if self._number is None:
            lines: list[str] = []
            watched([self._program, "--help"], os.environ, lambda line: lines.append(line or ""), 60.0)
            match = _VERSION.search("\n".join(lines))
            self._number = int(match[1]) if match else 0
        return self._number

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        """A plan. Raises StageError with the errors that trtexec wrote."""
        missing = self.missing()
        if missing:
            raise StageError(Finding("TK950", missing, "install TensorRT, or build in its container", "engine"))
        version, major = self._version(), self.version()[0]
        with tempfile.TemporaryDirectory(prefix="tritonkit-trtexec-") as name:
            folder = Path(name)
            write_inputs(folder, graph, settings, str(version))
            command = [self._program, *arguments(settings, major, name)]
            progress(f"running {shlex.join(command)}")
            log: list[str] = []
            status = watched(command, os.environ, lambda line: _told(line, log, progress), self._limit_s)
            plan = folder / PLAN
            if status != 0 or not plan.exists():
                raise StageError(_failure(status, log, self._limit_s))
            cache = folder / TIMING_CACHE
            facts = {"trtexec": version, "precision": settings.precision, "command": command_text(settings, major)}
            return Compiled(PLAN, plan.read_bytes(), facts, cache.read_bytes() if cache.exists() else None)


def write_inputs(folder: Path, graph: bytes, settings: Settings, version: str) -> None:
    """The files that the command reads: the graph, and what there is of timing cache and calibration."""
    (folder / GRAPH).write_bytes(graph)
    if settings.timing_cache:
        (folder / TIMING_CACHE).write_bytes(settings.timing_cache)
    if settings.ranges:
        from generator.engine.calibrate.tensorrt_cache import to_tensorrt

        (folder / CALIBRATION).write_bytes(to_tensorrt(settings.ranges, version))


def _told(line: str | None, log: list[str], progress: Progress) -> None:
    if line is None:
        progress("trtexec is still building")
    else:
        log.append(line)


def _failure(status: int | None, log: Sequence[str], limit_s: float) -> Finding:
    if status is None:
        return Finding(
            "TK957", f"trtexec took longer than {limit_s:g} s and was ended", "give it more time", "engine"
        )
    errors = list(dict.fromkeys(line.split("[E]", 1)[1].strip() for line in log if "[E]" in line))
    said = "; ".join(errors[:8]) or f"it ended with status {status} and says no more"
    missing = _RESOURCE.search(said)
    if missing:
        message = f"trtexec built no plan: this installation has no {missing[0].rstrip('.')}"
        return Finding("TK956", message, "install the whole TensorRT, or build in a container of it", "engine")
    return Finding("TK955", f"trtexec built no plan: {said}", about="engine")
