"""Runs what InductorCompiler made, in this process, which needs torch."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.engine.compile.inductor import answers, worker

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


class InductorRunner:
    """A .pt2 package or a .zip of torch.compile's. With `cuda_graphs` each shape is captured when first seen.

    `root` is where a factory is looked for. Raises ImportError without torch, and what torch raises.
    """

    def __init__(self, data: bytes, *, cuda_graphs: bool = False, root: Path | None = None) -> None:
        torch = self._torch = worker.library("torch")
        self._folder = tempfile.TemporaryDirectory(prefix="tritonkit-inductor-")
        path = Path(self._folder.name) / "model.pt2"
        path.write_bytes(data)
        meta = _meta(data)
        if meta is None:
            self._run: Any = torch._inductor.aoti_load_package(str(path))
            meta = json.loads(self._run.get_metadata()["tritonkit"])
        else:
            self._run = _compiled(torch, data, meta, root or Path.cwd())
        worker.set_precision(torch, meta["precision"])
        self.inputs, self.outputs, self.device = meta["inputs"], meta["outputs"], meta["device"]
        self._cuda_graphs = cuda_graphs and self.device == "cuda"
        self._graphs: dict[tuple[tuple[int, ...], ...], tuple[Any, list[Any], tuple[Any, ...]]] = {}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """The outputs by name; raises what torch raises."""
        torch = self._torch
        with torch.no_grad():
            # A package takes the strides for granted that it was compiled with.
            given = [torch.from_numpy(in_rows(tensors[name])) for name in self.inputs]
            if self._cuda_graphs:
                found = self._replay(given)
            else:
                found = answers.as_tuple(self._run(*(tensor.to(self.device) for tensor in given)))
            return {
                name: (t.float() if t.dtype is torch.bfloat16 else t).cpu().numpy()
                for name, t in zip(self.outputs, found, strict=True)
            }

    @property
    def module(self) -> Any:
        """What takes the inputs as tensors on `device`, in their order, and gives one tensor or several."""
        return self._run

    def close(self) -> None:
        """Frees the model."""
        self._graphs.clear()
        self._run = None
        self._folder.cleanup()

    def _replay(self, given: list[Any]) -> tuple[Any, ...]:
        """The graph of these shapes, which is captured once, on the same buffers every time."""
        key = tuple(tuple(tensor.shape) for tensor in given)
        if key not in self._graphs:
            buffers = [tensor.to(self.device) for tensor in given]
            self._graphs[key] = capture(self._torch, self._run, buffers)
        graph, buffers, outputs = self._graphs[key]
        for buffer, tensor in zip(buffers, given, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return outputs


def in_rows(array: Array) -> Array:
    """The array with the last axis nearest in memory, and the strides that say so of axes of length 1, too.

    NumPy leaves any stride to those, and a convolution of one channel took such a tensor for NHWC.
    """
    return array.ravel().reshape(array.shape)


def capture(torch: Any, run: Any, buffers: list[Any]) -> tuple[Any, list[Any], tuple[Any, ...]]:
    """A CUDA graph of one call, its inputs and its outputs; after three runs beside it, which libraries need."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run(*buffers)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = answers.as_tuple(run(*buffers))
    return graph, buffers, outputs


def _meta(data: bytes) -> dict[str, Any] | None:
    """Of torch.compile's .zip; None for a package."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read("meta.json")) if "meta.json" in archive.namelist() else None


def _compiled(torch: Any, data: bytes, meta: Mapping[str, Any], root: Path) -> Any:
    """The module once more, and torch.compile with the cache that came along, which spares it the compilers."""
    with tempfile.TemporaryDirectory(prefix="tritonkit-inductor-") as folder:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)
        if cache := (Path(folder) / "cache.bin").read_bytes():
            torch.compiler.load_cache_artifacts(cache)
        if (Path(folder) / "cache").is_dir():
            own = worker.library("torch._inductor.runtime.cache_dir_utils").cache_dir()
            shutil.copytree(Path(folder) / "cache", own, dirs_exist_ok=True)
        module = worker.load_module({**meta, "root": str(root)}, Path(folder))
    compiled = torch.compile(module, dynamic=meta["dynamic"], options=meta["options"] or None)
    worker.run_all_shapes(compiled, meta)
    return compiled
