"""The Python packages of an image: which of them its models need, and their wheels, fetched on this machine.

The wheels go into the build's context, and pip installs them in the image without a network. So the build needs no
index, no proxy and no certificate of yours, and nothing of those can end up in a layer. Every wheel has to have the
hash that stands in `locks/`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.docker.engine import folder_full, is_full
from deploy.docker.problem import refused
from deploy.tools.process import run
from generator.plan import EngineProgram, ModelPlan, Plan, StepsProgram
from generator.plan_header import tensorrt_of

Kind = Literal["production", "embedded", "load"]
_FOLDER = Path(__file__).parent / "locks"
_NEWEST_GLIBC, _OLDEST_GLIBC = 36, 5  # of Debian 12; Ubuntu 24.04 has a newer one
_DOWNLOAD_S = 1800.0

PYTHON_312_SINCE = "24.11"  # NVIDIA's images: Ubuntu 24.04 from here on, 22.04 with Python 3.10 before
_STEPS = ("numpy", "opencv-python-headless")
_ONNXRUNTIME = ("flatbuffers", "packaging", "protobuf")
_SERVER = "nvidia-pytriton"
_TENSORRT = "tensorrt_cu13_bindings"


@dataclass(frozen=True)
class Lock:
    """A list of wheels with their hashes, of one version of Python."""

    file: Path
    python: str

    def lines(self) -> dict[str, str]:
        """`name==version --hash=sha256:…` by name."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        return {line.partition("==")[0]: line for line in lines if "==" in line}

    def versions(self) -> dict[str, str]:
        """Version by name."""
        return {name: line.partition("==")[2].split(" ")[0] for name, line in self.lines().items()}


LOCKS: dict[Kind, Lock] = {
    "embedded": Lock(_FOLDER / "embedded.txt", "3.11"),
    "production": Lock(_FOLDER / "production.txt", "3.12"),
    "load": Lock(_FOLDER / "load.txt", "3.11"),
}


def platform_options(python: str) -> list[str]:
    """pip's options for wheels of Linux on x86-64 and a Python that need not be the running one."""
    glibc = (f"manylinux_2_{minor}_x86_64" for minor in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1))
    names = [*glibc, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    options = [word for name in names for word in ("--platform", name)]
    return [*options, "--python-version", python, "--implementation", "cp", "--only-binary", ":all:", "--no-deps"]


def needed(plans: Sequence[Plan], kind: Kind) -> list[str]:
    """The names of the packages that these pipelines' Python models import.

    Raises ProblemsError where a package is needed whose version for the server's release nobody has tried.
    """
    if kind == "load":
        return list(LOCKS[kind].lines())
    parts = [(plan, model, part) for plan in plans for model in plan.models for part in model.parts()]
    names = {*_STEPS, *({_SERVER} if kind == "embedded" else ())}
    for plan, model, part in parts:
        if model.backend != "python":
            continue
        if isinstance(part.program, EngineProgram):
            names.update(_of_engine(plan, model, part.program))
        if isinstance(part.program, StepsProgram) and any(name == "tokenize" for name, _ in part.program.steps):
            names.add("tokenizers")
    return [name for name in LOCKS[kind].lines() if name in names]


def _of_engine(plan: Plan, model: ModelPlan, program: EngineProgram) -> tuple[str, ...]:
    if program.engine == "onnxruntime":
        return ("onnxruntime-gpu" if plan.target.gpu else "onnxruntime", *_ONNXRUNTIME)
    if program.engine == "tensorrt":
        version = LOCKS["production"].versions()[_TENSORRT]
        known = {".".join(map(str, oldest)) for oldest in tensorrt_of(plan.target.server) if oldest}
        if not any(version.startswith(f"{one}.") for one in known) or len(known) != 1:
            raise refused(
                "TK469",
                plan.spec_file,
                f"model `{model.name}` runs a TensorRT plan in Python, and the bindings that are pinned here are of "
                f"TensorRT {version}, which Triton {plan.target.server} is not known to have",
                'use `server: "26.07"`, or `layout: ensemble`, which needs no package for it',
            )
        return (_TENSORRT,)
    raise refused(
        "TK469",
        plan.spec_file,
        f"model `{model.name}` runs in PyTorch (engine `{program.engine}`), which no image of tritonkit brings",
        "choose another engine for this target",
    )


def requirements(kind: Kind, names: Iterable[str]) -> str:
    """The lock's lines of these packages, for `pip install -r`."""
    lines = LOCKS[kind].lines()
    return "".join(f"{lines[name]}\n" for name in names)


@contextmanager
def wheels(kind: Kind, text: str, on_progress: Callable[[str], None]) -> Iterator[Path]:
    """A folder with the wheels of `requirements(…)`, gone afterwards.

    pip gets them, with this machine's own settings of index, proxy and certificates. Raises ProblemsError.
    """
    with tempfile.TemporaryDirectory(prefix="tritonkit-wheels-") as name:
        folder = Path(name)
        file, found = folder / "requirements.txt", folder / "wheels"
        found.mkdir()
        file.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", "off"]
        command += ["--require-hashes", "--requirement", str(file), "--dest", str(found)]
        on_progress(f"getting {text.count('==')} packages for the image")
        done = run(
            [*command, *platform_options(LOCKS[kind].python)],
            env={**os.environ, "PIP_NO_INPUT": "1"},
            timeout_s=_DOWNLOAD_S,
            on_line=lambda line: _tell(line, on_progress),
        )
        if not done.is_fine:
            said = " ".join([line for line in done.stderr.splitlines() if line.strip()][-2:])
            if is_full(done.stderr):
                raise folder_full(said)
            raise refused(
                "TK468",
                "pip",
                f"pip could not get the packages of the image: {said or 'it gives no reason'}",
                "`pip config list` shows which index is asked; the versions are in deploy/docker/locks/",
            )
        yield found


def _tell(line: str, on_progress: Callable[[str], None]) -> None:
    if line.startswith("Collecting "):
        on_progress(f"getting {line.split()[1].partition('==')[0]}")
