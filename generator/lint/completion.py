"""What the server, or a backend, adds to a configuration before it is judged.

The core fills in names and defaults always (`--disable-auto-complete-config` does not switch that off); with
completion on, a backend also reads the model's own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig
    from generator.lint.files import Folder
    from generator.lint.model import Model
    from generator.lint.onnx_signature import Signature
    from generator.resolve.onnx_graph import OnnxTensor

CORE, BACKEND = "the server", "the backend"
SEQUENCE_IDLE_US = 1_000_000
# What the server gives backends as `default-max-batch-size`, which ONNX Runtime's takes for models without one.
DEFAULT_MAX_BATCH_SIZE = 4
_CPU_PAIRS = ("onnxruntime", "tensorflow")  # two instances on the CPU where nothing is said
_ALWAYS_CPU = ("openvino",)
_NEVER_COMPLETED = ("identity", "pytorch", "repeat", "square")
AOTI, AOTI_SINCE = (
    "torch_aoti",
    "26.05",
)  # a second platform of PyTorch's backend, for packages that are compiled ahead
# backend, platform, file, in the order in which the server tries them; it sets the platform too unless it is empty.
_KNOWN = (
    ("tensorrt", "tensorrt_plan", "model.plan"),
    ("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    ("openvino", "", "model.xml"),
    ("pytorch", "pytorch_libtorch", "model.pt"),
    ("python", "", "model.py"),
)
_KNOWN_SINCE_AOTI = (*_KNOWN[:3], ("pytorch", AOTI, "model.pt2"), *_KNOWN[3:])
_TENSORFLOW = (("tensorflow_savedmodel", "model.savedmodel", True), ("tensorflow_graphdef", "model.graphdef", False))


class Completion(NamedTuple):
    """A value that nobody wrote: its field, as text, and who adds it for what reason."""

    field: str
    value: str
    why: str


@dataclass
class _Draft:
    """A configuration while it is completed."""

    config: ModelConfig
    added: list[Completion] = field(default_factory=list)

    def say(self, path: str, value: object, why: str) -> None:
        """Notes an addition."""
        self.added.append(Completion(path, str(value), why))

    def text(self, name: str, value: str, why: str) -> None:
        """Sets a text field of the top if it is empty."""
        if value and not getattr(self.config, name):
            setattr(self.config, name, value)
            self.say(name, f'"{value}"', why)


def completed(model: Model) -> ModelConfig:
    """The configuration as the server judges it: a copy, with what it and the backend add.

    Where the number of GPUs is not known, an instance group without `kind` keeps KIND_AUTO, and one without `count`
    has 1, which on the CPU would be 2 for ONNX Runtime.
    """
    return _complete(model).config


def completions(model: Model) -> list[Completion]:
    """What is added, in the order in which it happens."""
    return _complete(model).added


def is_open(model: Model) -> bool:
    """Whether what only the server runs or reads may add inputs, outputs and max_batch_size: a Python model's
    `auto_complete_config`, a TensorRT engine, an ONNX file that cannot be read here, a backend that is not known."""
    if not model.server.auto_complete or model.is_ensemble:
        return False
    draft = _Draft(_copy(model.config))
    _backend_and_file(draft, model)
    backend = draft.config.backend
    if backend == "python":
        return _python_completes(model, draft.config)
    if backend == "onnxruntime":
        return not _has_tensors(draft.config) and _graph(model, draft.config) is None
    return bool(backend) and backend not in _NEVER_COMPLETED


def _complete(model: Model) -> _Draft:
    draft = _Draft(_copy(model.config))
    _backend_and_file(draft, model)
    _defaults(draft)
    if draft.config.HasField("ensemble_scheduling"):
        _decoupled(draft, model)
        return draft
    _instances(draft, model)
    if model.server.auto_complete:
        if draft.config.backend == "onnxruntime" and not _has_tensors(draft.config):
            _from_onnx(draft, model)
            _defaults(draft)
        elif draft.config.backend == "tensorrt":
            _from_engine(draft)
            _defaults(draft)
        elif draft.config.backend == "python":
            _from_python(draft, model)
            _defaults(draft)
    return draft


def _copy(config: ModelConfig) -> ModelConfig:
    copy = type(config)()
    copy.CopyFrom(config)
    return copy


# The core: name, backend, file ----------------------------------------------------------------------------------


def _backend_and_file(draft: _Draft, model: Model) -> None:
    """AutoCompleteBackendFields: the name, and backend, platform and file from each other or from what is there."""
    config = draft.config
    # A name that is no text becomes one here: another rule tells of it.
    name = model.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    draft.text("name", name, f"{CORE} takes the directory's name")
    names_nothing = not config.backend and not config.platform and not config.default_model_filename
    there = _first_version(model.folder) if not config.platform and not config.default_model_filename else None
    if _tensorflow(draft, there):
        return
    for backend, platform, file in _KNOWN if model.release < AOTI_SINCE else _KNOWN_SINCE_AOTI:
        if not config.backend:
            if (platform and config.platform == platform) or config.default_model_filename == file:
                draft.text("backend", backend, f"{CORE} knows it by platform or file")
            elif not config.platform and not config.default_model_filename and _holds(there, file, backend):
                if platform == AOTI and _holds(there, "model.pt", backend):
                    continue
                draft.text("backend", backend, f"{CORE} found `{file}` in the first version")
                if platform == AOTI:
                    draft.text("platform", platform, f"{CORE} found `{file}` in the first version")
        if config.backend == backend and (platform != AOTI or config.platform == AOTI):
            draft.text("platform", platform, f"{CORE} knows it by the backend")
            if not (backend == "pytorch" and config.runtime == "model.py"):
                draft.text("default_model_filename", file, f"{CORE} knows it by the backend")
            return
    if names_nothing and "." in name:
        backend = name.partition(".")[2]
        draft.text("backend", backend, f"{CORE} takes it from the model's name")
        draft.text("default_model_filename", f"model.{backend}", f"{CORE} takes it from the model's name")


def _tensorflow(draft: _Draft, there: Folder | None) -> bool:
    config = draft.config
    if not config.platform and config.backend in ("", "tensorflow"):
        # Of two, the server takes the last.
        for platform, file, is_folder in _TENSORFLOW:
            if config.default_model_filename == file or (there is not None and there.entries.get(file) is is_folder):
                config.platform = platform
        draft.say("platform", f'"{config.platform}"', f"{CORE} knows it by the file") if config.platform else None
    for platform, file, _ in _TENSORFLOW:
        if config.platform == platform:
            draft.text("backend", "tensorflow", f"{CORE} knows it by the platform")
            draft.text("default_model_filename", file, f"{CORE} knows it by the platform")
            return True
    return False


def _first_version(folder: Folder) -> Folder | None:
    """The directory that the server looks into: the first by name, whatever it is."""
    first = next((name for name, is_folder in folder.entries.items() if is_folder), None)
    return folder.folder(first) if first is not None else None


def _holds(version: Folder | None, file: str, backend: str) -> bool:
    """Whether the version has the file that tells of a backend."""
    if version is None or file not in version.entries:
        return False
    return version.has_file(file) or backend not in ("tensorrt", "pytorch")


# The core: defaults ----------------------------------------------------------------------------------------------


def _defaults(draft: _Draft) -> None:
    """NormalizeModelConfig: what the server also shows where nothing is written."""
    config = draft.config
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
        draft.say("version_policy", "{ latest { num_versions: 1 } }", f"{CORE} serves the newest version alone")
    if config.HasField("dynamic_batching"):
        _preferred(draft, "dynamic_batching", config.dynamic_batching.preferred_batch_size)
    if config.HasField("sequence_batching"):
        batcher = config.sequence_batching
        if batcher.max_sequence_idle_microseconds == 0:
            batcher.max_sequence_idle_microseconds = SEQUENCE_IDLE_US
            draft.say("sequence_batching.max_sequence_idle_microseconds", SEQUENCE_IDLE_US, f"{CORE}'s default")
        if batcher.HasField("oldest"):
            _preferred(draft, "sequence_batching.oldest", batcher.oldest.preferred_batch_size)
    if config.HasField("ensemble_scheduling"):
        return
    for name in ("input_pinned_memory", "output_pinned_memory"):
        if not config.optimization.HasField(name):
            getattr(config.optimization, name).enable = True
            draft.say(f"optimization.{name}.enable", "true", f"{CORE}'s default")


def _preferred(draft: _Draft, path: str, sizes: Any) -> None:
    if not sizes and draft.config.max_batch_size > 0:
        sizes.append(draft.config.max_batch_size)
        draft.say(
            f"{path}.preferred_batch_size", f"[ {sizes[0]} ]", f"{CORE} takes max_batch_size where none is given"
        )


def _decoupled(draft: _Draft, model: Model) -> None:
    """An ensemble is decoupled if one of the models that it is made of is, whatever it says itself."""
    from generator.lint.ensemble import decoupled_ensembles

    decoupled = model.name in decoupled_ensembles(model.repository)
    policy = draft.config.model_transaction_policy
    if policy.decoupled is not decoupled:
        word = "true" if decoupled else "false"
        draft.say("model_transaction_policy.decoupled", word, f"{CORE} asks the models that it is made of")
    policy.SetInParent()
    policy.decoupled = decoupled


def _instances(draft: _Draft, model: Model) -> None:
    """NormalizeInstanceGroup: one group at least, its kind, its count, its devices."""
    config, gpus = draft.config, model.server.gpus
    if not config.instance_group:
        group = config.instance_group.add(name=config.name)
        draft.say("instance_group[0].name", f'"{config.name}"', f"{CORE} makes one group")
        if config.backend in _ALWAYS_CPU:
            group.kind = group.KIND_CPU
            draft.say("instance_group[0].kind", "KIND_CPU", f"{BACKEND} prefers it")
    for i, group in enumerate(config.instance_group):
        path = f"instance_group[{i}]"
        if not group.name:
            group.name = f"{config.name}_{i}"
            draft.say(f"{path}.name", f'"{group.name}"', f"{CORE} numbers the groups")
        if group.kind == group.KIND_AUTO and gpus is not None:
            missing = [gpu for gpu in group.gpus if not 0 <= gpu < gpus]
            group.kind = group.KIND_CPU if not gpus or missing else group.KIND_GPU
            why = "there is no GPU" if not gpus else f"there is no GPU {missing[0]}" if missing else "there is a GPU"
            draft.say(f"{path}.kind", group.Kind.Name(group.kind), f"{CORE} resolves KIND_AUTO: {why}")
        if group.count < 1:
            pairs = config.backend in _CPU_PAIRS
            group.count = 2 if group.kind == group.KIND_CPU and pairs else 1
            if group.kind != group.KIND_AUTO or not pairs:
                draft.say(f"{path}.count", group.count, f"{CORE}'s default")
        if group.kind == group.KIND_GPU and not group.gpus and gpus:
            group.gpus.extend(range(gpus))
            draft.say(f"{path}.gpus", f"[ {', '.join(map(str, group.gpus))} ]", f"{CORE} takes all of them")


# The backends ----------------------------------------------------------------------------------------------------


def _has_tensors(config: ModelConfig) -> bool:
    """Whether ONNX Runtime's backend leaves a configuration alone."""
    return bool((config.input or config.batch_input) and config.output)


def _python_completes(model: Model, config: ModelConfig) -> bool:
    """Whether a Python model has, or may have, an `auto_complete_config` that does more than can be read,
    or ends in an error."""
    from generator.lint.python_completion import complete, readable_calls

    calls = readable_calls(model, config)
    return calls is None or complete(_copy(config), calls) is not None


def _from_python(draft: _Draft, model: Model) -> None:
    """The Python backend: what the model's own code does in any case, if that is all it does."""
    from generator.lint.python_completion import complete, readable_calls

    calls = readable_calls(model, draft.config)
    if not calls or complete(_copy(draft.config), calls) is not None:
        return
    config, before, why = draft.config, _copy(draft.config), "its auto_complete_config says so"
    complete(config, calls)
    if config.max_batch_size != before.max_batch_size:
        draft.say("max_batch_size", config.max_batch_size, why)
    for where in ("input", "output"):
        for i, tensor in enumerate(getattr(config, where)):
            old = getattr(before, where)
            if i >= len(old) or tensor != old[i]:
                draft.say(f"{where}[{i}]", f"{{ {' '.join(str(tensor).split())} }}", why)
    for name in ("dynamic_batching", "model_transaction_policy"):
        if config.HasField(name) and not before.HasField(name):
            draft.say(name, f"{{ {' '.join(str(getattr(config, name)).split())} }}".replace("{  }", "{ }"), why)


def _graph(model: Model, config: ModelConfig) -> Signature | None:
    from generator.lint.onnx_signature import newest

    return newest(model, config)


def _from_onnx(draft: _Draft, model: Model) -> None:
    """ONNX Runtime's backend: inputs, outputs, max_batch_size and the dynamic batcher from the file."""
    config, graph = draft.config, _graph(model, draft.config)
    if graph is None:
        return
    if graph.may_batch:
        if config.max_batch_size == 0:
            config.max_batch_size = DEFAULT_MAX_BATCH_SIZE
            why = f"{BACKEND} found that the first axis of every tensor is of any length"
            draft.say("max_batch_size", DEFAULT_MAX_BATCH_SIZE, why)
        if config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
            config.dynamic_batching.SetInParent()
            draft.say("dynamic_batching", "{ }", f"{BACKEND} found that the model can batch")
    if not config.input and not config.batch_input:
        _tensors(draft, "input", config.input, graph.inputs)
    if not config.output:
        _tensors(draft, "output", config.output, graph.outputs)


def _tensors(draft: _Draft, where: str, tensors: Any, found: Sequence[OnnxTensor]) -> None:
    batched = draft.config.max_batch_size > 0
    for i, tensor in enumerate(found):
        dims = [-1 if d is None else d for d in (tensor.dims[1:] if batched else tensor.dims)]
        dtype = "INVALID" if tensor.dtype == "?" else tensor.dtype
        entry = tensors.add(name=tensor.name, data_type=f"TYPE_{dtype}", dims=dims or [1])
        if batched and not dims:
            entry.reshape.SetInParent()
        text = f'{{ name: "{tensor.name}" data_type: TYPE_{dtype} dims: {list(entry.dims)} }}'
        draft.say(f"{where}[{i}]", text, f"{BACKEND} read it from the file")


def _from_engine(draft: _Draft) -> None:
    """TensorRT's backend: the engine says all; what is known without reading it is the dynamic batcher, because an
    engine that takes a max_batch_size above 1 gets one."""
    config = draft.config
    on_gpu = bool(config.instance_group) and config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    if on_gpu and config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
        config.dynamic_batching.SetInParent()
        draft.say("dynamic_batching", "{ }", f"{BACKEND} found that the engine can batch")
