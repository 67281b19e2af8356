"""Which files of this package a model needs when it carries the package itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from tritonkit_runtime.engines import ENGINES
from tritonkit_runtime.parameters import ParameterError

# What engines in buffers are made of, beside the files of each of them.
_APART = ("buffered", "device", "programs/buffered.py", "programs/direct.py")
# What the steps before such an engine need to run on its GPU.
_PREPROCESS = ("preprocess", "programs/pairs.py", "programs/preprocessed.py")
# The process that runs an engine for all instances.
_SHARED = ("engine_process",)
# What joins the two.
_BOTH = ("engine_process/decoding.py", "programs/handed_over.py")
_OF_ENGINE = {
    "onnxruntime": ("buffered/onnxruntime.py",),
    "tensorrt": ("buffered/tensorrt.py", "buffered/tensorrt_bindings.py"),
    "inductor": ("buffered/inductor.py", "buffered/inductor_module.py", "buffered/inductor_package.py"),
}


def sources(
    engines: Collection[str] = (), buffered: Collection[str] = (), *, preprocess: bool = False, shared: bool = False
) -> dict[str, bytes]:
    """Path beside model.py (`tritonkit_runtime/...`) -> content, sorted by path.

    `engines` are those that the model runs, none for programs of steps and users' classes; `buffered` those that it
    runs in buffers, `preprocess` whether steps before those run on the GPU, `shared` whether one of those runs in a
    process that instances share. What is of others stays out.
    ParameterError for an unknown engine.
    """
    for asked, known in ((engines, ENGINES), (buffered, tuple(_OF_ENGINE))):
        if unknown := sorted(set(asked) - set(known)):
            raise ParameterError(f"there is no engine {unknown[0]!r}; valid are {', '.join(known)}")
    package = Path(__file__).parent
    # In buffers ONNX Runtime is asked about a file's tensors as it is without them.
    plain = {*engines, *({"onnxruntime"} & set(buffered))}
    unused = [f"engines/{name}.py" for name in ENGINES if name not in plain]
    unused += [path for name, paths in _OF_ENGINE.items() if name not in buffered for path in paths]
    unused += [] if buffered else _APART
    unused += [] if preprocess else _PREPROCESS
    unused += [] if shared else _SHARED
    unused += [] if preprocess and shared else _BOTH
    found = {}
    for path in sorted(package.rglob("*.py")):
        relative = PurePosixPath(path.relative_to(package).as_posix())
        if not any(relative.is_relative_to(name) for name in unused):
            found[str(PurePosixPath(package.name) / relative)] = path.read_bytes()
    return found
