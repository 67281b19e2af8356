"""What the server of a release does not have yet, or no longer: fields and backends."""

from __future__ import annotations

from collections.abc import Iterator

from generator.config.since import SINCE, set_paths
from generator.lint.model import Model
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.rules.files import is_library
from generator.lint.rules.layout import has_no_config

# The backends of NVIDIA's full image (tag `YY.MM-py3`), and those that come in an image of their own.
_FULL_IMAGE = frozenset({
    "dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch", "repeat", "square", "tensorrt",
})  # fmt: skip
_TOWARDS = {path.partition(".")[0] for path in SINCE}
_REMOVED = {"tensorflow": "25.03"}
_OTHER_IMAGES = {"vllm": "vllm-python-py3", "tensorrtllm": "trtllm-python-py3"}


@rule("TK730", ERROR, "the protobufs of tritonclient 2.51 to 2.73", local=True)
def field_too_new(model: Model) -> Iterator[Finding]:
    """A field is newer than the server.

    A server knows the fields of its own release and refuses a whole configuration for a single one that it does not.
    The API says only that the text could not be read; the field stands in the server's log.

    Bad:
        model_metrics { }
    Good:
        metric_tags { key: "team" value: "vision" }
    """
    if not any(child.name in _TOWARDS for child in model.text.tree.children or ()):
        return
    for path in dict.fromkeys(set_paths(model.config)):
        first = SINCE.get(path)
        if first is not None and first > model.release:
            text = f"`{path}` is known since Triton {first}, and the server is of {model.release}"
            yield model.judged(model.found(path, text, f"remove it, or take a server of {first} or later"))


@rule("TK731", ERROR, "core backend_model.cc, GetBackendRuntimeLibraryName; NVIDIA's release notes")
def absent_backend(model: Model) -> Iterator[Finding]:
    """The server does not have the backend.

    A backend is a library that the server looks for in the version's directory, in the model's, and among those it
    was installed with. Without it the model is refused. Which backends a server has depends on its image; what
    NVIDIA's full image of the release has is known here. vLLM and TensorRT-LLM come in images of their own, which is
    only a note.

    Bad:
        backend: "pyton"
    Good:
        backend: "python"
    """
    backend, server = model.completed.backend, model.server
    if not backend or model.is_ensemble or has_no_config(model) or _own_library(model, backend):
        return
    field = "backend" if model.config.backend else "platform" if model.config.platform else ""
    if server.backends is not None:
        if backend not in server.backends:
            text = f"the server has no backend `{backend}`"
            near = _near(backend, server.backends)
            hint = f"did you mean `{near}`?" if near else f"it has {', '.join(sorted(server.backends)) or 'none'}"
            yield model.found(field, text, hint)
    elif backend in _REMOVED and model.release >= _REMOVED[backend]:
        text = f"NVIDIA's images have no backend `{backend}` since {_REMOVED[backend]}"
        yield model.judged(model.found(field, text, "export the model to ONNX, or take an older server"))
    elif backend in _OTHER_IMAGES:
        text = (
            f"the backend `{backend}` is not in NVIDIA's full image, but in {model.release}-{_OTHER_IMAGES[backend]}"
        )
        yield model.found(field, text, f"serve it with that image, or say `--backends {backend}`", severity=NOTE)
    elif backend not in _FULL_IMAGE | _REMOVED.keys():
        text = f"NVIDIA's full image of {model.release} has no backend `{backend}`"
        near = _near(backend, _FULL_IMAGE)
        hint = f"did you mean `{near}`?" if near else "name the server's backends if it has this one"
        yield model.found(field, text, hint, severity=WARNING)


def _own_library(model: Model, backend: str) -> bool:
    """Whether the model brings its backend along."""
    names = {f"libtriton_{backend}.so", model.config.runtime}
    folders = [*(version.folder for version in model.served), model.folder]
    return any(folder.has_file(name) and is_library(folder, name) for folder in folders for name in names)


def _near(name: str, names: frozenset[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name.lower(), names, 1)
    return found[0] if found else ""
