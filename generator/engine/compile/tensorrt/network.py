"""From ONNX bytes to TensorRT's network, its profiles, and what is wrong with either."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from generator.engine.compile.base import Profile
from generator.engine.compile.tensorrt.api import strongly_typed
from generator.engine.errors import Finding, StageError


def empty_network(trt: Any, builder: Any) -> Any:
    """A network whose types the graph decides, where the version knows that; else one of explicit batch."""
    flags = trt.NetworkDefinitionCreationFlag
    flag = flags.STRONGLY_TYPED if strongly_typed(trt) else flags.EXPLICIT_BATCH
    return builder.create_network(1 << int(flag))


def load_plugins(trt: Any, owner: Any, logger: Any, libraries: Sequence[str]) -> None:
    """TensorRT's own plugins and those of `libraries`, for a Builder or Runtime. Raises StageError (TK958)."""
    trt.init_libnvinfer_plugins(logger, "")
    if not libraries:
        return
    registry = owner.get_plugin_registry()
    findings = []
    for library in libraries:
        reason = _unloadable(library)
        if not reason and registry.load_library(library) is None:
            reason = "TensorRT finds no plugin in it"
        if reason:
            hint = "build it for this machine, against the TensorRT that is installed here"
            message = f"the plugin library {library} cannot be loaded: {reason}"
            findings.append(Finding("TK958", message, hint, "build"))
    if findings:
        raise StageError(findings)


def _unloadable(library: str) -> str:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def parse(trt: Any, network: Any, logger: Any, graph: bytes, path: str) -> Any:
    """Fills the network; gives the parser, which owns the weights and has to live until the plan is built.

    Raises StageError (TK951) with everything that the parser says, node by node.
    """
    parser = trt.OnnxParser(network, logger)
    if parser.parse(graph, path):
        return parser
    findings = [_parser_finding(parser.get_error(index), trt) for index in range(parser.num_errors)]
    raise StageError(findings or [Finding("TK951", "TensorRT's parser took the graph for none and says no more")])


def _parser_finding(parser_error: Any, trt: Any) -> Finding:
    name = parser_error.node_name() if hasattr(parser_error, "node_name") else ""
    operator = parser_error.node_operator() if hasattr(parser_error, "node_operator") else ""
    where = f"node {parser_error.node()}" if parser_error.node() >= 0 else "the graph"
    where += f" ({operator or 'operator unknown'} {name!r})" if name or operator else ""
    text = " ".join(str(parser_error.desc()).split())
    hint = "replace the operator, bring a plugin (`build.plugins`), or take `engine: onnxruntime`"
    return Finding("TK951", f"TensorRT {trt.__version__} cannot take {where}: {text}", hint)


def inputs(network: Any) -> list[Any]:
    """The network's input tensors, in the graph's order."""
    return [network.get_input(index) for index in range(network.num_inputs)]


def add_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[Profile]) -> list[Any]:
    """Gives the configuration its profiles. Raises StageError (TK952) when they do not fit the graph."""
    tensors = inputs(network)
    findings = list(_misfits(tensors, profiles))
    if findings:
        raise StageError(findings)
    dynamic = [tensor.name for tensor in tensors if -1 in tuple(tensor.shape)]
    made = []
    for shapes in profiles if dynamic else ():
        profile = builder.create_optimization_profile()
        for name in dynamic:
            profile.set_shape(name, shapes[name].min, shapes[name].opt, shapes[name].max)
        config.add_optimization_profile(profile)
        made.append(profile)
    return made


def _misfits(tensors: Sequence[Any], profiles: Sequence[Profile]) -> Iterator[Finding]:
    shapes = {str(tensor.name): tuple(tensor.shape) for tensor in tensors}
    dynamic = sorted(name for name, shape in shapes.items() if -1 in shape)
    for tensor in tensors:
        if tensor.is_shape_tensor:
            yield _misfit(
                f"the input {tensor.name!r} decides shapes by its values", "make it a constant of the graph"
            )
    if dynamic and not profiles:
        yield _misfit(f"the inputs {', '.join(dynamic)} have dynamic axes and no profile says how long", _PROFILES)
    for number, given in enumerate(profiles):
        for name in sorted(given.keys() - shapes.keys()):
            yield _misfit(
                f"profile {number} names the input {name!r}; there are {', '.join(sorted(shapes))}", _PROFILES
            )
        for name in sorted(set(dynamic) - given.keys()):
            yield _misfit(f"profile {number} does not say the shape of {name!r}, which has dynamic axes", _PROFILES)
        for name in sorted(given.keys() & shapes.keys()):
            for word in ("min", "opt", "max"):
                dims = getattr(given[name], word)
                if not _fits(dims, shapes[name]):
                    said = f"profile {number}: {word} of {name!r} is {list(dims)}, and its shape is"
                    yield _misfit(f"{said} {list(shapes[name])} (-1: any)", _PROFILES)


_PROFILES = "give every input's whole shape, batch included, in `build.profiles`"


def _misfit(message: str, hint: str) -> Finding:
    return Finding("TK952", message, hint, "build.profiles")


def _fits(dims: Sequence[int], shape: Sequence[int]) -> bool:
    return len(dims) == len(shape) and all(fixed in {-1, dim} for dim, fixed in zip(dims, shape, strict=True))


def quantised(trt: Any, network: Any) -> bool:
    """Whether the graph has quantise and dequantise layers of its own."""
    types = {trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE}
    return any(network.get_layer(index).type in types for index in range(network.num_layers))


def tensors_of(network: Any) -> Iterator[Any]:
    """Every tensor of the network once: inputs, and what layers give out."""
    yield from inputs(network)
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        for index in range(layer.num_outputs):
            tensor = layer.get_output(index)
            if tensor is not None:
                yield tensor


def types_of(network: Any) -> set[str]:
    """The names of all tensors' types (FLOAT, HALF, BF16, …), as a strongly typed network has them."""
    return {tensor.dtype.name for tensor in tensors_of(network)}
