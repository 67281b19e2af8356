"""The end of a sentence embedding: the mean over a text's tokens, and length 1."""

from __future__ import annotations

from onnx import ModelProto, ValueInfoProto

from generator.engine.errors import Finding, StageError
from generator.engine.fold.graph import Nodes, Value, check_opset, free, info_of, names_in, opset_of, value_of
from generator.engine.fold.operators import l2_normalized, masked_mean


def add_masked_mean(model: ModelProto, hidden: str, mask: str, output: str) -> ModelProto:
    """`model` with output `hidden` [batch, tokens, width] pooled to `output` FP32 [batch, width], in its place.

    `mask` is an input [batch, tokens], 0 for padding: what stands there counts for nothing, even NaN. A text without
    tokens gives 0. Raises StageError when there is no such tensor.
    """
    changed, nodes = _begin(model, output)
    inputs = {info.name: info for info in changed.graph.input}
    source = _named(hidden, {info.name: info for info in changed.graph.output}, "output", 3)
    return _end(changed, nodes, hidden, masked_mean(nodes, source, _named(mask, inputs, "input", 2)), output)


def add_l2_normalize(model: ModelProto, tensor: str, output: str, shortest: float = 1e-12) -> ModelProto:
    """`model` with output `tensor` [..., width] scaled to length 1 along its last axis: `output` FP32, in its place.

    A row that is shorter than `shortest` is divided by that: one of zeros stays so. Raises StageError when there is
    no such output.
    """
    changed, nodes = _begin(model, output)
    source = _named(tensor, {info.name: info for info in changed.graph.output}, "output", None)
    return _end(changed, nodes, tensor, l2_normalized(nodes, source, shortest), output)


def _begin(model: ModelProto, output: str) -> tuple[ModelProto, Nodes]:
    changed = ModelProto()
    changed.CopyFrom(model)
    opset = opset_of(changed)
    check_opset(opset)
    return changed, Nodes(output, opset, names_in(changed.graph))


def _named(name: str, there: dict[str, ValueInfoProto], word: str, axes: int | None) -> Value:
    found = None if name not in there else value_of(there[name])
    if found is None or (axes is not None and len(found.dims) != axes):
        wanted = "" if axes is None else f" of {axes} axes"
        listed = ", ".join(f"`{known}`" for known in there)
        raise StageError(Finding("TK923", f"the graph has no {word} `{name}`{wanted}; its {word}s are {listed}"))
    return found


def _end(model: ModelProto, nodes: Nodes, old: str, value: Value, output: str) -> ModelProto:
    """The last value under the name `output`, in the place of the output `old`."""
    if output in nodes.taken:
        raise StageError(
            Finding("TK923", f"the graph already has a value `{output}`", f"try `{free(output, nodes.taken)}`")
        )
    nodes.nodes[-1].output[0] = output
    model.graph.node.extend(nodes.nodes)
    model.graph.initializer.extend(nodes.constants)
    for info in model.graph.output:
        if info.name == old:
            info.CopyFrom(info_of(Value(output, value.dtype, value.dims)))
    return model
