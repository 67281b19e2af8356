"""ONNX Runtime: the graph as it is, or with the rewrites done that the library would do at every start."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from generator.engine.compile.base import Compiled, Progress, Settings
from generator.engine.errors import Finding, StageError
from generator.extras import remedy
from generator.project import EMBEDDED

# The flags of a CPU that decide which of the library's kernels run, and with int8 also what they answer: without
# VNNI, u8·s8 products are summed in 16 bits and may saturate.
_DECIDING = ("avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "amx_tile",
             "asimd", "asimddp", "i8mm", "sve", "bf16")  # fmt: skip
Level = Literal["none", "basic", "extended"]


class OnnxRuntimeCompiler:
    """Checks that the graph loads, and gives it back: as it is (`level="none"`), or rewritten and saved.

    `extended` fuses operators into the library's own, for the CPU; `all` is left out, because it chooses layouts for
    the machine that it runs on. A saved graph loads faster and answers no faster (digits on two cores: fp32 in 0.7
    instead of 0.9 ms, int8 in 2 instead of 23 ms; latency within 2 %), and other versions of the library may refuse
    its operators: so `none` is the default. `cuda` loads the graph on the first GPU.
    """

    name = "onnxruntime"

    def __init__(self, *, level: Level = "none", cuda: bool = False) -> None:
        self.level, self.cuda = level, cuda

    def missing(self) -> str:
        """Why it cannot compile on this machine, in one sentence; empty if it can."""
        try:
            runtime = library()
        except ImportError:
            return f"the package `onnxruntime` is not installed; {remedy('build')}"
        if self.cuda and "CUDAExecutionProvider" not in runtime.get_available_providers():
            return (
                "this `onnxruntime` has no CUDA provider; `pip install onnxruntime-gpu` brings it, beside an NVIDIA "
                "GPU and the CUDA libraries"
            )
        return ""

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        """model.onnx. Raises StageError (TK960) if ONNX Runtime cannot load it, TK961 if it cannot be had at all."""
        if missing := self.missing():
            raise StageError(Finding("TK961", f"engine onnxruntime cannot be built here: {missing}", about="engine"))
        runtime = library()
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if self.cuda else ["CPUExecutionProvider"]
        progress(f"onnxruntime {runtime.__version__}: loading the graph")
        with tempfile.TemporaryDirectory(prefix="tritonkit-onnxruntime-") as folder:
            saved = Path(folder) / "model.onnx"
            used = _load(graph, self.level, saved, providers)
            data = _in_order(saved.read_bytes()) if saved.exists() else graph
        if self.cuda and "CUDAExecutionProvider" not in used:
            raise StageError(
                Finding(
                    "TK961",
                    f"engine onnxruntime has a CUDA provider that does not start; it fell back to {', '.join(used)}",
                    "put the CUDA and cuDNN libraries that it was built for on LD_LIBRARY_PATH",
                    "engine",
                )
            )
        return Compiled("model.onnx", data, {**facts(used), "level": self.level, "precision": settings.precision})


def library() -> Any:
    """The package, imported when it is needed."""
    import onnxruntime

    return onnxruntime


def facts(providers: Sequence[str]) -> dict[str, Any]:
    """For the manifest: what decides the engine's answers beside the file."""
    name, flags = cpu()
    return {"onnxruntime": library().__version__, "providers": list(providers), "cpu": name, "cpu_flags": list(flags)}


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, tuple[str, ...]]:
    """The processor's name and the deciding ones of its flags, in a fixed order; without the file only a name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), ()
    values: Mapping[str, str] = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))
    }
    has = set((values.get("flags") or values.get("Features") or "").split())
    return values.get("model name") or platform.machine(), tuple(flag for flag in _DECIDING if flag in has)


def has_vnni() -> bool:
    """Whether this machine's processor sums products of UINT8 and INT8 without saturating."""
    _, flags = cpu()
    return bool({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"} & set(flags))


def saturates_here(*, on_cuda: bool) -> bool:
    """Whether sums of weights of all 8 bits overflow in an int8 engine that runs here. A GPU sums in 32 bits."""
    return not on_cuda and not has_vnni()


def overflows_here(target: str, *, on_cuda: bool) -> bool:
    """Whether they do where the engine of a target is served: the embedded server's processor is this one, and of
    another's nothing is known.
    """
    return target == EMBEDDED and saturates_here(on_cuda=on_cuda)


def _load(graph: bytes, level: Level, saved: Path, providers: Sequence[str]) -> list[str]:
    """The providers that the session has; the rewritten graph is at `saved`, unless `level` is none."""
    runtime = library()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    levels = runtime.GraphOptimizationLevel
    if level != "none":  # else as a server will load it: with everything
        chosen = {"basic": levels.ORT_ENABLE_BASIC, "extended": levels.ORT_ENABLE_EXTENDED}
        options.graph_optimization_level = chosen[level]
        options.optimized_model_filepath = str(saved)
    try:
        session = runtime.InferenceSession(graph, options, providers=list(providers))
    except Exception as error:  # the library's errors share no base class
        lines = str(error).strip().splitlines()
        raise StageError(
            Finding(
                "TK960", f"ONNX Runtime {runtime.__version__} cannot load the graph: {lines[0] if lines else error}"
            )
        ) from error
    used: list[str] = session.get_providers()
    return used


def _in_order(data: bytes) -> bytes:
    """The same graph in one order of bytes: the library lists the operator sets that it knows as a hash has them."""
    import onnx

    model = onnx.load_from_string(data)
    imports = sorted((entry.domain, entry.version) for entry in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in imports)
    kept: bytes = model.SerializeToString(deterministic=True)
    return kept
