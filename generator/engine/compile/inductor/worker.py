"""Compiles one model with Inductor, in a process of its own: `python worker.py FOLDER`.

FOLDER/request.json says what; beside it stands graph.onnx, unless a torch factory makes the module. Written are
FOLDER/engine (a .pt2 package, or a .zip of a model with torch.compile's cache) and FOLDER/result.json. It needs
torch, and onnx2torch for a graph, and nothing of this project, so that any interpreter with torch can run it.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HALF = {"fp16": "float16", "bf16": "bfloat16"}


def main(folder: Path) -> None:
    """Writes engine and result.json; what goes wrong is in result.json as `error`, with the `step` that it was in."""
    request = json.loads((folder / "request.json").read_text())
    step = ["import"]
    try:
        result = compile_model(request, folder, step.append)
    except Exception as error:  # noqa: BLE001  (whatever torch raises is the answer)
        result = {"step": step[-1], "error": f"{type(error).__name__}: {error}"}
    (folder / "result.json").write_text(json.dumps(result))


def library(name: str) -> Any:
    """An optional package, imported when it is needed."""
    return importlib.import_module(name)


def compile_model(request: Mapping[str, Any], folder: Path, at: Callable[[str], None]) -> dict[str, Any]:
    """`at` is told every step. The facts that go into the manifest; raises what the step raises."""
    torch = library("torch")
    torch.manual_seed(0)
    set_precision(torch, request["precision"])
    at("model")
    module = load_module(request, folder)
    examples = example_inputs(torch, request)
    with torch.no_grad():
        outputs = output_names(request, module(*examples.values()))
        facts = {
            "torch": torch.__version__, "device": request["device"], "inputs": list(examples), "outputs": outputs,
            "precision": request["precision"], "ranges": request["ranges"],
        }  # fmt: skip
        if request["device"] == "cpu":
            facts["threads"] = torch.get_num_threads()  # which the kernels are written for
        else:
            facts["gpu"] = torch.cuda.get_device_name()
            facts["compute_capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
        why = ""
        if request["ahead_of_time"]:
            try:
                at("ahead of time")
                return {
                    **facts,
                    "kind": "aotinductor",
                    "why": "",
                    **ahead_of_time(request, module, examples, facts, folder),
                }
            except Exception as error:  # noqa: BLE001  (the second way is tried, and the reason kept)
                why = f"{type(error).__name__}: {str(error).strip()[:500]}"
        at("torch.compile")
        in_time(request, module, facts, folder)
    return {**facts, "kind": "torch.compile", "why": why}


def ahead_of_time(
    request: Mapping[str, Any], module: Any, examples: Mapping[str, Any], facts: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """FOLDER/engine as AOTInductor's package, with the tensors' names in its metadata."""
    torch = library("torch")
    exported = torch.export.export(module, tuple(examples.values()), dynamic_shapes=dynamic_shapes(torch, request))
    path = folder / "made" / "model.pt2"
    path.parent.mkdir(exist_ok=True)
    named = {"tritonkit": json.dumps({key: facts[key] for key in ("inputs", "outputs", "precision", "device")})}
    torch._inductor.aoti_compile_and_package(
        exported, package_path=str(path), inductor_configs={"aot_inductor.metadata": named, **request["options"]}
    )
    # The package must load and answer as the module does before it counts.
    loaded = torch._inductor.aoti_load_package(str(path))
    found, expected = as_tuple(loaded(*examples.values())), as_tuple(module(*examples.values()))
    differences = [
        float((a.float() - b.float()).abs().max()) if a.numel() else 0.0 for a, b in zip(found, expected, strict=True)
    ]
    path.replace(folder / "engine")
    return {"largest_difference": max(differences)}


def in_time(request: Mapping[str, Any], module: Any, facts: Mapping[str, Any], folder: Path) -> None:
    """FOLDER/engine as a .zip: the model, and what torch.compile cached when it ran it."""
    torch = library("torch")
    compiled = torch.compile(module, dynamic=bool(request["dynamic"]), options=dict(request["options"]) or None)
    run_all_shapes(compiled, request)
    saved = torch.compiler.save_cache_artifacts()
    meta = {key: facts[key] for key in ("inputs", "outputs", "precision", "device")}
    meta["ranges"] = request["ranges"]
    meta |= {"factory": request["factory"], "dynamic": bool(request["dynamic"]), "options": request["options"]}
    files = {"meta.json": json.dumps(meta).encode(), "cache.bin": saved[0] if saved else b""}
    if not request["factory"]:
        files["graph.onnx"] = (folder / "graph.onnx").read_bytes()
    # What save_cache_artifacts leaves out: the libraries that a C++ compiler made for a CPU.
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    files |= {f"cache/{path.relative_to(cache)}": path.read_bytes() for path in sorted(cache.rglob("*.so"))}
    with zipfile.ZipFile(folder / "engine", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def run_all_shapes(compiled: Any, request: Mapping[str, Any]) -> None:
    """The usual shape first, of which all lengths stay free; then the least: a batch of one has its own kernels.

    Whoever loads the cache does the same, and finds what this left.
    """
    torch = library("torch")
    with torch.no_grad():
        for where in ("opt", "min", "max"):
            compiled(*example_inputs(torch, request, where).values())


def load_module(request: Mapping[str, Any], folder: Path) -> Any:
    """The nn.Module, ready to run on its device in its precision; its inputs and outputs keep their types."""
    torch = library("torch")
    if request["factory"]:
        module = factory(request["factory"], request["root"])()
        module = module[0] if isinstance(module, tuple) else module
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"{request['factory']} gives a {type(module).__name__}, and no torch.nn.Module")
    else:
        module = from_onnx((folder / "graph.onnx").read_bytes())
    module = module.eval().to(request["device"])
    if request["factory"] and request["precision"] in HALF:
        module = narrow(module, getattr(torch, HALF[request["precision"]]))
    return module


def from_onnx(graph: bytes) -> Any:
    """By onnx2torch, which names an operator that it does not know."""
    onnx = library("onnx")
    return library("onnx2torch").convert(onnx.load_model(io.BytesIO(graph)))


def factory(name: str, root: str) -> Callable[[], Any]:
    """`module:function` or `path/file.py:function` below `root`. Raises ValueError."""
    where, _, function = name.rpartition(":")
    if where.endswith(".py"):
        path = Path(root) / where
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ValueError(f"there is no file {where}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, root)
        module = importlib.import_module(where)
    made = getattr(module, function, None)
    if not callable(made):
        raise ValueError(f"{where} has no function {function}")
    return made  # type: ignore[no-any-return]


def narrow(module: Any, dtype: Any) -> Any:
    """The module in half precision, between casts: floats go in and come out as fp32."""
    torch = library("torch")

    class Narrow(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype)

        def forward(self, *tensors: Any) -> Any:
            found = self.inner(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))
            widened = tuple(t.float() if t.is_floating_point() else t for t in as_tuple(found))
            return widened if isinstance(found, (tuple, list)) else widened[0]

    return Narrow().eval()


def example_inputs(torch: Any, request: Mapping[str, Any], where: str = "opt") -> dict[str, Any]:
    """Seeded tensors of the least (`min`), the usual (`opt`) or the greatest (`max`) shape.

    A usual length that may differ is at least 2, because torch takes a 1 for granted, and none of the fixed lengths,
    because it takes equal ones for the same.
    """
    entries = request["ranges"].values()
    fixed = {low for entry in entries for low, high in zip(entry["min"], entry["max"], strict=True) if low == high}
    examples = {}
    for name, entry in request["ranges"].items():
        shape = entry[where]
        if where == "opt":
            triples = zip(entry["min"], entry["opt"], entry["max"], strict=True)
            shape = [_usual(low, opt, high, fixed) for low, opt, high in triples]
        dtype = getattr(torch, entry["dtype"])
        tensor = torch.rand(shape) if dtype.is_floating_point else torch.randint(0, 2, shape)
        examples[name] = tensor.to(dtype).to(request["device"])
    return examples


def _usual(low: int, opt: int, high: int, fixed: set[int]) -> int:
    if low == high:
        return low
    lengths: list[int] = [*range(max(opt, 2), high + 1), *range(opt, max(low, 2) - 1, -1)]
    return next((length for length in lengths if length not in fixed), opt)


def dynamic_shapes(torch: Any, request: Mapping[str, Any]) -> tuple[dict[int, Any], ...]:
    """For torch.export: axes of the same name share one length; those without one are found out."""
    dims: dict[str, Any] = {}
    shapes = []
    for entry in request["ranges"].values():
        axes: dict[int, Any] = {}
        for axis, (low, high) in enumerate(zip(entry["min"], entry["max"], strict=True)):
            if low != high:
                name = entry["axes"][axis]
                if name:
                    axes[axis] = dims.setdefault(name, torch.export.Dim(name, min=low, max=high))
                else:
                    axes[axis] = torch.export.Dim.AUTO
        shapes.append(axes)
    # A GraphModule's forward may take them under other names; a tuple goes by place.
    return tuple(shapes)


def output_names(request: Mapping[str, Any], outputs: Any) -> list[str]:
    """The graph's; of a factory that does not say them, `output_0` and so on."""
    count = len(as_tuple(outputs))
    names: list[str] = request["outputs"] or [f"output_{index}" for index in range(count)]
    if len(names) != count:
        raise ValueError(f"the module gives {count} outputs, and {len(names)} are named: {', '.join(names)}")
    return names


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """A module's outputs, one or several."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def set_precision(torch: Any, precision: str) -> None:
    """fp32 means all of its bits; tf32 leaves products of matrices and convolutions 10 of 23."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
