"""onnxruntime.quantization's model with readers and weights by name, where the library looks through all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel


class IndexedModel(ONNXModel):  # type: ignore[misc]  # the library has no types
    """Does what the library's does. Nodes and weights must be added and removed by its methods alone."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._weights: dict[str, onnx.TensorProto] = {}
        for weight in model.graph.initializer:
            self._weights.setdefault(weight.name, weight)
        self._all = list(model.graph.initializer)
        self._readers: dict[str, list[onnx.NodeProto]] = {}  # also those that read another tensor by now
        for node in model.graph.node:
            self._note(node)

    def _note(self, node: onnx.NodeProto) -> None:
        for name in dict.fromkeys(node.input):
            self._readers.setdefault(name, []).append(node)

    def add_node(self, node: onnx.NodeProto) -> None:
        """Appends a copy of it."""
        super().add_node(node)
        self._note(self.model.graph.node[-1])

    def replace_node_input(self, node: onnx.NodeProto, old_input_name: str, new_input_name: str) -> None:
        """In one node."""
        super().replace_node_input(node, old_input_name, new_input_name)
        self._readers.setdefault(new_input_name, []).append(node)

    def replace_input_of_all_nodes(self, old_input_name: str, new_input_name: str) -> None:
        """In every node that reads it."""
        for node in self._readers.pop(old_input_name, []):
            self.replace_node_input(node, old_input_name, new_input_name)

    def replace_input_of_nodes(
        self, old_input_name: str, new_input_name: str, node_names_set: Collection[str]
    ) -> None:
        """In the nodes of these names."""
        for node in self._readers.pop(old_input_name, []):
            if node.name in node_names_set:
                self.replace_node_input(node, old_input_name, new_input_name)
            else:
                self._readers.setdefault(old_input_name, []).append(node)

    def initializer(self) -> list[onnx.TensorProto]:
        """All weights, in a list that is faster to look through."""
        return self._all

    def get_initializer(self, name: str) -> onnx.TensorProto | None:
        """The first weight of that name."""
        return self._weights.get(name)

    def add_initializer(self, tensor: onnx.TensorProto) -> None:
        """Appends a copy, unless there is one of that name."""
        if tensor.name not in self._weights:
            self.initializer_extend([tensor])

    def initializer_extend(self, inits: Iterable[onnx.TensorProto]) -> None:
        """Appends copies."""
        for weight in inits:
            self.model.graph.initializer.append(self._check_init(weight))
            self._all.append(self.model.graph.initializer[-1])
            self._weights.setdefault(weight.name, self._all[-1])

    def remove_initializer(self, tensor: onnx.TensorProto) -> None:
        """From the graph, and from its inputs."""
        super().remove_initializer(tensor)
        self._weights.pop(tensor.name, None)
        self._all = list(self.model.graph.initializer)
