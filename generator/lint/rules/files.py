"""Files that a configuration names: labels, the backend's library, a batching strategy, the model's own file."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Literal

from generator import lfs
from generator.lint.files import Folder
from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.rules.layout import FILE_FIELDS, is_known, is_module
from generator.lint.words import item_count

STRATEGY = "TRITON_BATCH_STRATEGY_PATH"
_ELF = b"\x7fELF"
_ACCEPTS_LABELS_OUTSIDE = "24.10"  # the last release that is known to
Entry = tuple[Folder, str]  # a directory and a name in it, which is empty for a directory that nothing is above


class Unseen(Enum):
    """What a path leads to that leaves everything that can be seen from here."""

    UNSEEN = "unseen"


UNSEEN: Literal[Unseen.UNSEEN] = Unseen.UNSEEN


@rule("TK670", ERROR, "core model.cc, Model::Init, and label_provider.cc", local=True)
def label_file(model: Model) -> Iterator[Finding]:
    """A label file is not there, or not inside the model's directory.

    The path counts from the model's directory, not from the version's. The server reads the file at load, for every
    version, and refuses the model without it; a directory in its place ends the server. Newer servers refuse a path
    that leaves the model's directory, while that of 24.10 reads the file.

    Bad:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "names.txt" } ]
    Good:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
    """
    for index, output in enumerate(model.completed.output if is_known(model, "output") else ()):
        name = output.label_filename
        if not name:
            continue
        path, found = f"output[{index}].label_filename", resolve(model, name)
        if found is None:
            yield model.found(path, f"there is no `{name}` in the model's directory", _near(model, name))
        elif found is not UNSEEN and (found[0].has_folder(found[1]) or not found[1]):
            text = f"`{name}` is a directory, and a server that reads it as a file ends"
            yield model.found(path, text, "name the file")
        elif not _is_inside(model, name):
            severity = WARNING if model.release <= _ACCEPTS_LABELS_OUTSIDE else None
            text = f"`{name}` lies outside of the model's directory, which newer servers refuse"
            hint = "copy it into the model's directory"
            yield model.judged(model.found(path, text, hint, severity=severity))


@rule("TK671", WARNING, "core label_provider.cc, GetLabel", local=True)
def too_few_labels(model: Model) -> Iterator[Finding]:
    """A label file has fewer lines than its output has classes.

    Line n is the label of class n. Where there is no such line, the class extension answers without a label, and
    nothing tells why. A pointer of Git LFS has three lines, which are no labels.

    Bad:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
        -- adder/labels.txt --
        one
        two
    Good:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
        -- adder/labels.txt --
        one
        two
        three
        four
    """
    for index, output in enumerate(model.completed.output if is_known(model, "output") else ()):
        found = resolve(model, output.label_filename) if output.label_filename else None
        if found is None or found is UNSEEN or not found[0].has_file(found[1]) or min(output.dims, default=0) < 1:
            continue
        classes = item_count(output.dims)
        try:
            text = found[0].read(found[1])
        except OSError:
            continue
        if lfs.is_pointer(text):
            what = f"`{output.label_filename}` {lfs.WHAT}: its lines become the labels"
            yield model.found(f"output[{index}].label_filename", what, lfs.MEND)
            continue
        labels = text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
        if labels < classes:
            message = f"it has {labels} labels, and the output {classes} elements"
            yield model.found(f"output[{index}].label_filename", message, "one line for each class")


@rule("TK672", ERROR, "core backend_model.cc, GetBackendLibraryProperties")
def library(model: Model) -> Iterator[Finding]:
    """`runtime` names no library of the backend.

    The server looks for the file in the version's directory, in the model's, and in the backend's; a path that leaves
    that directory is refused. `model.py` means a backend that is written in Python, which Python models themselves
    are not of.

    Bad:
        runtime: "libtriton_pyton.so"
    Good:
        runtime: "libtriton_python.so"
    """
    backend, runtime = model.completed.backend, model.config.runtime
    has_it = model.server.backends is None or backend in model.server.backends
    if not runtime or model.is_ensemble or not backend or not has_it:
        return
    library = f"libtriton_{backend}.so"
    if runtime == "model.py":
        if backend == "python":
            text = "Python models are run by the backend's own library"
            yield model.found("runtime", text, "remove it", edits=model.removed("runtime"))
        return
    for folder in (*(version.folder for version in model.served), model.folder):
        found = _walk(folder, runtime, is_bound=True)
        if found is not None and found is not UNSEEN:
            if not is_library(*found):
                yield model.found("runtime", f"`{runtime}` in the model's directory is no library", f"`{library}`")
            return
    if not _leads_to(runtime, backend, library, model):
        yield model.found("runtime", f"the backend `{backend}` has no `{runtime}`", f"`{library}`, or nothing at all")


@rule("TK673", ERROR, "core backend_model.cc, TritonModel::Create")
def batching_strategy(model: Model) -> Iterator[Finding]:
    """A custom batching strategy cannot be loaded.

    `TRITON_BATCH_STRATEGY_PATH` names a library that decides which requests share a batch. The server refuses a model
    whose path leads nowhere, and any model with a sequence batcher that has this parameter. What stands at a whole
    path on the server's machine is not judged; one that counts from where the server was started is a warning.
    Without it, a `batchstrategy.so` beside the model is loaded, whatever it is.

    Bad:
        parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "" } }
    Good:
        parameters { key: "OTHER" value { string_value: "" } }
    """
    config, path = model.config, f"parameters[{STRATEGY}]"
    if model.is_ensemble:
        return
    if STRATEGY in config.parameters:
        given = config.parameters[STRATEGY].string_value
        if config.HasField("sequence_batching"):
            text = "a model with a sequence batcher cannot have a batching strategy"
            yield model.found(path, text, "remove it", edits=model.removed(path))
        elif not given:
            yield model.found(path, "it names no file", "the whole path of the library, or remove it")
        elif not given.startswith("/"):
            text = f"`{given}` counts from the directory that the server was started in, not from the model's"
            yield model.found(path, text, "the whole path of the library, as the server sees it", severity=WARNING)
    elif not config.HasField("sequence_batching"):
        for folder in (*(version.folder for version in model.served), model.folder):
            if folder.has_file("batchstrategy.so"):
                if not is_library(folder, "batchstrategy.so"):
                    text = f"{folder.shown('batchstrategy.so')} is no library, and the server loads it as one"
                    yield model.found("", text, "remove it")
                return


@rule("TK674", ERROR, "python_backend pb_stub.cc, Initialize", local=True)
def module_name(model: Model) -> Iterator[Finding]:
    """The file of a Python model is none that Python can import.

    The backend turns the path below the version's directory into a module's name. It must end in `.py` and have no
    other dot, so neither `./model.py` nor `my.model.py` works, and no character that means something to a shell.

    Bad:
        default_model_filename: "adder.v2.py"
    Good:
        default_model_filename: "adder_v2.py"
    """
    config = model.completed
    name = config.default_model_filename
    if config.backend == "python" and name and not is_module(name) and is_known(model, *FILE_FIELDS):
        text = f"Python cannot import `{name}`"
        yield model.found("default_model_filename", text, "a name that ends in .py, without other dots and spaces")


def resolve(model: Model, path: str) -> Entry | Literal[Unseen.UNSEEN] | None:
    """The entry that a path from the model's directory leads to, also by `..`. None where there is none, UNSEEN
    where the path leaves the repository: nothing is known of what stands there.
    """
    return _walk(model.folder, path, is_bound=False)


def _is_inside(model: Model, path: str) -> bool:
    """Whether a path stays below the model's directory, or comes back to it."""
    depth: list[str] = [model.name]
    for part in path.split("/"):
        if part == "..":
            if not depth:
                return False
            depth.pop()
        elif part not in ("", "."):
            depth.append(part)
    return depth[:1] == [model.name]


def _walk(start: Folder, path: str, *, is_bound: bool) -> Entry | Literal[Unseen.UNSEEN] | None:
    """Goes a path from a directory, and where it `is_bound` to that, never above."""
    at = start
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == "..":
            if is_bound and at is start:
                return None
            if at.parent is None:
                return UNSEEN
            at = at.parent
        elif at.has_folder(part):
            at = at.folder(part)
        elif is_last and at.has_file(part) and not path.endswith(("/", "/.")):
            return at, part
        else:
            return None
    return (at, "") if at.parent is None else (at.parent, at.name)


def is_library(folder: Folder, name: str) -> bool:
    """Whether a file is a shared library, or at least begins as one."""
    try:
        return folder.has_file(name) and folder.read(name, len(_ELF)) == _ELF
    except OSError:
        return False


def _near(model: Model, name: str) -> str:
    """What to do about a missing file: it often lies beside the model's own."""
    base = name.rsplit("/", 1)[-1]
    for version in model.served:
        if version.folder.has_file(base):
            return f"`{version.folder.name}/{base}` is there: the path counts from the model's directory"
    return "the path counts from the model's directory"


def _leads_to(runtime: str, backend: str, library: str, model: Model) -> bool:
    """Whether a path from the backend's directory leads to its library, and through directories that are there."""
    at = [backend]
    for part in runtime.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return True  # above all backends: not to be seen from here
            at.pop()
            continue
        if at and at[-1].endswith(".so"):
            return False
        known = at or model.server.backends is None or part in model.server.backends
        if not known or (at and part != library):
            return False
        at.append(part)
    return at == [backend, library]
