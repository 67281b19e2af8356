"""An ONNX file, read whole: what is wrong with it is said in one sentence each, before any other stage sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from generator import lfs
from generator.engine.errors import Finding, StageError
from generator.engine.inspect.outside import wrong_outside
from generator.engine.inspect.walk import constants_of, nodes_of
from generator.engine.inspect.whole import wrong_names, wrong_sizes
from generator.engine.inspect.words import listed, one_line

if TYPE_CHECKING:
    import onnx

TENSORRT_PLUGINS = "TRT"  # the domain that exporters give to TensorRT's own plugins, as EfficientNMS_TRT
# Domains of operators that some engine here brings itself.
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", TENSORRT_PLUGINS})
_EXPORT_AGAIN = "export or copy it again"


def read_graph(path: Path, data: bytes | None = None) -> onnx.ModelProto:
    """The model in `path`, with the data beside it loaded and its local functions written out in the graph.

    `data` is what is in `path`, where that was read already.
    Raises StageError: not there, not ONNX, damaged, data beside it missing or of another size, operators of an
    unknown domain, an ONNX release newer than the `onnx` package, or a graph that ONNX's own checker refuses.
    """
    import onnx
    import onnx.inliner

    model = _parse(_bytes_of(path) if data is None else data)
    _refuse(wrong_names(model))
    _refuse_newer(model)
    _refuse(wrong_outside(model, path.parent))
    _refuse(_unknown_domains(model))
    _check(model, path)
    _refuse(wrong_sizes(model))
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        message = f"the data beside the model cannot be loaded: {one_line(error)}"
        raise StageError(Finding("TK903", message, "keep it in the model's folder, as an ordinary file")) from error
    return model


def _refuse(findings: list[Finding]) -> None:
    if findings:
        raise StageError(findings)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise StageError(Finding("TK900", "it is a directory, not an ONNX file", "name the file inside it"))
        if path.exists() and not path.is_file():
            raise StageError(Finding("TK900", "it is not an ordinary file"))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StageError(Finding("TK900", "there is no such file")) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StageError(Finding("TK900", f"it cannot be read: {reason[:1].lower()}{reason[1:]}")) from error


def _parse(data: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not data:
        raise StageError(Finding("TK901", "the file is empty, so it is no ONNX model", _EXPORT_AGAIN))
    if lfs.is_pointer(data):
        raise StageError(Finding("TK901", f"the file {lfs.WHAT}", lfs.MEND))
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        if data[:1] != b"\x08":  # the field `ir_version`, which every exporter writes first
            raise StageError(_not_onnx(data)) from error
        raise StageError(Finding("TK902", f"the file is damaged: it ends or breaks inside ({len(data):,} bytes)",
                                 _EXPORT_AGAIN)) from error  # fmt: skip
    if not model.ir_version and not model.graph.node:
        raise StageError(_not_onnx(data))
    if not model.graph.output or not model.opset_import:
        lacks = "outputs" if not model.graph.output else "opset"
        raise StageError(Finding("TK902", f"the file is damaged: its graph has no {lacks}", _EXPORT_AGAIN))
    return model


def _not_onnx(data: bytes) -> Finding:
    text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in data[:1024])
    return Finding("TK901", f"the file is {'text, ' if text else ''}not an ONNX model")


def _refuse_newer(model: onnx.ModelProto) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    found = []
    if opset > newest:
        found.append(f"opset {opset}; the installed onnx {onnx.__version__} knows opsets up to {newest}")
    if model.ir_version > onnx.IR_VERSION:
        found.append(f"IR version {model.ir_version}; the installed onnx {onnx.__version__} knows those up to "
                     f"{int(onnx.IR_VERSION)}")  # fmt: skip
    hint = "export it with an older opset (17 is read by every engine here)"
    _refuse([Finding("TK906", f"the model has {what}", hint) for what in found])


def _unknown_domains(model: onnx.ModelProto) -> list[Finding]:
    """Operators of domains that neither an engine nor the model itself defines."""
    own = {(function.domain, function.name) for function in model.functions}
    found: dict[str, list[str]] = {}
    for node in nodes_of(model):
        if node.domain not in _KNOWN_DOMAINS and (node.domain, node.op_type) not in own:
            found.setdefault(node.domain, []).append(f"{node.op_type} {node.name}".strip())
    hint = "replace these operators by standard ones, or export the model without them"
    return [
        Finding("TK905", f"the domain `{domain}` of {listed(names)} is none that an engine here knows", hint)
        for domain, names in sorted(found.items())
    ]


def _check(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    circle = circle_of(model.graph)
    if circle:
        raise StageError(Finding("TK907", f"the graph runs in a circle: {' → '.join(f'`{n}`' for n in circle)}",
                                 "each node may use only what nodes before it give"))  # fmt: skip
    outside = any(tensor.data_location == tensor.EXTERNAL for tensor in constants_of(model))
    try:
        # A model beside its data may be too large to be handed over in memory.
        onnx.checker.check_model(str(path) if outside else model)
    except (onnx.checker.ValidationError, ValueError) as error:
        message = f"ONNX's checker refuses the graph: {one_line(error)}"
        raise StageError(Finding("TK907", message, _EXPORT_AGAIN)) from error


def circle_of(graph: onnx.GraphProto) -> list[str]:
    """The names of nodes that wait for each other, the first again at the end; empty where there is no circle."""
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    waits = [sorted({maker[name] for name in node.input if name in maker}) for node in graph.node]
    left = {place: len(before) for place, before in enumerate(waits)}
    users: dict[int, list[int]] = {}
    for place, before in enumerate(waits):
        for other in before:
            users.setdefault(other, []).append(place)
    ready = [place for place, count in left.items() if not count]
    while ready:
        place = ready.pop()
        del left[place]
        for user in users.get(place, ()):
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if not left:
        return []
    way = [min(left)]  # every node that is left waits for one that is left: going back runs into the circle
    seen: set[int] = set()
    while way[-1] not in seen:
        seen.add(way[-1])
        way.append(next(before for before in waits[way[-1]] if before in left))
    ring = way[way.index(way[-1]) :][::-1]
    return [graph.node[place].name or f"{graph.node[place].op_type} {place}" for place in ring]
