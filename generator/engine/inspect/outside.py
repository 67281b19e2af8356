"""The files beside an ONNX model that its weights are kept in (external data)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from generator import lfs
from generator.engine.errors import Finding
from generator.engine.inspect.sizes import bytes_of_tensor
from generator.engine.inspect.walk import constants_of
from generator.engine.inspect.words import listed

if TYPE_CHECKING:
    import onnx


def wrong_outside(model: onnx.ModelProto, folder: Path) -> list[Finding]:
    """What is wrong with the files that weights are kept in."""
    missing: dict[str, list[str]] = {}
    links: set[str] = set()
    short: dict[str, Finding] = {}
    findings = []
    for tensor in constants_of(model):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        entry = {pair.key: pair.value for pair in tensor.external_data}
        where = entry.get("location", "")
        if not where or Path(where).is_absolute() or ".." in Path(where).parts:
            findings.append(Finding("TK903", f"the weight `{tensor.name}` is kept in `{where}`, which is not a file "
                                             "inside the model's folder"))  # fmt: skip
        elif (folder / where).is_symlink():
            links.add(where)
        elif not (folder / where).is_file():
            missing.setdefault(where, []).append(tensor.name)
        else:
            for finding in _wrong_size(tensor, folder / where, entry):
                short.setdefault(where, finding)  # the first of a file says enough
    for where, names in missing.items():
        what = (
            f"`{where}`, which holds {len(names)} of the model's weights ({listed(names)}), is not beside the model"
        )
        findings.append(Finding("TK903", what, "copy it there, or export the model as one file"))
    for where in sorted(links):
        what = f"`{where}`, which holds weights, is a symbolic link, which onnx refuses to follow"
        findings.append(Finding("TK903", what, "put the file itself there"))
    return [*findings, *short.values()]


def _wrong_size(tensor: onnx.TensorProto, file: Path, entry: dict[str, str]) -> list[Finding]:
    with file.open("rb") as stream:
        if lfs.is_pointer(stream.read(lfs.HEAD_BYTES)):
            return [Finding("TK903", f"`{file.name}`, which holds weights, {lfs.WHAT}", lfs.MEND)]
    try:
        offset = int(entry.get("offset", 0))
        length = int(entry["length"]) if "length" in entry else None
    except ValueError:
        offset = length = -1
    if offset < 0 or (length or 0) < 0:
        return [Finding("TK904", f"the weight `{tensor.name}` has an offset or length that is no number from 0 on")]
    wanted = bytes_of_tensor(tensor)
    if length is not None and wanted is not None and length != wanted:
        what = f"the weight `{tensor.name}` needs {wanted:,} bytes, but the model says that {length:,} are kept"
    else:
        there, end = file.stat().st_size, offset + (length or wanted or 0)
        if end <= there:
            return []
        what = f"`{file.name}` has {there:,} bytes, but the weight `{tensor.name}` ends at {end:,}"
    return [Finding("TK904", what, "the file is cut short or belongs to another model: copy it again")]
