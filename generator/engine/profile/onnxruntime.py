"""Time by layer in ONNX Runtime, from its own trace."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler
from generator.engine.errors import Finding, StageError
from generator.engine.inspect.layers import layer_names, layers_of
from generator.engine.inspect.shapes import fixed, infer
from generator.engine.inspect.words import one_line
from generator.engine.profile.fusion import origins, plain_name
from generator.engine.profile.inputs import made_inputs
from generator.engine.profile.ranges import nvtx_range
from generator.engine.profile.rows import LayerTime, Profile, medians, profiled
from generator.engine.profile.work import with_work

if TYPE_CHECKING:
    import onnx

_KERNEL = "_kernel_time"
WARM_UP = 3
MOST_EVENTS = 900_000  # ONNX Runtime's trace holds a million


def profile(
    model: onnx.ModelProto, lengths: Mapping[str, int], batch: int | None = None, *, runs: int = 30, threads: int = 0,
    seed: int = 1,
) -> Profile:  # fmt: skip
    """Time by layer of `runs` runs with random inputs of these lengths, after 3 that do not count.

    The trace and the optimised graph are kept in a temporary folder, which is removed. Raises StageError: a length
    that does not fit or is missing, a model that ONNX Runtime cannot load or run with random inputs, no ONNX Runtime.
    """
    import onnx

    if lacking := OnnxRuntimeCompiler().missing():
        raise StageError(Finding("TK961", lacking, about="engine"))
    given = fixed(model, lengths, batch)
    tensors = made_inputs(model, given, seed)
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for node, name in zip(named.graph.node, layer_names(model.graph), strict=True):
        node.name = name
    runs = max(1, min(runs, MOST_EVENTS // (len(named.graph.node) + 2) - WARM_UP))
    with tempfile.TemporaryDirectory(prefix="tritonkit-profile-") as folder:
        events, optimised = _traced(named, tensors, Path(folder), runs, threads)
    by_run, totals = split(events, [node.name for node in optimised.node])
    groups, gone = origins(named.graph, optimised)
    times = medians(by_run[WARM_UP:])
    ran = unlike([node.name for node in optimised.node])
    shown = unlike([called(node.name, group) for node, group in zip(optimised.node, groups, strict=True)])
    rows = [
        LayerTime(name, node.op_type, times.get(own, 0.0), group)
        for own, name, node, group in zip(ran, shown, optimised.node, groups, strict=True)
    ]
    shapes = infer(model, given)
    counted = with_work(rows, named.graph, layers_of(named.graph, shapes), shapes)
    return profiled("onnxruntime", counted, by_run[WARM_UP:], totals[WARM_UP:], gone)


def called(name: str, group: tuple[str, ...]) -> str:
    """The graph's own name of a node that ONNX Runtime named after it: `conv_2` of `conv_2_token_4`."""
    return next((own for own in group if own in {name, plain_name(name)}), name)


def _traced(
    model: onnx.ModelProto, tensors: Mapping[str, Any], folder: Path, runs: int, threads: int
) -> tuple[list[dict[str, Any]], onnx.GraphProto]:
    """The trace's events, and the graph as ONNX Runtime ran it."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "trace")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4  # what is wrong is raised
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )  # fmt: skip
        for number in range(WARM_UP + runs):
            with nvtx_range("warm-up" if number < WARM_UP else f"run {number - WARM_UP + 1}"):
                session.run(None, dict(tensors))
        trace = Path(session.end_profiling())
    except Exception as error:  # it has classes of its own for every kind of refusal
        raise StageError(Finding("TK918", f"ONNX Runtime cannot run the model: {one_line(error)}",
                                 "`tritonkit inspect` says more of it")) from error  # fmt: skip
    events = json.loads(trace.read_text(encoding="utf-8"))
    optimised = onnx.load(folder / "optimised.onnx", load_external_data=False).graph
    return events, optimised


def split(
    events: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[list[list[tuple[str, float]]], list[float]]:  # fmt: skip
    """The trace by run: (node, ms) of the graph's own nodes, and the whole time in ms of each.

    Nodes of the same name are told apart by their order, as `unlike` does. Nodes inside of others (the body of a
    loop) are left out: their time is in that of the node around them.
    """
    ends = [event for event in events if event.get("name") == "model_run"]
    ends.sort(key=lambda event: event["ts"])
    kernels = [
        event for event in events if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL)
    ]  # fmt: skip
    kernels.sort(key=lambda event: event["ts"])
    own, runs, place = set(unlike(names)), [], 0
    repeated = {name for name, count in Counter(names).items() if count > 1}
    for end in ends:
        last = end["ts"] + end["dur"]
        of_run: list[tuple[str, float]] = []
        seen: Counter[str] = Counter()
        while place < len(kernels) and kernels[place]["ts"] <= last:
            event = kernels[place]
            place += 1
            name = event["name"].removesuffix(_KERNEL)
            if name in repeated:
                seen[name] += 1
                name = name if seen[name] == 1 else f"{name}#{seen[name]}"
            if name in own and event["ts"] >= end["ts"]:
                of_run.append((name, event["dur"] / 1e3))
        runs.append(of_run)
    return runs, [end["dur"] / 1e3 for end in ends]


def unlike(names: Sequence[str]) -> list[str]:
    """The names, with `#2`, `#3` behind those that were there before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found
