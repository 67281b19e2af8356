"""Runs what InductorCompiler made, in this process, which needs torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.engine.compile.inductor import answers, worker
from tritonkit_runtime.buffered import inductor_package
from tritonkit_runtime.buffered.inductor_module import library, set_precision

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


class InductorRunner:
    """A .pt2 package or a .zip of torch.compile's. With `cuda_graphs` each shape is captured when first seen.

    `root` is where a factory is looked for, `threads` are torch's (0: as they are). Raises ImportError without torch,
    and what torch raises.
    """

    def __init__(self, data: bytes, *, cuda_graphs: bool = False, root: Path | None = None, threads: int = 0) -> None:
        torch = self._torch = library("torch")
        self._folder = tempfile.TemporaryDirectory(prefix="tritonkit-inductor-")
        if threads:
            torch.set_num_threads(threads)
        path, place = Path(self._folder.name) / "engine", Path(self._folder.name) / "loaded"
        path.write_bytes(data)
        place.mkdir()
        meta = inductor_package.described(path)
        set_precision(torch, meta["precision"])
        project = str(root or Path.cwd())
        self._run: Any = inductor_package.loaded(
            torch, path, meta, place, module=lambda said, at: worker.load_module({**said, "root": project}, at)
        )
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
                found = self._run(*(tensor.to(self.device) for tensor in given))
            return {
                name: (t.float() if t.dtype is torch.bfloat16 else t).cpu().numpy()
                for name, t in zip(self.outputs, found, strict=True)
            }

    @property
    def module(self) -> Any:
        """What takes the inputs as tensors on `device`, in their order, and gives a tuple of tensors."""
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
