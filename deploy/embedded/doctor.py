"""What this machine has and lacks for the embedded server and the tools around it; each lack with its remedy."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import shared_memory, state, supervisor
from deploy.embedded.environment import PythonEnvironment
from deploy.embedded.installation import Installation, InstallationError, MissingPiece
from deploy.embedded.ports import is_free, taken_sentence

MIN_GLIBC = (2, 35)  # the wheel's tag: manylinux_2_35
MIN_PIP = (20, 3)  # the first pip that knows such tags
MIN_SHM_BYTES = 256 << 20
MIN_MEMORY_BYTES = 2 << 30
MIN_OPEN_FILES = 1024
_TOOLS = {
    "docker": "needed for images alone: apt-get install docker.io",
    "helm": "needed for Kubernetes alone: see helm.sh/docs/intro/install",
    "kubectl": "needed for Kubernetes alone: see kubernetes.io/docs/tasks/tools",
    "trtexec": "needed to build TensorRT engines alone: it is in NVIDIA's Triton and TensorRT images",
}
_DEFAULT_PORTS = {"HTTP": 8000, "gRPC": 8001, "metrics": 8002}


@dataclass(frozen=True)
class Check:
    """One thing looked at: `found` says what there is, `remedy` how to mend it. A note stops nothing."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    note: bool = False


def checks(
    environment: Path | None = None, *, shm_bytes: int = MIN_SHM_BYTES, state_directory: Path | None = None
) -> list[Check]:
    """Every check, in the order to read them. `shm_bytes` is what the server to start needs in /dev/shm."""
    python = PythonEnvironment(Path(environment or sys.prefix).absolute())
    return [
        _platform(),
        _glibc(),
        *_installation(python),
        _package(python, "tritonclient"),
        _pip(python),
        _shm(shm_bytes),
        _memory(),
        _cores(),
        _open_files(),
        _gpu(),
        *_ports(),
        *_tools(),
        *_engines(),
        *_running(state_directory),
        _stale(),
    ]


def _platform() -> Check:
    found = f"{platform.system()} {platform.machine()}"
    return Check(
        "platform",
        found == "Linux x86_64",
        found,
        "the embedded server is for Linux on x86-64; use the container image elsewhere",
    )


def _glibc() -> Check:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        text = ""
    numbers = re.findall(r"\d+", text)
    ok = len(numbers) >= 2 and (int(numbers[0]), int(numbers[1])) >= MIN_GLIBC
    remedy = "use Debian 12, Ubuntu 22.04 or newer: the server's wheel needs glibc 2.35"
    return Check("glibc", ok, text or "no glibc", remedy)


def _installation(python: PythonEnvironment) -> list[Check]:
    """One check for each piece that the server needs, whether it is there or not."""
    try:
        installation = Installation.find(python.path)
        missing: tuple[MissingPiece, ...] = ()
        wheel = str(installation.wheel.parent)
    except InstallationError as error:
        missing, wheel = error.missing, "present"
    fine = {
        "python": f"{python.python} is Python {python.version}",
        "wheel": wheel,
        "stub": f"for Python {python.version}",
        "libpython": str(python.libpython()),
        "numpy": str(python.package_version("numpy")),
        "paths": "all that the environment names are ASCII",
    }
    if any(piece.name == "wheel" for piece in missing):
        del fine["stub"]
    names = [*fine, *(piece.name for piece in missing if piece.name not in fine)]
    found: list[Check] = []
    for name in names:
        pieces = [piece for piece in missing if piece.name == name]
        found += [Check(name, False, piece.sentence, piece.remedy) for piece in pieces]
        if not pieces:
            found.append(Check(name, True, fine[name]))
    return found


def _package(python: PythonEnvironment, name: str) -> Check:
    version = python.package_version(name)
    return Check(
        name, version is not None, version or "not installed", f"{python.python} -m pip install '{name}[grpc,http]'"
    )


def _pip(python: PythonEnvironment) -> Check:
    version = python.package_version("pip")
    if version is None:
        return Check("pip", False, "not installed", f"{python.python} -m ensurepip --upgrade", note=True)
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    remedy = f"{python.python} -m pip install --upgrade pip (older ones do not see the server's wheel)"
    return Check("pip", numbers >= MIN_PIP, version, remedy)


def _shm(needed_bytes: int) -> Check:
    name = "shared memory"
    try:
        there = shared_memory.look()
    except OSError:
        return Check(name, False, "there is none", "mount -t tmpfs -o size=1g tmpfs /dev/shm")
    found = f"{there.size_bytes >> 20} MiB, {there.free_bytes >> 20} MiB free, {needed_bytes >> 20} MiB needed"
    return Check(name, there.free_bytes >= needed_bytes, found, shared_memory.remedy(needed_bytes))


def _memory() -> Check:
    match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    available = int(match[1]) * 1024 if match else 0
    remedy = "end what takes the memory: ps aux --sort=-rss | head"
    return Check("memory", available >= MIN_MEMORY_BYTES, f"{available / 2**30:.1f} GiB available", remedy, note=True)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    remedy = "with one core the load generator and the server take it from each other: measure elsewhere"
    return Check("cores", cores >= 2, str(cores), remedy, note=True)


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Check("open files", soft >= MIN_OPEN_FILES, f"limit {soft}", f"ulimit -n {min(65536, hard)}")


def _gpu() -> Check:
    """GPUs by nvidia-smi, or by their device files where that is not installed."""
    if shutil.which("nvidia-smi"):
        try:
            answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return Check("gpu", False, "nvidia-smi does not answer", "look at dmesg; the driver hangs", note=True)
        gpus = [line.partition(" (UUID")[0] for line in answer.stdout.splitlines() if line.startswith("GPU ")]
        if gpus:
            return Check("gpu", True, ", ".join(gpus), note=True)
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return Check(
        "gpu",
        bool(devices),
        ", ".join(devices) or "none visible",
        "targets without GPUs run; others need one",
        note=True,
    )


def _ports() -> Iterator[Check]:
    for service, port in _DEFAULT_PORTS.items():
        free = is_free(port)
        found = f"port {port} is free" if free else taken_sentence(port, service)
        yield Check(
            f"{service} port",
            free,
            found,
            "the server takes free ports by itself; name others to fix them",
            note=True,
        )


def _engines() -> Iterator[Check]:
    from deploy.embedded.doctor_engines import compilers

    for name, ok, found, remedy in compilers():
        yield Check(name, ok, found, remedy, note=True)


def _tools() -> Iterator[Check]:
    for name, remedy in _TOOLS.items():
        path = shutil.which(name)
        yield Check(name, path is not None, path or "not installed", remedy, note=True)


def _running(directory: Path | None) -> Iterator[Check]:
    for record in state.running(directory) if directory else []:
        yield Check(
            "running server",
            True,
            f"process {record.pid} at {record.http_address}, {record.target or 'no target'}",
            note=True,
        )


def _stale() -> Check:
    """Segments whose owners died in a way that nothing could clean up after; the next start removes them."""
    prefixes = supervisor.stale_prefixes() if Path(supervisor.SHM_DIRECTORY).is_dir() else []
    found = f"segments of {len(prefixes)} ended servers" if prefixes else "none"
    files = " ".join(f"{supervisor.SHM_DIRECTORY}/{prefix}*" for prefix in prefixes)
    return Check(
        "stale segments",
        not prefixes,
        found,
        f"rm {files} (the next start does it by itself)" if prefixes else "",
        note=True,
    )
