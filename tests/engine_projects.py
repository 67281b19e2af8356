"""Projects whose engines tests build: the digits' spec with changes, and graphs and data with a fault in them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from generator.project import Project

CLONE = Path(__file__).parents[1]
CALIBRATION = {"data": "data/digits-calibration.npz"}
LOUD = 5
PLACE = ("engines", "embedded", "digits_engine", "1")


def digits_project(root: Path, changes: Mapping[str, Any] | None = None) -> Project:
    """A project with the digits' spec for the embedded server alone; `changes` are merged into it."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).mkdir()
    for name in ("models/digits.onnx", "data/digits.labels", "data/digits-gate.npz", "data/digits-calibration.npz"):
        shutil.copy(CLONE / name, root / name)
    write_spec(root, changes or {})
    return Project(root)


def write_spec(root: Path, changes: Mapping[str, Any]) -> None:
    """Writes specs/digits.yaml anew: the clone's, for the embedded server alone, with `changes`."""
    spec = merged(_clones_spec(), changes)
    (root / "specs" / "digits.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """`second` over `first`, mapping by mapping; None takes a field away."""
    both = {**first}
    for name, value in second.items():
        if isinstance(value, Mapping) and isinstance(both.get(name), Mapping):
            both[name] = merged(both[name], value)
        else:
            both[name] = value
    return {name: value for name, value in both.items() if value is not None}


def _clones_spec() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((CLONE / "specs" / "digits.yaml").read_text(encoding="utf-8"))
    spec["targets"] = {"embedded": {"instances": [{"kind": "cpu", "count": 1}], "batching": {"queue": None}}}
    return spec


def model(**changes: Any) -> dict[str, Any]:
    """`{"model": …}`."""
    return {"model": changes}


def int8(**build: Any) -> dict[str, Any]:
    """The digits in int8, calibrated as the clone's spec says, with more under `build`."""
    return model(precision="int8", build=build)


def files(root: Path) -> dict[str, bytes]:
    """Every file below engines/, hidden ones too, and empty folders that are not engines' (as b"folder")."""
    base = root / "engines"
    found = {str(path.relative_to(root)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}
    hidden = [path for path in base.rglob(".*") if path.is_dir()]
    return {**found, **{str(path.relative_to(root)): b"folder" for path in hidden}}


# Graphs ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def digits_graph() -> bytes:
    """models/digits.onnx."""
    return (CLONE / "models" / "digits.onnx").read_bytes()


def loud_channel(graph: bytes, factor: float = 3000.0) -> bytes:
    """The same function in FP32, with one hidden number `factor` times as large as the others before the last layer.

    Its range makes all the other numbers vanish in 8 bits of the whole tensor.
    """
    made = onnx.load_from_string(graph)
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    hidden, last = [node for node in made.graph.node if node.op_type == "Gemm"]

    def scaled(name: str, axis: int, by: float) -> None:
        values = numpy_helper.to_array(weights[name]).copy()
        np.moveaxis(values, axis, 0)[LOUD] *= by
        weights[name].CopyFrom(numpy_helper.from_array(values, name))

    def transposed(node: onnx.NodeProto) -> bool:
        return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)

    scaled(hidden.input[1], 0 if transposed(hidden) else 1, factor)
    scaled(hidden.input[2], 0, factor)
    scaled(last.input[1], 1 if transposed(last) else 0, 1 / factor)
    return bytes(made.SerializeToString())


def with_custom_operator(graph: bytes) -> bytes:
    """The digits behind an operator of a domain that nobody knows."""
    made = onnx.load_from_string(graph)
    last = made.graph.node[-1]
    output, last.output[0] = last.output[0], "before"
    made.graph.node.append(helper.make_node("Sparkle", ["before"], [output], name="sparkle", domain="com.acme"))
    made.opset_import.append(helper.make_opsetid("com.acme", 1))
    return bytes(made.SerializeToString())


def with_batch(graph: bytes, size: int) -> bytes:
    """The digits for batches of one size."""
    made = onnx.load_from_string(graph)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return bytes(made.SerializeToString())


def of_any_length() -> bytes:
    """A mean over an axis of any length: values FP32 [batch, length, 4] → mean [batch, 4]."""
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["values", "weights"], ["product"], name="product"),
        helper.make_node("ReduceMean", ["product"], ["mean"], name="mean", axes=[1], keepdims=0),
    ]
    return of_nodes(nodes, {"values": ["batch", "length", 4]}, {"mean": ["batch", 4]}, {"weights": weights})


def of_nodes(
    nodes: list[onnx.NodeProto], inputs: Mapping[str, list[Any]], outputs: Mapping[str, list[Any]],
    weights: Mapping[str, np.ndarray[Any, Any]],
) -> bytes:  # fmt: skip
    """A graph of FP32 tensors."""
    taken, given = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in named.items()]
              for named in (inputs, outputs)]  # fmt: skip
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", taken, given, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def floats_project(root: Path, graph: bytes, dims: Mapping[str, list[int]], **changes: Any) -> Project:
    """A project of one engine that takes its clients' numbers as they are; `changes` are merged into its model."""
    for name in ("specs", "models", "data"):
        (root / name).mkdir(parents=True)
    (root / "models" / "net.onnx").write_bytes(graph)
    spec = {
        "name": "net", "objective": {"p99_ms": 100},
        "inputs": {name: {"type": "fp32", "dims": shape} for name, shape in dims.items() if name == "values"},
        "outputs": {name: {"type": "fp32", "dims": shape} for name, shape in dims.items() if name != "values"},
        "model": merged({"onnx": "models/net.onnx"}, changes),
        "batching": {"max_batch_size": 8},
        "targets": {"embedded": {"instances": [{"kind": "cpu", "count": 1}]}},
    }  # fmt: skip
    (root / "specs" / "net.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return Project(root)
