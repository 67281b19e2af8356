"""fp16 and bf16 by casts in the graph: weights are stored in 16 bits, and casts stand where the precision changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.precision.choose import Choice, choose, moves
from generator.engine.precision.graph import captured, element_types, fresh, subgraphs, tensor_names, tidy
from generator.engine.precision.keep import Keep, Kept, kept_nodes
from generator.engine.precision.number_types import Low, Word, initializer, low
from generator.engine.precision.opset import at_least

if TYPE_CHECKING:
    import onnx

FP32 = 1  # onnx.TensorProto.FLOAT
_BF16_OPSET = 22  # the first in which Conv and the pools know it


@dataclass(frozen=True)
class Lowered:
    """`model` computes in 16 bits, but for the nodes in `stay` (name → why).

    `clipped` counts the numbers that were clipped in each weight, because they stand for infinity.
    """

    model: onnx.ModelProto
    stay: Mapping[str, str]
    clipped: Mapping[str, int]


def cast(
    model: onnx.ModelProto, to: Word, keep: Keep | None = None, *, keep_io_types: bool = True
) -> onnx.ModelProto:
    """`lower`, without what it says."""
    return lower(model, to, keep, keep_io_types=keep_io_types).model


def lower(model: onnx.ModelProto, to: Word, keep: Keep | None = None, *, keep_io_types: bool = True) -> Lowered:
    """The FP32 graph in `fp16` or `bf16`. With `keep_io_types` its inputs and outputs stay FP32.

    Stay in fp32: what `keep` says; operators that know no such type; weights that it cannot hold; what has branches;
    arithmetic on counts. bf16 raises the opset to 22 if it can, since Conv knows it from there. A graph with
    Q/DQ (int8, fp8) is raised to 19, and what is not 8 bits becomes 16 bits. Raises StageError
    (TK930-TK932).
    """
    low_type = low(to)
    graph_model = tidy(_newer(model, _BF16_OPSET if to == "bf16" else _scales_opset(model)))
    kept = kept_nodes(graph_model, keep or Kept())
    types = element_types(graph_model)
    choice = choose(graph_model, types, low_type, kept)
    writer = _Writer(graph_model, types, low_type, choice, keep_io_types)
    writer.write()
    return Lowered(_checked(graph_model), dict(sorted(choice.stay.items())), dict(sorted(writer.clipped.items())))


def _scales_opset(model: onnx.ModelProto) -> int:
    """Q/DQ know 16 bits from 19 on."""
    return 19 if any(node.op_type == "QuantizeLinear" for node in model.graph.node) else 1


def _newer(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return at_least(model, opset)
    except Exception:  # noqa: BLE001 - the converter's errors have no base; what knows no bf16 is reported as staying
        return model


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    from onnx import shape_inference

    try:
        known = shape_inference.infer_shapes(model, check_type=True)
        onnx.checker.check_model(known, full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        hint = "keep its node in fp32 with `keep`"
        raise StageError(Finding("TK932", f"the lowered graph is not valid: {error}", hint, "precision")) from error
    return known


class _Writer:
    """Rewrites the graph in place, node by node. A tensor has a name for each type in which it is wanted."""

    def __init__(
        self, model: onnx.ModelProto, types: Mapping[str, int], low_type: Low, choice: Choice, keep_io: bool
    ) -> None:
        self.graph, self.types, self.low, self.choice, self.keep_io = model.graph, types, low_type, choice, keep_io
        self.weights = {w.name: w for w in self.graph.initializer if w.data_type == FP32}
        self.clipped: dict[str, int] = {}
        # By node, which inputs change their type; by tensor, who reads it where, with -1 for inside of a branch.
        self._lowered_inputs = {name: frozenset(operands.inputs) for name, operands in choice.lowered.items()}
        self._readers = _readers(self.graph)
        self._taken = tensor_names(self.graph)
        self._node_names = {node.name for node in self.graph.node}
        self._stored: dict[str, int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._new_weights: list[onnx.TensorProto] = []
        self._used_weights: set[str] = set()

    def write(self) -> None:
        """Replaces nodes, weights and types of the graph."""
        io_type = FP32 if self.keep_io else self.low.number
        for value in self.graph.input:
            if self.types.get(value.name) == FP32 and value.name not in self.weights:
                value.type.tensor_type.elem_type = io_type
                self._store(value.name, io_type, value.name)
        outputs = {v.name for v in self.graph.output if self.types.get(v.name) == FP32}
        made = outputs & {name for node in self.graph.node for name in node.output}
        for value in self.graph.output:
            if value.name in made:
                value.type.tensor_type.elem_type = io_type
            elif value.name in outputs:  # an input or a weight that is passed on
                value.type.tensor_type.elem_type = FP32 if value.name in self.weights else io_type
                self._used_weights.update({value.name} & self.weights.keys())
        for node in list(self.graph.node):
            self._node(node, outputs, io_type)
        self._replace()

    def _node(self, node: onnx.NodeProto, outputs: set[str], io_type: int) -> None:
        wanted = self._wanted(node)
        operands = self.choice.lowered.get(node.name)
        lowered_inputs = self._lowered_inputs.get(node.name, frozenset())
        for i, name in enumerate(node.input):
            if self.types.get(name) != FP32:
                continue
            if node.op_type == "Cast" and name not in self.weights:
                node.input[i] = self._names[name, self._stored[name]]
            else:
                node.input[i] = self._as(name, wanted if i in lowered_inputs else FP32)
        for name in captured(node):
            if self.types.get(name) == FP32:
                _rename(node, name, self._as(name, FP32))
        self._nodes.append(node)
        for i, name in enumerate(node.output):
            if self.types.get(name) != FP32:
                continue
            made = wanted if operands and i in operands.outputs else FP32
            if node.op_type == "Cast" and self._may_lower(name, outputs):
                made = self.low.number
                next(a for a in node.attribute if a.name == "to").i = made
            if name in outputs and made != io_type:
                node.output[i] = self._fresh(name, made)
                self._store(name, made, node.output[i])
                self._names[name, io_type] = name
                self._cast(node.output[i], name, io_type)
            else:
                self._store(name, made, name)

    def _wanted(self, node: onnx.NodeProto) -> int:
        """The type that a node computes in."""
        operands = self.choice.lowered.get(node.name)
        if operands is None:
            return FP32
        given = [self._stored[node.input[i]] for i in operands.inputs if node.input[i] in self._stored]
        if given and (moves(node) or not operands.decides):
            return FP32 if FP32 in given else self.low.number
        return self.low.number

    def _may_lower(self, name: str, outputs: set[str]) -> bool:
        """Whether a cast to FP32 can give 16 bits at once: nobody wants its FP32."""
        readers = self._readers.get(name, ())
        return (
            bool(readers)
            and name not in outputs
            and all(i in self._lowered_inputs.get(reader, ()) for reader, i in readers)
        )

    def _as(self, name: str, number: int) -> str:
        """The tensor's name in a type; a cast or a second weight is made when it is wanted for the first time."""
        known = self._names.get((name, number))
        if known is not None:
            return known
        if name in self.weights:
            made = self._weight(name, number)
        else:
            made = self._fresh(name, number)
            self._cast(self._names[name, self._stored[name]], made, number)
        self._names[name, number] = made
        return made

    def _weight(self, name: str, number: int) -> str:
        from onnx import numpy_helper

        if number == FP32:
            self._used_weights.add(name)
            return name
        if count := self.low.clips(numpy_helper.to_array(self.weights[name])):
            self.clipped[name] = count
        made = self._fresh(name, number)
        self._new_weights.append(initializer(self.low, self.weights[name], made))
        return made

    def _store(self, name: str, number: int, called: str) -> None:
        self._stored[name] = number
        self._names[name, number] = called

    def _cast(self, source: str, made: str, number: int) -> None:
        from onnx import helper

        self._nodes.append(
            helper.make_node("Cast", [source], [made], fresh(f"{made}_cast", self._node_names), to=number)
        )

    def _fresh(self, name: str, number: int) -> str:
        return fresh(f"{name}_{'fp32' if number == FP32 else self.low.word}", self._taken)

    def _replace(self) -> None:
        del self.graph.node[:]
        self.graph.node.extend(self._nodes)
        weights = [w for w in self.graph.initializer if w.data_type != FP32 or w.name in self._used_weights]
        gone = self.weights.keys() - self._used_weights
        inputs = [value for value in self.graph.input if value.name not in gone]
        del self.graph.initializer[:], self.graph.input[:]
        self.graph.initializer.extend([*weights, *self._new_weights])
        self.graph.input.extend(inputs)
        named = {called: number for (_, number), called in self._names.items()}
        infos = []
        for value in self.graph.value_info:
            if self.types.get(value.name) == FP32:
                # The name may stand for the tensor in another type now, or for none.
                if value.name not in named or value.name in gone:
                    continue
                value.type.tensor_type.elem_type = named[value.name]
            infos.append(value)
        del self.graph.value_info[:]
        self.graph.value_info.extend(infos)


def _readers(graph: onnx.GraphProto) -> dict[str, list[tuple[str, int]]]:
    """For each tensor the names of the nodes that read it, and at which input; -1 inside of a branch."""
    readers: dict[str, list[tuple[str, int]]] = {}
    for node in graph.node:
        for i, name in (*enumerate(node.input), *((-1, name) for name in captured(node))):
            readers.setdefault(name, []).append((node.name, i))
    return readers


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    """Inside the branches of `node`."""
    if old == new:
        return
    for inner in subgraphs(node):
        for child in inner.node:
            for i, name in enumerate(child.input):
                if name == old:
                    child.input[i] = new
            _rename(child, old, new)
        for value in inner.output:
            if value.name == old:
                value.name = new
