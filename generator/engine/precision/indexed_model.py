"""onnxruntime.quantization with readers, makers and weights by name, where it looks through all of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import onnx
from onnxruntime.quantization import base_quantizer, qdq_quantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.operators import matmul
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import find_by_name


class Weights(Collection[onnx.TensorProto]):
    """All weights in order, and by name."""

    def __init__(self, weights: Iterable[onnx.TensorProto]) -> None:
        self._all: dict[int, onnx.TensorProto] = {}
        self._named: dict[str, list[onnx.TensorProto]] = {}
        for weight in weights:
            self.append(weight)

    def append(self, weight: onnx.TensorProto) -> None:
        """Behind the others."""
        self._all[id(weight)] = weight
        self._named.setdefault(weight.name, []).append(weight)

    def remove(self, weight: onnx.TensorProto) -> None:
        """The first that is equal to it."""
        named = self._named.get(weight.name, [])
        if weight in named:
            del self._all[id(named.pop(named.index(weight)))]

    def first(self, name: str) -> onnx.TensorProto | None:
        """The first of that name."""
        return next(iter(self._named.get(name, ())), None)

    def __iter__(self) -> Iterator[onnx.TensorProto]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, weight: object) -> bool:
        return isinstance(weight, onnx.TensorProto) and weight in self._named.get(weight.name, ())


def _found(name: str, items: Iterable[Any]) -> Any:
    """The library's find_by_name; it is asked several times for every tensor of a graph."""
    return items.first(name) if isinstance(items, Weights) else find_by_name(name, items)


for _module in (base_quantizer, qdq_quantizer, matmul):
    _module.find_by_name = _found  # they hold it by name; the answers are the same


class IndexedModel(ONNXModel):  # type: ignore[misc]  # the library has no types
    """Does what the library's does. Nodes and weights must be added and removed by its methods alone."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._weights = Weights(model.graph.initializer)
        self._removed = False
        self._readers, self._makers = _Nodes(), _Nodes()
        for node in model.graph.node:
            self._note(node)

    def _note(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            self._readers.add(name, node)
        for name in node.output:
            self._makers.add(name, node)

    def add_node(self, node: onnx.NodeProto) -> None:
        """Appends a copy of it."""
        super().add_node(node)
        self._note(self.model.graph.node[-1])

    def replace_node_input(self, node: onnx.NodeProto, old_input_name: str, new_input_name: str) -> None:
        """In one node."""
        super().replace_node_input(node, old_input_name, new_input_name)
        self._readers.add(new_input_name, node)

    def replace_input_of_all_nodes(self, old_input_name: str, new_input_name: str) -> None:
        """In every node that reads it."""
        for node in self._readers.take(old_input_name):
            self.replace_node_input(node, old_input_name, new_input_name)

    def replace_input_of_nodes(
        self, old_input_name: str, new_input_name: str, node_names_set: Collection[str]
    ) -> None:
        """In the nodes of these names."""
        for node in self._readers.take(old_input_name):
            if node.name in node_names_set:
                self.replace_node_input(node, old_input_name, new_input_name)
            else:
                self._readers.add(old_input_name, node)

    def replace_output_of_all_nodes(self, old_output_name: str, new_output_name: str) -> None:
        """In every node that makes it."""
        for node in self._makers.take(old_output_name):
            self.replace_node_output(node, old_output_name, new_output_name)
            self._makers.add(new_output_name, node)

    def remove_node(self, node: onnx.NodeProto) -> None:
        """The first that is equal to it."""
        super().remove_node(node)
        self._removed = True

    def input_name_to_nodes(self) -> Mapping[str, list[onnx.NodeProto]]:
        """Tensor → the nodes that read it, each as often as it does, in any order."""
        return super().input_name_to_nodes() if self._removed else _Readers(self._readers)

    def initializer(self) -> Weights:
        """All weights."""
        return self._weights

    def get_initializer(self, name: str) -> onnx.TensorProto | None:
        """The first weight of that name."""
        return self._weights.first(name)

    def add_initializer(self, tensor: onnx.TensorProto) -> None:
        """Appends a copy, unless there is one of that name."""
        if self._weights.first(tensor.name) is None:
            self.initializer_extend([tensor])

    def initializer_extend(self, inits: Iterable[onnx.TensorProto]) -> None:
        """Appends copies."""
        for weight in inits:
            self.model.graph.initializer.append(self._check_init(weight))
            self._weights.append(self.model.graph.initializer[-1])

    def remove_initializer(self, tensor: onnx.TensorProto) -> None:
        """From the graph, and from its inputs."""
        self._weights.remove(tensor)
        super().remove_initializer(tensor)


class _Nodes:
    """Name → nodes, each once, among them some that have to do with another tensor by now."""

    def __init__(self) -> None:
        self.by_name: dict[str, dict[int, onnx.NodeProto]] = {}

    def add(self, name: str, node: onnx.NodeProto) -> None:
        self.by_name.setdefault(name, {})[id(node)] = node

    def take(self, name: str) -> list[onnx.NodeProto]:
        return list(self.by_name.pop(name, {}).values())


class _Readers(Mapping[str, list[onnx.NodeProto]]):
    """What is so by now of the tensors that are asked for."""

    def __init__(self, noted: _Nodes) -> None:
        self._noted = noted.by_name

    def __getitem__(self, name: str) -> list[onnx.NodeProto]:
        nodes = self._noted.get(name, {}).values() if name else ()
        found = [node for node in nodes for read in node.input if read == name]
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._noted if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class IndexedQuantizer(QDQQuantizer):  # type: ignore[misc]
    """The library's, on an IndexedModel from the first look at the graph on.

    This goes by the order of onnxruntime 1.31: BaseQuantizer.__init__ makes a model of its own, to which nothing is
    done; then QDQQuantizer.__init__ calls `adjust_tensor_ranges`, once. A second call raises RuntimeError.
    """

    model: ONNXModel

    def adjust_tensor_ranges(self) -> None:
        """What the library does first with a model of its own, as it is made."""
        if type(self.model) is not ONNXModel:
            raise RuntimeError("onnxruntime.quantization adjusts ranges twice: this is for version 1.31")
        self.model = IndexedModel(self.model.model)
        super().adjust_tensor_ranges()
