"""A torch module of an ONNX graph, as Inductor compiles it: the same where it is built and where it is served.

It needs torch and onnx2torch when it is called, and nothing of this package: a compiler's worker runs it in any
interpreter that has the two.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any


def library(name: str) -> Any:
    """An optional package, imported when it is needed."""
    return importlib.import_module(name)


def from_onnx(graph: bytes) -> Any:
    """By onnx2torch, which names an operator that it does not know."""
    onnx = library("onnx")
    model = with_identities(onnx, onnx.load_model(io.BytesIO(graph)))
    return with_plain_lengths(library("onnx2torch").convert(model))


def with_identities(onnx: Any, model: Any) -> Any:
    """An Identity before each output of the graph that is one of several of a node.

    Without it onnx2torch gives all of them for the one.
    """
    outputs, nodes = {value.name for value in model.graph.output}, list(model.graph.node)
    several = [name for node in nodes if len(node.output) > 1 for name in node.output if name in outputs]
    parts = {name: f"{name}/part" for name in several}
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [parts.get(name, name) for name in names]
    model.graph.node.extend(onnx.helper.make_node("Identity", [part], [name]) for name, part in parts.items())
    return model


def with_plain_lengths(module: Any) -> Any:
    """onnx2torch's module with the constant lengths of Reshape and Split as numbers.

    It reads them from tensors, of which torch knows no values while it compiles.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_module" or len(node.args) < 2 or getattr(node.args[1], "op", "") != "get_attr":
            continue
        inner, given = module.get_submodule(node.target), node.args[0]
        lengths = attrgetter(node.args[1].target)(module).tolist()
        with module.graph.inserting_before(node):
            if type(inner).__name__ == "OnnxReshape":
                made = module.graph.call_function(reshaped, (given, lengths))
            elif type(inner).__name__ == "OnnxSplit13":
                made = module.graph.call_method("split", (given, lengths, inner.axis))
            else:
                continue
        node.replace_all_uses_with(made)
        module.graph.erase_node(node)
    module.recompile()
    return module


def reshaped(tensor: Any, lengths: list[int]) -> Any:
    """ONNX's Reshape: 0 is the length that there is, -1 what is left."""
    return tensor.reshape([tensor.shape[axis] if length == 0 else length for axis, length in enumerate(lengths)])


def placed(module: Any, device: str, channels_last: bool | None) -> Any:
    """On its device, in its layout."""
    torch = library("torch")
    module = module.eval().to(device)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)  # weights of four axes; the inputs stay as they come
    return module


def set_precision(torch: Any, precision: str) -> None:
    """fp32 means all of its bits; tf32 leaves products of matrices and convolutions 10 of 23."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def by_content_alone() -> None:
    """What a C++ compiler makes is found again by its source, whichever folder it was made in.

    With precompiled headers their path is part of what it is found by, and they stay in a folder that nobody names.
    """
    library("torch._inductor.config").cpp_cache_precompile_headers = False


def in_this_process_alone() -> None:
    """No processes to compile in, of which torch starts one a core, up to 32: what is loaded has nothing to compile.

    The environment's word for it counts only until torch's settings are imported, which onnx2torch does.
    """
    library("torch._inductor.config").compile_threads = 1


def compiled_of(module: Any, request: Mapping[str, Any]) -> Any:
    """Compiles when it is run. Lengths that are fixed stay fixed; `dynamic=True` would take them for free as well."""
    free = None if request["dynamic"] else False
    return library("torch").compile(module, dynamic=free, options=dict(request["options"]) or None)


def run_all_shapes(compiled: Any, request: Mapping[str, Any], at: Callable[[str], object] = bool) -> None:
    """The usual shapes first, of which the free lengths stay free; then others, some of which have code of their own.

    Whoever loads the cache does the same, and finds what this left. `at` is told of each before it is run.
    """
    torch = library("torch")
    with torch.no_grad():
        for shapes in all_shapes(request["ranges"]):
            at(" ".join("x".join(map(str, shape)) for shape in shapes.values()))
            tensors = tensors_of(torch, request, shapes)
            for name, entry in request["ranges"].items():
                for axis, (low, high) in enumerate(zip(entry["min"], entry["max"], strict=True)):
                    if low != high:
                        library("torch._dynamo").maybe_mark_dynamic(tensors[name], axis)
            compiled(*tensors.values())


def all_shapes(ranges: Mapping[str, Any]) -> list[dict[str, list[int]]]:
    """The usual, the least and the greatest shapes; and the usual ones in batches of the least size, twice it, and so
    on: of a batch of one, and of small ones, torch makes code that others do not have.
    """
    found = [shapes_of(ranges, where) for where in ("opt", "min", "max")]
    free = [entry for entry in ranges.values() if entry["min"] and entry["min"][0] != entry["max"][0]]
    items, most = (max((entry[word][0] for entry in free), default=0) for word in ("min", "max"))
    while items < most:
        found.append(
            {
                name: [min(max(items, entry["min"][0]), entry["max"][0]), *shape[1:]] if entry in free else shape
                for (name, entry), shape in zip(ranges.items(), found[0].values(), strict=True)
            }
        )
        items = max(1, 2 * items)
    return [shapes for place, shapes in enumerate(found) if shapes not in found[:place]]


def example_inputs(torch: Any, request: Mapping[str, Any], where: str = "opt") -> dict[str, Any]:
    """Seeded tensors of the least (`min`), the usual (`opt`) or the greatest (`max`) shape."""
    return tensors_of(torch, request, shapes_of(request["ranges"], where))


def shapes_of(ranges: Mapping[str, Any], where: str) -> dict[str, list[int]]:
    """The least (`min`), the usual (`opt`) or the greatest (`max`) ones.

    A usual length that may differ is at least 2, because torch takes a 1 for granted, and none of the fixed lengths,
    because it takes equal ones for the same.
    """
    fixed = {
        low for entry in ranges.values() for low, high in zip(entry["min"], entry["max"], strict=True) if low == high
    }
    shapes = {}
    for name, entry in ranges.items():
        shapes[name] = entry[where]
        if where == "opt":
            triples = zip(entry["min"], entry["opt"], entry["max"], strict=True)
            shapes[name] = [usual_length(low, opt, high, fixed) for low, opt, high in triples]
    return shapes


def tensors_of(torch: Any, request: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> dict[str, Any]:
    """Random ones of these shapes, on the device."""
    examples = {}
    for name, entry in request["ranges"].items():
        dtype, shape = getattr(torch, entry["dtype"]), shapes[name]
        tensor = torch.rand(shape) if dtype.is_floating_point else torch.randint(0, 2, shape)
        examples[name] = tensor.to(dtype).to(request["device"])
    return examples


def usual_length(low: int, opt: int, high: int, fixed: set[int]) -> int:
    """The length that a free axis is traced with."""
    if low == high:
        return low
    lengths: list[int] = [*range(max(opt, 2), high + 1), *range(opt, max(low, 2) - 1, -1)]
    return next((length for length in lengths if length not in fixed), opt)
