"""What an engine or a precision would trip over, told before anything is compiled.

An error is something that the engine refuses; a warning is known to fail, to be slow or to lose accuracy; a note is
worth knowing. Of TensorRT, what is said of UINT8, INT64 and opsets was seen with 8.6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler
from generator.engine.errors import Finding, StageError
from generator.engine.inspect.delicate import delicate
from generator.engine.inspect.layers import layer_names
from generator.engine.inspect.read import TENSORRT_PLUGINS
from generator.engine.inspect.report import dtype_word
from generator.engine.inspect.shapes import batch_axes, inputs_of, shaped
from generator.engine.inspect.walk import constants_of, nodes_of
from generator.engine.inspect.words import listed
from generator.problems import Severity

if TYPE_CHECKING:
    import onnx

_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_FROM_DATA = ("NonZero", "Unique", "Compress", "NonMaxSuppression")
_SEQUENCES = (
    "SequenceConstruct",
    "SequenceInsert",
    "SequenceAt",
    "SplitToSequence",
    "ConcatFromSequence",
    "Optional",
)
_TENSORRT_LACKS = ("StringNormalizer", "TfIdfVectorizer", "RegexFullMatch", "StringConcat", "StringSplit", "Det",
                   "BitShift", "Multinomial", "Bernoulli", "SoftmaxCrossEntropyLoss", "Adam")  # fmt: skip
_TRIED_OPSETS = (13, 17)  # with TensorRT 8.6.1; the parsers of later releases judge for themselves

_NAMES = {"onnxruntime": "ONNX Runtime", "inductor": "Inductor"}
_INTEGER = ("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Suspicion(Finding):
    """A finding with its weight, and the names of the nodes that it is of."""

    severity: Severity = Severity.WARNING
    nodes: tuple[str, ...] = ()


def suspicious(model: onnx.ModelProto, engine: str, precision: str, *, tensorrt: int = 8) -> list[Suspicion]:
    """What `engine` (onnxruntime, tensorrt, ...) in `precision` (fp32, fp16, int8, ...) would trip over.

    `tensorrt` is the major release (8, 10, 11). Errors first, each by its code.
    """
    found = [*_of_any_engine(model)]
    if engine == "tensorrt":
        found += [finding for rule in _TENSORRT_RULES for finding in rule(model, tensorrt)]
    else:
        found += _foreign(model, engine)
    if engine == "onnxruntime":
        found += _onnxruntime(model)
    found += [
        Suspicion(one.code, one.message, one.hint, "precision", Severity.WARNING, one.nodes)
        for one in delicate(model, precision)
    ]
    order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    return sorted(found, key=lambda one: (order.index(one.severity), one.code))


def require(model: onnx.ModelProto, engine: str, precision: str, *, batched: bool, tensorrt: int = 8) -> None:
    """Raises StageError with everything that `engine` refuses, and where `batched` with what has no batch axis."""
    found: list[Finding] = [
        one for one in suspicious(model, engine, precision, tensorrt=tensorrt) if one.severity is Severity.ERROR
    ]
    found += without_batch_axis(model) if batched else []
    if found:
        raise StageError(found)


def require_reference(model: onnx.ModelProto) -> None:
    """Raises StageError where ONNX Runtime does not take the model: with its FP32 every engine is compared."""
    if found := [*_onnxruntime(model)]:
        raise StageError(found)


def without_batch_axis(model: onnx.ModelProto) -> list[Finding]:
    """The inputs and outputs whose first axis is not a batch of any size."""
    named = set(batch_axes(model))
    found = []
    for kind, values in (("input", inputs_of(model.graph)), ("output", list(model.graph.output))):
        for value in values:
            dims = shaped(value).dims
            if dims is None:
                continue
            if not dims or isinstance(dims[0], int):
                has = f"is fixed at {dims[0]}" if dims else "is missing: it is one number"
                message = f"the first axis of the {kind} `{value.name}` is the batch, but {has}"
                found.append(Finding("TK908", message, "export with a dynamic first axis, or say `max_batch: 0`"))
    if len(named) > 1:
        message = f"the first axes of the inputs have different names: {listed(sorted(named))}"
        found.append(Finding("TK908", message, "give them one name when exporting: they are all the batch"))
    return found


def _nodes(model: onnx.ModelProto, *op_types: str) -> list[str]:
    """The names of the nodes of these operators; of those inside other nodes, the operators."""
    names = layer_names(model.graph)
    outer = [name for name, node in zip(names, model.graph.node, strict=True) if node.op_type in op_types]
    count = sum(node.op_type in op_types for node in model.graph.node)
    inner = [node.name or node.op_type for node in nodes_of(model) if node.op_type in op_types][count:]
    return outer + inner


def _of_any_engine(model: onnx.ModelProto) -> Iterator[Suspicion]:
    if flow := _nodes(model, *_FLOW):
        yield Suspicion(
            "TK909", f"{listed(flow)} runs other nodes inside: control flow, which is neither counted nor lowered in "
            "precision, and which keeps the engine from joining what is around it",
            "export with fixed conditions and unrolled loops where you can", nodes=tuple(flow),
        )  # fmt: skip
    if data := _nodes(model, *_FROM_DATA):
        yield Suspicion(
            "TK913", f"the shape of the result of {listed(data)} depends on the data: it can be no batched output as "
            "it is, and nothing after it has a known shape",
            "fix the number of results inside the graph (TopK, padding), or move it to post-processing",
            nodes=tuple(data),
        )  # fmt: skip


def _foreign(model: onnx.ModelProto, engine: str) -> Iterator[Suspicion]:
    if plugins := [node.name or node.op_type for node in nodes_of(model) if node.domain == TENSORRT_PLUGINS]:
        lacks = _NAMES.get(engine, engine)
        yield Suspicion("TK905", f"{listed(plugins)} is a TensorRT plugin, which {lacks} lacks",
                        "use the standard operator", severity=Severity.ERROR, nodes=tuple(plugins))  # fmt: skip


def _onnxruntime(model: onnx.ModelProto) -> Iterator[Suspicion]:
    if lacking := OnnxRuntimeCompiler().missing():
        yield Suspicion("TK961", lacking, about="engine", severity=Severity.ERROR)
    elif refused := _refused_release(model):
        yield Suspicion("TK906", refused, "export it with older ones, such as 17 and 8", severity=Severity.ERROR)


def _refused_release(model: onnx.ModelProto) -> str:
    """Why the installed ONNX Runtime refuses the opset or the IR version: a model of one node is tried."""
    import onnx

    from generator.engine.inspect.words import one_line
    from generator.engine.runner import OnnxRunner

    value = onnx.helper.make_tensor_value_info
    one = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "one", [value("x", one, [1])], [value("y", one, [1])])
    opsets = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    tried = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    try:
        OnnxRunner(tried.SerializeToString()).close()
    except Exception as error:  # noqa: BLE001  (it has classes of its own for every kind of refusal)
        versions = f"opset {opsets[0].version} and IR version {model.ir_version}"
        return f"the installed ONNX Runtime does not take {versions}: {one_line(error)}"
    return ""


def _opset(model: onnx.ModelProto, tensorrt: int) -> Iterator[Suspicion]:
    oldest, newest = _TRIED_OPSETS
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if tensorrt < 10 and not oldest <= opset <= newest:
        what = f"the model has opset {opset}; TensorRT {tensorrt} parses opsets {oldest} to {newest}"
        yield Suspicion("TK906", what, "export it with opset 17")


def _types(model: onnx.ModelProto, tensorrt: int) -> Iterator[Suspicion]:  # noqa: ARG001  (as the other rules)
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    by_type: dict[str, list[str]] = {}
    for name, kind in [(v.name, shaped(v).element_type) for v in values] + [
        (tensor.name, tensor.data_type) for tensor in constants_of(model)
    ]:
        by_type.setdefault(dtype_word(kind), []).append(name)
    doubles = set(by_type.pop("FP64", ()))
    outside = [value.name for value in (*model.graph.input, *model.graph.output) if value.name in doubles]
    if outside:
        yield Suspicion("TK912", f"{listed(outside)} is FP64, which TensorRT does not have",
                        "cast to FP32 before and behind the engine", severity=Severity.ERROR)  # fmt: skip
    elif doubles:
        yield Suspicion("TK912", f"{listed(sorted(doubles))} is FP64, which TensorRT narrows to FP32",
                        "export in FP32")  # fmt: skip
    for word in ("STRING", "UINT16", "UINT32", "UINT64", "INT16"):
        if names := list(dict.fromkeys(by_type.get(word, ()))):
            yield Suspicion("TK912", f"{listed(names)} is {word}, which TensorRT does not have",
                            "cast it to INT32 (numbers) or keep it outside of the engine (text)",
                            severity=Severity.ERROR)  # fmt: skip


def _lacking(model: onnx.ModelProto, tensorrt: int) -> Iterator[Suspicion]:
    if names := _nodes(model, *_TENSORRT_LACKS, *_SEQUENCES):
        yield Suspicion("TK911", f"TensorRT has no operator for {listed(names)}", "move it out of the engine",
                        severity=Severity.ERROR, nodes=tuple(names))  # fmt: skip
    if names := _nodes(model, *_INTEGER):
        yield Suspicion("TK911", f"TensorRT has no operator for {listed(names)}",
                        "quantise the FP32 model with QuantizeLinear and DequantizeLinear around its operators",
                        severity=Severity.ERROR, nodes=tuple(names))  # fmt: skip
    if tensorrt < 10 and (names := _nodes(model, "Unique", "Compress")):
        yield Suspicion("TK911", f"TensorRT {tensorrt} has no operator for {listed(names)}", "move it out",
                        severity=Severity.ERROR, nodes=tuple(names))  # fmt: skip


def _first_use_of_bytes(model: onnx.ModelProto, tensorrt: int) -> Iterator[Suspicion]:  # noqa: ARG001
    import onnx

    names = layer_names(model.graph)
    for value in inputs_of(model.graph):
        if shaped(value).element_type != onnx.TensorProto.UINT8:
            continue
        nodes = zip(names, model.graph.node, strict=True)
        wrong = [name for name, node in nodes if value.name in node.input and node.op_type != "Cast"]
        if wrong:
            yield Suspicion(
                "TK916", f"the UINT8 input `{value.name}` goes to {listed(wrong)} before it is cast, and TensorRT "
                "has no UINT8 inside a graph", "put the Cast directly behind the input",
                severity=Severity.ERROR, nodes=tuple(wrong),
            )  # fmt: skip


def _wide_outputs(model: onnx.ModelProto, tensorrt: int) -> Iterator[Suspicion]:
    import onnx

    wide = [v.name for v in model.graph.output if shaped(v).element_type == onnx.TensorProto.INT64]
    if wide and tensorrt < 10:
        yield Suspicion("TK914", f"the INT64 output {listed(wide)} comes out of TensorRT {tensorrt} as INT32",
                        "end the graph with a Cast to INT32, and declare that")  # fmt: skip


_Rule = Callable[[Any, int], Iterator[Suspicion]]
_TENSORRT_RULES: tuple[_Rule, ...] = (_opset, _types, _lacking, _first_use_of_bytes, _wide_outputs)
