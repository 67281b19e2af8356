"""A graph in which each layer can be quantised alone, by a switch: one session serves the trial of all layers.

Loading a graph costs as much as running it many times; a switched graph is loaded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import fresh, tensor_names
from generator.engine.precision.numbers8 import Scale, activation_scale, rounded_weight

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

NONE = -1  # the position of the switch at which every layer is FP32


class Switched:
    """The prepared FP32 graph `model` in ONNX Runtime; `run` quantises one of `layers`, or none.

    A layer's input passes Q/DQ in a branch that the switch opens; its rounded weight is given in place of the
    graph's. Unless `symmetric`, which is TensorRT's way, the output of a convolution passes Q/DQ too. Raises
    StageError (TK932) when the graph cannot be loaded.
    """

    def __init__(
        self, model: onnx.ModelProto, layers: Sequence[str], ranges: Mapping[str, tuple[float, float]], *,
        symmetric: bool, threads: int = 0,
    ) -> None:  # fmt: skip
        import onnx
        from onnx import numpy_helper

        graph_model = onnx.ModelProto()
        graph_model.CopyFrom(model)
        graph = graph_model.graph
        self.outputs = [value.name for value in graph.output]
        weights = {weight.name: weight for weight in graph.initializer}
        nodes = {node.name: node for node in graph.node}
        self._layers = [nodes[name] for name in layers]
        self._weights = {n.name: numpy_helper.to_array(weights[n.input[1]]) for n in self._layers}
        self._rounded: dict[int, Array] = {}  # of the layer that was quantised last
        self._switch = fresh("quantised_layer", tensor_names(graph))
        _add_switches(graph, list(layers), ranges, self._switch, symmetric)
        # A weight that is an input too can be given anew with each run.
        given = {value.name for value in graph.input}
        for name in dict.fromkeys(n.input[1] for n in self._layers):
            if name not in given:
                graph.input.append(onnx.helper.make_tensor_value_info(name, 1, list(weights[name].dims)))
        self._session = _load(graph_model, threads)

    def run(self, batch: Mapping[str, Array], layer: int = NONE) -> dict[str, Array]:
        """All outputs with that layer quantised."""
        import numpy as np

        feeds = {**batch, self._switch: np.array(layer, np.int64)}
        if layer != NONE:
            node = self._layers[layer]
            if layer not in self._rounded:
                self._rounded = {layer: rounded_weight(node, self._weights[node.name])}
            feeds[node.input[1]] = self._rounded[layer]
        return dict(zip(self.outputs, self._session.run(self.outputs, feeds), strict=True))


def _load(model: onnx.ModelProto, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        raise StageError(Finding("TK932", f"ONNX Runtime cannot load the graph: {error}")) from error


def _add_switches(
    graph: onnx.GraphProto, layers: list[str], ranges: Mapping[str, tuple[float, float]], switch: str, symmetric: bool
) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph.input.append(helper.make_tensor_value_info(switch, TensorProto.INT64, []))
    made = []
    for node in graph.node:
        if node.name in layers:
            index, source = layers.index(node.name), node.input[0]
            own = f"{switch}_{index}"
            graph.initializer.append(numpy_helper.from_array(np.array(index, np.int64), f"{own}_number"))
            made.append(helper.make_node("Equal", [switch, f"{own}_number"], [f"{own}_on"], f"{own}_equal"))
            scale = activation_scale(*ranges[source], symmetric=symmetric)
            made.append(
                helper.make_node(
                    "If", [f"{own}_on"], [f"{own}_input"], f"{own}_if",
                    then_branch=_rounded(source, own, scale), else_branch=_passed(source, own),
                )
            )  # fmt: skip
            node.input[0] = f"{own}_input"
            output = node.output[0]
            # ONNX Runtime's convolutions give 8 bits too.
            if not symmetric and node.op_type in ("Conv", "ConvTranspose") and output in ranges:
                node.output[0] = f"{own}_raw"
                made.append(node)
                scale = activation_scale(*ranges[output], symmetric=False)
                made.append(
                    helper.make_node(
                        "If", [f"{own}_on"], [output], f"{own}_output_if",
                        then_branch=_rounded(f"{own}_raw", f"{own}_output", scale),
                        else_branch=_passed(f"{own}_raw", f"{own}_output"),
                    )
                )  # fmt: skip
                continue
        made.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(copies)


def _rounded(source: str, own: str, scale: Scale) -> onnx.GraphProto:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    names = [f"{own}_scale", f"{own}_zero"]
    kind = np.int8 if scale.symmetric else np.uint8
    weights = [
        numpy_helper.from_array(np.array(scale.scale, np.float32), names[0]),
        numpy_helper.from_array(np.array(scale.zero_point, kind), names[1]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", [source, *names], [f"{own}_q"], f"{own}_quantise"),
        helper.make_node("DequantizeLinear", [f"{own}_q", *names], [f"{own}_dq"], f"{own}_dequantise"),
    ]
    out = helper.make_tensor_value_info(f"{own}_dq", TensorProto.FLOAT, None)
    return helper.make_graph(nodes, f"{own}_then", [], [out], weights)


def _passed(source: str, own: str) -> onnx.GraphProto:
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", [source], [f"{own}_same"], f"{own}_pass")
    out = helper.make_tensor_value_info(f"{own}_same", TensorProto.FLOAT, None)
    return helper.make_graph([node], f"{own}_else", [], [out])
