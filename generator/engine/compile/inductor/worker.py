"""Compiles one model with Inductor, in a process of its own: `python worker.py FOLDER`.

FOLDER/request.json says what; beside it stands graph.onnx, unless a torch factory makes the module. Written are
FOLDER/engine (a .pt2 package, or a .zip of a model with torch.compile's cache), FOLDER/result.json, and meanwhile
FOLDER/steps: what it came to, and when. It needs torch, onnx2torch for a graph, and of this project only `answers.py`
beside it and the runtime, which has to be on its path, so that any interpreter with torch can run it.
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib.util
import inspect
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

if __package__:
    from generator.engine.compile.inductor import answers
else:  # run as a file, whose folder is the first that modules are looked for in
    import answers  # type: ignore[import-not-found, no-redef]

from tritonkit_runtime.buffered import inductor_package
from tritonkit_runtime.buffered.inductor_module import (
    by_content_alone,
    compiled_of,
    example_inputs,
    from_onnx,
    library,
    placed,
    run_all_shapes,
    set_precision,
)

STEPS = "steps"
_BEGUN = time.monotonic()
HALF = {"fp16": "float16", "bf16": "bfloat16"}
LAYOUTS = {True: "NHWC, as asked", False: "NCHW, as asked", None: "left to Inductor"}


def main(folder: Path) -> None:
    """Writes engine and result.json; what goes wrong is in result.json as `error`, with the `step` that it was in."""
    request = json.loads((folder / "request.json").read_text())
    if "stack_after_s" in request:  # where it is when the time is nearly over, for the log
        faulthandler.dump_traceback_later(request["stack_after_s"])
    step: list[str] = []

    def at(name: str) -> None:
        step.append(name)
        with (folder / STEPS).open("a", encoding="utf-8") as file:
            file.write(f"{name} after {time.monotonic() - _BEGUN:.1f} s\n")

    try:
        at("import")
        result = compile_model(request, folder, at)
        at("done")
    except Exception as error:  # noqa: BLE001  (whatever torch raises is the answer)
        result = {"step": step[-1], "error": f"{type(error).__name__}: {error}"}
    (folder / "result.json").write_text(json.dumps(result))


def compile_model(request: Mapping[str, Any], folder: Path, at: Callable[[str], None]) -> dict[str, Any]:
    """`at` is told every step. The facts that go into the manifest; raises what the step raises."""
    torch = library("torch")
    torch.manual_seed(0)
    set_precision(torch, request["precision"])
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    by_content_alone()
    at("model")
    module = made_module(request, folder)
    if request["factory"]:
        request = {**request, "ranges": in_order_of(module.forward, request["ranges"])}
    request = {**request, "options": {**layout(request["channels_last"]), **request["options"]}}
    at("device")
    module = ready(module, request)
    examples = example_inputs(torch, request)
    with torch.no_grad():
        found = module(*examples.values())
        answers.check_tensors(found, torch.Tensor)
        outputs = answers.output_names(request, found)
        if request["factory"]:
            answers.check_outputs(answers.as_tuple(found), request["expected"])
        facts = {
            "torch": torch.__version__, "device": request["device"], "inputs": list(examples), "outputs": outputs,
            "precision": request["precision"], "ranges": request["ranges"],
            "channels_last": LAYOUTS[request["channels_last"]],
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
                made = ahead_of_time(request, module, examples, facts, folder)
                return {**facts, "kind": "aotinductor", "why": "", **made}
            except Exception as error:  # noqa: BLE001  (the second way is tried, and the reason kept)
                why = f"{type(error).__name__}: {str(error).strip()[:500]}"
        in_time(request, module, facts, folder, at)
    made_by = {"factory": request["factory"]} if request["factory"] else {}
    return {**facts, "kind": "torch.compile", "why": why, **made_by}


def ahead_of_time(
    request: Mapping[str, Any], module: Any, examples: Mapping[str, Any], facts: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """FOLDER/engine as AOTInductor's package, with the tensors' names in its metadata."""
    torch = library("torch")
    shapes = as_forward_takes(module.forward, dynamic_shapes(torch, request))
    exported = torch.export.export(module, tuple(examples.values()), dynamic_shapes=shapes)
    path = folder / "made" / "model.pt2"
    path.parent.mkdir(exist_ok=True)
    named = {"tritonkit": json.dumps(of_itself(torch, facts))}
    torch._inductor.aoti_compile_and_package(
        exported, package_path=str(path), inductor_configs={"aot_inductor.metadata": named, **request["options"]}
    )
    # The package must load, and answer every shape as the module does, before it counts.
    loaded = torch._inductor.aoti_load_package(str(path))
    differences = []
    for where in ("opt", "min", "max"):
        given = example_inputs(torch, request, where).values()
        both = zip(answers.as_tuple(loaded(*given)), answers.as_tuple(module(*given)), strict=True)
        differences += [answers.difference(*pair, request["precision"]) for pair in both]
    path.replace(folder / "engine")
    return {"largest_difference": max(differences)}


def of_itself(torch: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of its tensors, and of the machine that can run it."""
    said = {key: facts[key] for key in ("inputs", "outputs", "precision", "device", "ranges")}
    return {**said, **inductor_package.machine(torch, facts["device"])}


def in_time(
    request: Mapping[str, Any], module: Any, facts: Mapping[str, Any], folder: Path, at: Callable[[str], None]
) -> None:
    """FOLDER/engine as a .zip: the model, and what torch.compile cached when it ran it."""
    torch = library("torch")
    run_all_shapes(compiled_of(module, request), request, lambda shapes: at(f"torch.compile {shapes}"))
    at("cache")
    saved = torch.compiler.save_cache_artifacts()
    meta = of_itself(torch, facts)
    meta |= {key: request[key] for key in ("factory", "options", "channels_last")}
    meta["dynamic"] = bool(request["dynamic"])
    files = {"meta.json": json.dumps(meta).encode(), "cache.bin": saved[0] if saved else b""}
    if not request["factory"]:
        files["graph.onnx"] = (folder / "graph.onnx").read_bytes()
    # What save_cache_artifacts leaves out: the libraries that a C++ compiler made for a CPU.
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    files |= {f"cache/{path.relative_to(cache)}": path.read_bytes() for path in sorted(cache.rglob("*.so"))}
    with zipfile.ZipFile(folder / "engine", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def load_module(request: Mapping[str, Any], folder: Path) -> Any:
    """The nn.Module, ready to run on its device in its precision; its inputs and outputs keep their types."""
    return ready(made_module(request, folder), request)


def made_module(request: Mapping[str, Any], folder: Path) -> Any:
    """The nn.Module of the factory, or of the graph."""
    torch = library("torch")
    if request["factory"]:
        module = factory(request["factory"], request["root"])()
        module = module[0] if isinstance(module, tuple) else module
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"{request['factory']} gives a {type(module).__name__}, and no torch.nn.Module")
        return module
    return from_onnx((folder / "graph.onnx").read_bytes())


def ready(module: Any, request: Mapping[str, Any]) -> Any:
    """On its device, in its layout and precision."""
    torch = library("torch")
    # Engines that were built before there was a choice of layout do not say it.
    module = placed(module, request["device"], request.get("channels_last"))
    if request["factory"] and request["precision"] in HALF:
        module = narrow(module, getattr(torch, HALF[request["precision"]]))
    return module


def layout(channels_last: bool | None) -> dict[str, bool]:
    """Inductor's options for what lies inside; left out, it decides: never NHWC for free shapes on a GPU."""
    if channels_last is None:
        return {}
    return {"layout_optimization": channels_last, "force_layout_optimization": channels_last}


def factory(name: str, root: str) -> Callable[[], Any]:
    """`path/file.py:function` below `root`. Raises ValueError."""
    where, _, function = name.rpartition(":")
    made = getattr(_module_in(Path(root) / where, where), function, None)
    if not callable(made):
        raise ValueError(f"{where} has no function {function}")
    return made  # type: ignore[no-any-return]


def _module_in(path: Path, where: str) -> ModuleType:
    """The module of a file, under a name that no other has.

    torch up to 2.11 imports the module of a class by its name when it traces it: so it has to be among the imported
    ones. Its own name could be that of another module, and another version of the file needs another name.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {where}")
    code = path.read_bytes()
    name = "tritonkit_factory_" + hashlib.sha256(os.fsencode(path.resolve()) + b"\0" + code).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  (its name ends in .py)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def narrow(module: Any, dtype: Any) -> Any:
    """The module in half precision, between casts: floats go in and come out as fp32."""
    torch = library("torch")

    class Narrow(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype)

        def forward(self, *tensors: Any) -> Any:
            found = self.inner(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))
            answers.check_tensors(found, torch.Tensor)
            widened = tuple(t.float() if t.is_floating_point() else t for t in answers.as_tuple(found))
            return widened if isinstance(found, (tuple, list)) else widened[0]

    return Narrow().eval()


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


def in_order_of(forward: Callable[..., Any], ranges: Mapping[str, Any]) -> dict[str, Any]:
    """The graph's inputs as `forward` takes them: by name where it has them all, else in the graph's order.

    Raises ValueError if it takes another number of them.
    """
    parameters = list(inspect.signature(forward).parameters.values())
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in placed)
    most = len(ranges) if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(placed)
    if not least <= len(ranges) <= most:
        takes = ", ".join(p.name for p in placed) or "none"
        raise ValueError(
            f"its forward takes {least} inputs ({takes}), and the ONNX file has {len(ranges)}: {', '.join(ranges)}"
        )
    names = [p.name for p in placed[: len(ranges)]]
    return {name: ranges[name] for name in names} if set(names) == set(ranges) else dict(ranges)


def as_forward_takes(forward: Callable[..., Any], shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """One entry a parameter: those that a `*tensors` takes are one tuple."""
    kinds = [parameter.kind for parameter in inspect.signature(forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return shapes
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*shapes[:named], shapes[named:])


if __name__ == "__main__":
    faulthandler.enable()  # a signal that ends it leaves in the log where it was
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    # The answer is written. At the exit torch would wait for its compiling processes, up to five minutes where one
    # hangs; whoever started this ends them.
    os._exit(0)
