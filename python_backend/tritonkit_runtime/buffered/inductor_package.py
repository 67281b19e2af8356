"""What Inductor compiled, as a file: a package of AOTInductor, or an ONNX graph with what torch.compile cached of it.

Either holds machine code, of one release of PyTorch and for one kind of processor: what it says of them is looked at
before anything of it is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tritonkit_runtime.buffered import inductor_module

Module = Callable[[Mapping[str, Any], Path], Any]
_OURS, _META = "tritonkit", "meta.json"
_LARGEST_META = 1 << 20
# Families of instructions that a C++ compiler chooses by itself for the processor that it runs on.
_CHOSEN = ("sse", "ssse", "avx", "amx", "fma", "bmi", "f16c", "abm", "movbe", "adx", "gfni", "vaes", "vpclmulqdq")
_CPU_FACTS = Path("/proc/cpuinfo")


def described(path: Path) -> dict[str, Any]:
    """What the file says of itself; ValueError, as a clause, for one that is none of the two. It needs no torch."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if _META in sizes:
                return {"kind": "torch.compile", **_read(archive, _META, sizes)}
            for name in sizes:
                if name.endswith("_metadata.json") and _OURS in (said := _read(archive, name, sizes)):
                    return {"kind": "aotinductor", **json.loads(said[_OURS])}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, RecursionError) as error:
        raise ValueError(f"cannot be read as what Inductor compiles: {error}") from error
    raise ValueError("is no package that tritonkit had Inductor compile")


def _read(archive: zipfile.ZipFile, name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    if sizes[name] > _LARGEST_META:
        raise ValueError(f"{name} has {sizes[name]:,} bytes")
    found = json.loads(archive.read(name))
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no JSON object")
    return found


def machine(torch: Any, device: str) -> dict[str, Any]:
    """What machine code is compiled for here: the release of PyTorch, and a GPU or the processor's instructions."""
    if device == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        return {
            "torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(),
            "compute_capability": capability,
        }  # fmt: skip
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "instructions": instructions()}


def instructions() -> list[str]:
    """Those of this processor that a C++ compiler may choose; empty where the kernel does not tell."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return sorted({flag for flag in flags if flag.startswith(_CHOSEN)})


def why_not(said: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Why machine code that says this cannot run where `machine` says that, as a clause; empty if it can."""
    was, has = (str(facts.get("torch", "unknown")).partition("+")[0] for facts in (said, here))
    if was != has:
        return f"was compiled by PyTorch {was}, and here is {has}"
    for key, word in (("cuda", "CUDA"), ("compute_capability", "compute capability")):
        if key in here and said.get(key) != here[key]:
            return f"was compiled for {word} {said.get(key)}, and here is {here[key]}"
    missing = sorted(set(said.get("instructions", ())) - set(here.get("instructions", ())))
    if missing and here.get("instructions"):
        return f"was compiled for a processor with {', '.join(missing[:5])}, which this one lacks"
    threads = said.get("threads")
    if "threads" in here and threads is not None and threads != here["threads"]:
        return f"was compiled for {threads} threads, and `intra_op_threads` is {here['threads']}"
    return ""


def loaded(
    torch: Any, path: Path, said: Mapping[str, Any], folder: Path, *, module: Module | None = None, gpu: int = 0
) -> Callable[..., tuple[Any, ...]]:
    """The file's function of tensors in the order of its inputs, as a tuple; whatever torch raises.

    `folder` is for what has to lie in files as long as it runs; `module` makes the module where no graph does.
    """
    if said["kind"] == "aotinductor":
        link = folder / "model.pt2"  # the name that torch wants
        link.symlink_to(path.resolve())
        on_gpu = {"device_index": gpu} if said["device"] == "cuda" else {}
        # One batch at a time comes here, and a recording must not hold what keeps several apart.
        loader = torch._inductor.aoti_load_package(str(link), run_single_threaded=True, **on_gpu).loader
        return lambda *tensors: tuple(loader.run(list(tensors)))
    inductor_module.by_content_alone()
    inductor_module.in_this_process_alone()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    if cache := (folder / "cache.bin").read_bytes():
        torch.compiler.load_cache_artifacts(cache)
    if (folder / "cache").is_dir():
        own = inductor_module.library("torch._inductor.runtime.cache_dir_utils").cache_dir()
        shutil.copytree(folder / "cache", own, dirs_exist_ok=True)
    made = (module or _of_graph)(said, folder)
    compiled = inductor_module.compiled_of(made, said)
    inductor_module.run_all_shapes(compiled, said)
    return lambda *tensors: as_tuple(compiled(*tensors))


def _of_graph(said: Mapping[str, Any], folder: Path) -> Any:
    if said["factory"]:
        raise ValueError(f"its module is made by {said['factory']}, which is not there")
    module = inductor_module.from_onnx((folder / "graph.onnx").read_bytes())
    return inductor_module.placed(module, said["device"], said["channels_last"])


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """A module's outputs, one or several."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


class Caches:
    """Where Inductor and Triton's compiler keep files in this process: a folder that goes with the last who needs it.

    Without it they write below /tmp for good, where others may have left something.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._before: dict[str, str | None] = {}
        self._users = 0

    def enter(self) -> None:
        """For one more user."""
        self._users += 1
        if self._folder is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="tritonkit-inductor-", ignore_cleanup_errors=True)
        place = Path(self._folder.name)
        said = {"TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"), "TRITON_CACHE_DIR": str(place / "triton")}
        self._before = {name: os.environ.get(name) for name in said}
        os.environ.update(said)

    def leave(self) -> None:
        """For a user that ends."""
        self._users -= 1
        if self._users or self._folder is None:
            return
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._folder.cleanup()
        self._folder = None


caches = Caches()
