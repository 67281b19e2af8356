"""TensorRT plans: the file, its header, and what the backend wants of the configuration around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from generator import lfs
from generator.engine.install.facts import facts_of
from generator.lint.files import Folder
from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.rules.engines import engines, file_of
from generator.lint.rules.instances import INT_LIMIT, profile_number
from generator.lint.rules.layout import FILE_FIELDS, is_known
from generator.lint.words import enum_name
from generator.plan_header import HEADER_BYTES, Header, instead_of, read_header, shown
from generator.problems import Place

BACKEND = "tensorrt"
_INSTANCE = "tensorrt_backend instance_state.cc"
_REQUEST = "engine.request.json"
_NO_TYPES = ("TYPE_STRING", "TYPE_FP64", "TYPE_INT16", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64")
_SPECS = "optimization.cuda.graph_spec"


@kept
def _is_plan(model: Model) -> bool:
    """Whether the model is a TensorRT plan, and the server has the backend for it."""
    has = model.server.backends is None or "tensorrt" in model.server.backends
    return has and model.completed.backend == "tensorrt" and is_known(model, *FILE_FIELDS)


def _plans(model: Model) -> Iterator[tuple[str, str, Folder, str | None]]:
    """Each plan that a version may load: its field, its path in the model's directory, the version's directory, and
    its name in that, None where it is missing. A plan that tritonkit is still to build is left out."""
    config = model.completed
    default = config.default_model_filename or "model.plan"
    named = {f"cc_model_filenames[{key}].value": name for key, name in sorted(config.cc_model_filenames.items())}
    for version in model.served:
        for field, name in {"default_model_filename": default, **named}.items():
            found = version.folder.find(name)
            if found is not None and not found[0].entries[found[1]]:
                yield field, f"{version.number}/{name}", version.folder, name
            elif not _is_to_be_built(version.folder, name):
                yield field, f"{version.number}/{name}", version.folder, None


def _is_to_be_built(version: Folder, name: str) -> bool:
    """Whether a request of tritonkit stands in the place of the plan."""
    if not version.has_file(_REQUEST):
        return False
    try:
        request = json.loads(version.read(_REQUEST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(request, dict) and request.get("file") == name


class _Plan(NamedTuple):
    """A plan that is there: its place, its path in the model's directory, its header and its size."""

    place: Place
    path: str
    header: Header
    size_bytes: int


def _headers(model: Model) -> Iterator[_Plan]:
    """Each plan that is there, looked at once."""
    for _, path, version, name in _plans(model) if _is_plan(model) else ():
        if name is None:
            continue
        folder, file = version.find(name) or (version, name)
        place = Place(folder.shown(file))
        try:
            yield _Plan(place, path, read_header(folder.read(file, HEADER_BYTES)), folder.size_bytes(file))
        except OSError:
            continue  # another rule tells of it


@rule("TK700", ERROR, f"{_INSTANCE}, Create", live=False, local=True)
def plan_missing(model: Model) -> Iterator[Finding]:
    """A TensorRT model has no plan in its version directory.

    The backend loads the file that cc_model_filenames gives for the GPU's compute capability, else
    default_model_filename, else `model.plan`. Without it the model is refused. Where only some of the files
    are there, it loads on some GPUs: a default is needed only for those without an entry. A version that tritonkit
    rendered and has not built yet is no mistake.

    Bad:
        default_model_filename: "digits.plan"
    Good:
        default_model_filename: "model.plan"
    """
    if not _is_plan(model):
        return
    plans = list(_plans(model))
    usable = {version.path for _, _, version, name in plans if name is not None}
    told = set()
    for field, path, version, name in plans:
        if name is not None or version.path in told:
            continue
        if version.path not in usable:
            told.add(version.path)
            yield model.found(field, f"there is no plan {path} in the model's directory", "build it, or name another")
        else:
            if field == "default_model_filename":
                text = f"there is no plan {path}, which GPUs without an entry in cc_model_filenames load"
                hint = "none is needed if it is served on GPUs with an entry alone; else build that one, too"
                yield model.found(field, text, hint, severity=NOTE)
                continue
            gpus = field.removesuffix("].value").partition("[")[2]
            text = f"there is no plan {path}, which GPUs of compute capability {gpus} load"
            hint = "build it on such a GPU, or remove the entry: then they load the default"
            yield model.found(field, text, hint, severity=WARNING)


@rule("TK701", ERROR, f"{_INSTANCE}, ModelInstanceState", live=False)
def not_on_a_gpu(model: Model) -> Iterator[Finding]:
    """A TensorRT model has an instance group that is not on a GPU.

    The backend runs plans on GPUs alone: KIND_CPU is refused, and KIND_AUTO on a machine without a GPU is KIND_CPU.
    KIND_MODEL is for plans over several GPUs (parameter `enable_multi_device`, TensorRT 11).

    Bad:
        instance_group { kind: KIND_CPU }
    Good:
        instance_group { kind: KIND_GPU }
    """
    if not _is_plan(model):
        return
    parameters = model.config.parameters
    is_multi = "enable_multi_device" in parameters and parameters["enable_multi_device"].string_value == "true"
    for i, group in enumerate(model.completed.instance_group):
        kind = enum_name(group, "kind")
        if kind == "KIND_CPU" or (kind == "KIND_MODEL" and not is_multi):
            text = f"{kind}, and a TensorRT plan runs on a GPU"
            yield model.found(f"instance_group[{i}].kind", text, "write KIND_GPU, and serve it where there is one")


@rule("TK702", ERROR, "TensorRT samples/common/sampleEngines.cpp, printPlanVersion", live=False, local=True)
def no_plan(model: Model) -> Iterator[Finding]:
    """The plan file of a TensorRT model is no plan.

    A plan begins with the tag `ftrt`; TensorRT refuses every other file. What mostly stands there instead: an ONNX
    model, a Git LFS pointer, or an export that puts something of its own before the plan. The header also tells the
    size of the file, and one that was cut short is refused (seen with 8.6.1; of newer ones it is a warning, and so is
    a header of a layout that is not known).

    Bad:
        -- m/1/model.plan --
        not a plan
    Good:
        -- m/1/model.plan = hex 667472740000000001000000000000001c000000000000000a060000 --
    """
    for plan in _headers(model):
        header = plan.header
        if header.version is None:
            severity = WARNING if header.is_plan is None else ERROR
            text = f"{plan.path} {header.problem}"
            hint = lfs.MEND if header.problem == lfs.WHAT else "put the plan itself there"
            yield model.found("", text, hint, place=plan.place, severity=severity)
        elif header.size_bytes != plan.size_bytes:
            text = f"{plan.path} has {plan.size_bytes} bytes, and its header tells of {header.size_bytes}"
            yield model.found("", text, "copy it anew: a part is missing", place=plan.place, severity=WARNING)


@rule("TK703", ERROR, "TensorRT samples/common/sampleEngines.cpp, printPlanVersion", live=False, local=True)
def another_tensorrt(model: Model) -> Iterator[Finding]:
    """A plan was built by another TensorRT than the server has.

    A plan is loaded by the TensorRT that built it and by no other; its header names that one. The exception is a plan
    that was built as VERSION_COMPATIBLE, which a newer TensorRT loads if the server is started with
    `--backend-config=tensorrt,version-compatible=true`: the header does not tell, an engine.json beside it does. Of
    releases whose TensorRT is not known, only what lies outside of their neighbours' versions is told.
    Below, the last four bytes are the version: 10.4.0.0 and 10.6.0.26 on a server with 10.6.

    Bad:
        -- m/1/model.plan = hex 667472740000000001000000000000001c000000000000000a040000 --
    Good:
        -- m/1/model.plan = hex 667472740000000001000000000000001c000000000000000a06001a --
    """
    if not _is_plan(model):
        return
    for place, path, header, _ in _headers(model):
        if header.version is None:
            continue
        instead = instead_of(header.version, model.release)
        if instead is None or (instead.older and path in _version_compatible(model)):
            continue
        other = "as VERSION_COMPATIBLE for a server that allows it" if instead.older else "serve a newer release"
        hint = f"build it in that release's image, or {other}"
        text = f"{path} was built by TensorRT {shown(header.version)}; Triton {model.release} has {instead.has}"
        yield model.judged(model.found("", text, hint, place=place))


@kept
def _version_compatible(model: Model) -> set[str]:
    """The plans of which `tritonkit build` says that later TensorRT versions load them, by path."""
    return {
        f"{engine.path.partition('/')[0]}/{file_of(engine)}"
        for engine in engines(model)
        if facts_of(engine.said).get("version_compatible") is True
    }


@rule("TK704", ERROR, f"{_INSTANCE}, ValidateGraphSpec", live=False)
def graph_spec(model: Model) -> Iterator[Finding]:
    """A CUDA graph is specified for a batch or shape that cannot be.

    With `graphs: true` the backend checks each graph_spec at load. Its batch_size is within 1 and max_batch_size (0
    if that is 0), its lower bound too, and not above it. A lower bound names the same inputs, with as many dims, none
    of them larger or below 0.

    Bad:
        graph_spec { batch_size: 16 }
    Good:
        graph_spec { batch_size: 8 }
    """
    if not _is_plan(model) or not model.config.optimization.cuda.graphs:
        return
    if model.is_open and model.completed.max_batch_size == 0:
        return  # the engine may say it
    largest = model.completed.max_batch_size
    for i, spec in enumerate(model.config.optimization.cuda.graph_spec):
        path = f"{_SPECS}[{i}]"
        has_bound = spec.HasField("graph_lower_bound")
        bound = spec.graph_lower_bound if has_bound else spec
        valid = f"1 to max_batch_size, which is {largest}" if largest else "0, as max_batch_size is 0"
        for at, size in ((path, spec.batch_size), (f"{path}.graph_lower_bound", bound.batch_size)):
            if (at == path or has_bound) and not min(1, largest) <= size <= largest:
                text = f"a CUDA graph for a batch of {size}; valid is {valid}"
                yield model.found(f"{at}.batch_size", text, "take a size that a batch can have")
        if bound.batch_size > spec.batch_size:
            text = f"a lower bound of {bound.batch_size} above the graph's own batch of {spec.batch_size}"
            yield model.found(f"{path}.graph_lower_bound.batch_size", text, "swap the two")
        yield from _shapes(model, path, spec, bound if has_bound else None)


def _shapes(model: Model, path: str, spec: Any, bound: Any) -> Iterator[Finding]:
    for name, shape in sorted(spec.input.items()):
        at = f"{path}.input[{name}].value.dim[0]"
        dims = list(shape.dim)
        if any(dim < 0 for dim in dims):
            yield model.found(at, f"a CUDA graph with a dim below 0 for `{name}`", "a graph has fixed shapes")
        elif bound is None:
            continue
        elif name not in bound.input:
            text = f"the lower bound says nothing about `{name}`"
            yield model.found(f"{path}.graph_lower_bound", text, "give it all inputs of the graph")
        else:
            low = list(bound.input[name].dim)
            at = f"{path}.graph_lower_bound.input[{name}].value.dim[0]"
            if len(low) != len(dims):
                text = f"the lower bound of `{name}` has {len(low)} dims, the graph {len(dims)}"
                yield model.found(at, text, "Triton wants as many")
            elif any(dim < 0 or dim > dims[i] for i, dim in enumerate(low)):
                text = f"the lower bound {low} of `{name}` is not within 0 and the graph's {dims}"
                yield model.found(at, text, "take dims up to the graph's")


@rule("TK705", ERROR, f"{_INSTANCE}, ValidateIOHelper", live=False)
def type_without_engine(model: Model) -> Iterator[Finding]:
    """A TensorRT model has an input or output of a type that TensorRT lacks.

    Plans take and give FP32, FP16, BF16, INT8, UINT8, INT32, INT64 and BOOL. Text is decoded before, in a Python
    model of an ensemble; wider or unsigned integers are cast where they come from.

    Bad:
        input { name: "image" data_type: TYPE_STRING dims: 1 }
    Good:
        input { name: "image" data_type: TYPE_UINT8 dims: 1 }
    """
    if not _is_plan(model):
        return
    for side in ("input", "output"):
        for i, tensor in enumerate(getattr(model.config, side)):
            name = enum_name(tensor, "data_type")
            if name in _NO_TYPES:
                text = f"`{tensor.name}` is {name}, which no TensorRT plan has"
                yield model.found(f"{side}[{i}].data_type", text, "write the type that the engine has")


@rule("TK706", WARNING, f"{_INSTANCE}, InitOptimizationProfiles", live=False)
def profile_twice(model: Model) -> Iterator[Finding]:
    """An instance group names one optimization profile twice.

    Profiles go by their number alone, and a name counts up to its first character that is no digit: `0` and `0_small`
    are the same one. The second is left out with a warning in the log.

    Bad:
        instance_group { kind: KIND_GPU profile: [ "0", "0_small" ] }
    Good:
        instance_group { kind: KIND_GPU profile: [ "0", "1" ] }
    """
    for i, group in enumerate(model.config.instance_group if _is_plan(model) else ()):
        seen: set[int | None] = set()
        for j, text in enumerate(group.profile):
            number = profile_number(text)
            if number is not None and abs(number) < INT_LIMIT and number in seen:
                what = f"`{text}` is profile {number}, which stands there already"
                yield model.found(f"instance_group[{i}].profile[{j}]", what, "name each profile once")
            seen.add(number)


@rule("TK707", WARNING, "tensorrt_backend tensorrt_model.cc, ParseModelConfig", live=False)
def graphs_off(model: Model) -> Iterator[Finding]:
    """CUDA graphs are specified, and switched off.

    The backend looks at graph_spec only with `graphs: true`. Without it nothing is captured and nothing is checked.

    Bad:
        cuda { graph_spec { batch_size: 4 } }
    Good:
        cuda { graphs: true graph_spec { batch_size: 4 } }
    """
    if not _is_plan(model):
        return
    cuda = model.config.optimization.cuda
    if cuda.graph_spec and not cuda.graphs:
        yield model.found(f"{_SPECS}[0]", "CUDA graphs are specified without `graphs: true`", "add it to `cuda`")
