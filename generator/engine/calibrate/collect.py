"""The range of every float tensor of a graph over samples, with ONNX Runtime, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from generator.engine.calibrate.check import Input, method_findings, sample_findings
from generator.engine.calibrate.histogram import Extent, Histogram
from generator.engine.calibrate.ranges import MUCH_CLIPPED, Ranges
from generator.engine.calibrate.thresholds import clipped_share, entropy_threshold, percentile_threshold
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Samples

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

Progress = Callable[[int, int], None]
FORMAT = 4  # of what the same facts lead to; raised when an algorithm changes
BOUND = "squared error"  # of entropy: no more of it than by the range of all values
MEMORY_BYTES = 256 << 20  # of activations held at a time
_DTYPES = {"float": "float32", "double": "float64"}  # others are NumPy's words already


def collect(
    model: onnx.ModelProto | bytes,
    samples: Samples,
    method: str = "entropy",
    percentile: float = 99.99,
    progress: Progress | None = None,
    *,
    symmetric: bool = False,
    memory_bytes: int = MEMORY_BYTES,
) -> Ranges:
    """The range of each FP32 tensor that depends on the inputs: inputs, intermediates and outputs of the graph.

    `method`: `minmax` takes all that was seen; `percentile` what so many % of the absolute values lie below;
    `entropy` what keeps most information in 8 bits, of all ranges that change the values no more than `minmax` does
    by squared error (the fact `bound`): of INT8 around zero with `symmetric`, as TensorRT and fp8's ranges have it,
    else of UINT8 with a zero point, ONNX Runtime's. `progress(done, total)` counts items.
    So many of a batch are run at once as keep all activations within `memory_bytes`.
    Tensors inside the branches of If and Loop are not looked at. Raises StageError (TK940-TK947).
    """
    wrong = method_findings(method, percentile)
    session, inputs, tensors = _session(model if isinstance(model, bytes) else model.SerializeToString())
    wrong += sample_findings(list(inputs.values()), samples)
    if wrong:
        raise StageError(wrong)
    extents: dict[str, Extent] = {name: Extent() if method == "minmax" else Histogram() for name in tensors}
    done = 0
    for chunk in _chunks(session, inputs, tensors, samples, memory_bytes):
        for name, values in _run(session, tensors, chunk).items():
            extents[name].add(values)
        done += _items(chunk) if samples.batched else 1
        if progress is not None:
            progress(done, samples.items)
    facts: dict[str, Any] = {"method": method, "samples": samples.items, "data_sha256": samples.sha256}
    if method == "percentile":
        facts["percentile"] = percentile
    if method == "entropy":
        facts |= {"bound": BOUND, "symmetric": symmetric}
    ranges = {
        name: _range(extent, percentile, method, symmetric=symmetric)
        for name, extent in extents.items()
        if extent.seen and extent.finite
    }
    if clipped := _clipped(extents, ranges):
        facts["clipped"] = clipped
    return Ranges(
        ranges,
        facts,
        not_finite=tuple(sorted(name for name, extent in extents.items() if not extent.finite)),
        empty=tuple(sorted(name for name, extent in extents.items() if not extent.seen)),
    )


def cache_facts(
    model: onnx.ModelProto | bytes, samples: Samples, method: str, percentile: float, *, symmetric: bool = False
) -> dict[str, Any]:
    """All that decides what `collect` returns, for generator.engine.cache."""
    import onnxruntime

    data = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    return {
        "stage": "calibrate",
        "format": FORMAT,
        "graph_sha256": hashlib.sha256(data).hexdigest(),
        "data_sha256": samples.sha256,
        "samples": samples.items,
        "method": method,
        "percentile": percentile if method == "percentile" else None,
        "symmetric": symmetric if method == "entropy" else None,
        "onnxruntime": onnxruntime.__version__,
    }


def _range(extent: Extent, percentile: float, method: str, *, symmetric: bool) -> tuple[float, float]:
    if not isinstance(extent, Histogram):
        return extent.least, extent.greatest
    if method == "percentile":
        threshold = percentile_threshold(extent, percentile)
    else:
        threshold = entropy_threshold(extent, symmetric=symmetric)
    # A constant tensor, or one of a single large value among zeros, keeps its extent.
    threshold = threshold or extent.largest
    return max(extent.least, -threshold), min(extent.greatest, threshold)


def _clipped(extents: Mapping[str, Extent], ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Tensor → the share of its values that its range cuts off, where that is much; by name."""
    shares = {
        name: clipped_share(extent, max(abs(end) for end in ranges[name]))
        for name, extent in extents.items()
        if name in ranges and isinstance(extent, Histogram)
    }
    return {name: round(share, 6) for name, share in sorted(shares.items()) if share > MUCH_CLIPPED}


def _session(data: bytes) -> tuple[Any, dict[str, Input], list[str]]:
    """A session with every tensor as an output; the inputs; the names of the float tensors, in the graph's order.

    ONNX Runtime finds the types itself, those of its own operators too.
    """
    import onnx
    import onnxruntime

    try:
        model = onnx.ModelProto.FromString(data)
        graph = model.graph
        there = {value.name for value in graph.output}
        weights = {weight.name for weight in graph.initializer}
        made = [name for node in graph.node if node.op_type != "Constant" for name in node.output if name]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in there)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors, and protobuf's, have no common base
        raise StageError(Finding("TK947", f"ONNX Runtime cannot load the model: {error}")) from error
    inputs = {
        node.name: Input(node.name, _dtype(node.type), tuple(d if isinstance(d, int) else None for d in node.shape))
        for node in session.get_inputs()
        if node.name not in weights
    }
    types = {node.name: node.type for node in (*session.get_inputs(), *session.get_outputs())}
    named = dict.fromkeys([*inputs, *made])
    return session, inputs, [name for name in named if types[name] == "tensor(float)"]


def _dtype(word: str) -> str:
    inner = word.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(inner, inner)


def _chunks(
    session: Any, inputs: Mapping[str, Input], tensors: list[str], samples: Samples, memory_bytes: int
) -> Iterator[Mapping[str, Array]]:
    """The batches, cut where all their activations together would take more than `memory_bytes`.

    A model whose batch axis is fixed gets its batches whole.
    """
    fixed = any(not i.shape or i.shape[0] is not None for i in inputs.values())
    for batch in samples.batches:
        count = _items(batch)
        if fixed or count == 1 or not samples.batched:
            yield batch
            continue
        one = _run(session, tensors, {name: array[:1] for name, array in batch.items()})
        size = max(1, memory_bytes // max(1, sum(array.nbytes for array in one.values())))
        for start in range(0, count, size):
            yield {name: array[start : start + size] for name, array in batch.items()}


def _items(batch: Mapping[str, Array]) -> int:
    return len(next(iter(batch.values())))


def _run(session: Any, tensors: list[str], batch: Mapping[str, Array]) -> dict[str, Array]:
    computed = [name for name in tensors if name not in batch]
    try:
        values = session.run(computed, dict(batch)) if computed else []
    except Exception as error:  # onnxruntime's errors have no common base but RuntimeError's siblings
        shapes = {name: list(array.shape) for name, array in batch.items()}
        message = f"ONNX Runtime cannot run the model on a batch of {shapes}: {error}"
        raise StageError(Finding("TK947", message, about="build.calibration")) from error
    known = dict(zip(computed, values, strict=True))
    return {name: known[name] if name in known else batch[name] for name in tensors}
