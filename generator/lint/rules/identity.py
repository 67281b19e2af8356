"""What a model is: its platform and backend, whether it is an ensemble, and the sign of max_batch_size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from generator.lint.completion import AOTI, AOTI_SINCE
from generator.lint.model import Model
from generator.lint.rule import ERROR, Edit, Finding, rule

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig

_SOURCE = "core model_config_utils.cc, ValidateModelConfig"
# The platforms that the server wants beside the backends that it knows; it takes any platform beside another backend.
_PLATFORMS = {
    "tensorrt": ("tensorrt_plan",),
    "onnxruntime": ("onnxruntime_onnx",),
    "pytorch": ("pytorch_libtorch",),
    "tensorflow": ("tensorflow_savedmodel", "tensorflow_graphdef"),
}
_BACKENDS = (*_PLATFORMS, "python", "openvino", "dali", "fil", "vllm", "tensorrtllm")
_MAX_BATCH = "core model_config_utils.cc, ValidateModelConfig"


def platforms_of(model: Model, backend: str) -> tuple[str, ...]:
    """The platforms that a backend may be written with; none where the server takes any."""
    more = (AOTI,) if backend == "pytorch" and model.release >= AOTI_SINCE else ()
    return _PLATFORMS.get(backend, ()) + more


def _is_mismatched(model: Model, config: ModelConfig) -> bool:
    wanted = platforms_of(model, config.backend)
    return bool(wanted) and config.platform not in wanted


@rule("TK610", ERROR, _SOURCE)
def no_backend(model: Model) -> Iterator[Finding]:
    """Neither the configuration nor a file tells the backend.

    The server needs `backend`. It guesses it only from files that it knows, such as `model.py` or `model.plan`, in
    the first sub-directory by name. Where it finds none of them it refuses the model.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        backend: "python"
    """
    config = model.completed
    if config.backend or config.platform or model.is_ensemble or model.config_folder is None:
        return
    text = "there is no `backend`, and no file in the first sub-directory tells it"
    yield model.found("", text, 'write `backend: "…"`, such as "python", "onnxruntime" or "tensorrt"')


@rule("TK611", ERROR, _SOURCE)
def unknown_platform(model: Model) -> Iterator[Finding]:
    """A platform that tells no backend.

    `platform` alone is enough for a few names: `tensorrt_plan`, `onnxruntime_onnx`, `pytorch_libtorch`,
    `tensorflow_savedmodel`, `tensorflow_graphdef`, `ensemble`, and `torch_aoti` since 26.05. With any other one the
    server wants `backend`, too.

    Bad:
        platform: "python"
    Good:
        backend: "python"
    """
    config = model.completed
    if config.backend or not config.platform or model.is_ensemble:
        return
    name = config.platform
    edits: tuple[Edit, ...] = ()
    hint = f'name the backend: `backend: "…"`; platforms that need none: {", ".join(_known_platforms(model))}'
    if name.lower() in _BACKENDS and name.lower() != "tensorflow":  # which wants one of two platforms as well
        hint = f'write `backend: "{name.lower()}"` in its place'
        edits = model.removed("platform") + model.appended(f'backend: "{name.lower()}"\n')
    elif name.lower() == "ensemble":
        hint = 'write `platform: "ensemble"`'
        edits = model.replaced("platform", '"ensemble"')
    elif name == AOTI:
        hint = f"Triton knows it since {AOTI_SINCE}, and this server is of {model.release}: take a newer one"
    yield model.found("platform", f"platform `{name}` tells no backend, and there is no `backend`", hint, edits=edits)


def _known_platforms(model: Model) -> list[str]:
    return [name for backend in _PLATFORMS for name in platforms_of(model, backend)] + ["ensemble"]


@rule("TK612", ERROR, _SOURCE)
def platform_of_another_backend(model: Model) -> Iterator[Finding]:
    """A backend beside the platform of another one.

    The server knows which platforms belong to TensorRT, ONNX Runtime, PyTorch and TensorFlow, and refuses these
    backends with any other. It fills in the right one where `platform` is left out, except for TensorFlow.

    Bad:
        platform: "tensorrt_plan"
        backend: "onnxruntime"
    Good:
        platform: "onnxruntime_onnx"
        backend: "onnxruntime"
    """
    config = model.completed
    if config.platform == "ensemble" or not _is_mismatched(model, config):
        return
    wanted = " or ".join(f"`{name}`" for name in platforms_of(model, config.backend))
    if config.platform:
        text = f"platform `{config.platform}` is not that of backend `{config.backend}`; valid: {wanted}"
        yield model.found("platform", text, "drop `platform` or correct one of the two")
    else:
        yield model.found("backend", f"backend `{config.backend}` needs a platform: {wanted}", "write `platform`")


@rule("TK613", ERROR, _SOURCE)
def ensemble_with_backend(model: Model) -> Iterator[Finding]:
    """An ensemble that names a backend.

    An ensemble is run by the server itself: with platform `ensemble` there is no backend. A `default_model_filename`
    such as `model.py` counts, too, because the server takes the backend from it.

    Bad:
        platform: "ensemble"
        backend: "python"
    Good:
        platform: "ensemble"
    """
    config = model.completed
    if config.platform != "ensemble" or not config.backend:
        return
    if model.config.backend:
        text = f"an ensemble has no backend, here is `{config.backend}`"
        yield model.found("backend", text, "remove `backend`", edits=model.removed("backend"))
    else:
        field, name = "default_model_filename", config.default_model_filename
        text = f"an ensemble has no backend, and `{name}` makes it one of backend `{config.backend}`"
        yield model.found(field, text, f"remove `{field}`", edits=model.removed(field))


@rule("TK614", ERROR, "core model_config_utils.cc, ValidateEnsembleSchedulingConfig")
def ensemble_without_platform(model: Model) -> Iterator[Finding]:
    """Steps of an ensemble without `platform: "ensemble"`.

    The steps alone do not make a model an ensemble. The server wants the platform beside them, and no backend.

    Bad:
        name: "flow"
        ensemble_scheduling {
    Good:
        platform: "ensemble"
        ensemble_scheduling {
    """
    config = model.config
    if not config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        return
    found, hint = "", 'write `platform: "ensemble"`'
    edits: tuple[Edit, ...] = ()
    if config.backend:
        # What is meant, an ensemble or a model of that backend, only its author knows.
        hint = f"{hint} and remove `backend`"
    elif not config.platform:
        edits = model.appended('platform: "ensemble"\n')
    elif config.platform.lower() == "ensemble":
        edits = model.replaced("platform", '"ensemble"')
    if config.platform:
        found = f", here is `{config.platform}`"
    place = "platform" if config.platform else "ensemble_scheduling"
    yield model.found(place, f'what has ensemble_scheduling needs platform "ensemble"{found}', hint, edits=edits)


@rule("TK615", ERROR, _SOURCE)
def ensemble_without_steps(model: Model) -> Iterator[Finding]:
    """Platform `ensemble` without `ensemble_scheduling`.

    An ensemble is nothing but its steps, which stand under `ensemble_scheduling`. Another scheduler, such as
    `dynamic_batching`, does not go with it: each of its models has its own.

    Bad:
        platform: "ensemble"
        max_batch_size: 4
    Good:
        platform: "ensemble"
        ensemble_scheduling {
    """
    config = model.config
    if config.platform != "ensemble" or config.HasField("ensemble_scheduling") or model.completed.backend:
        return
    other = config.WhichOneof("scheduling_choice")
    text = "platform `ensemble` needs `ensemble_scheduling`" + (f", here is `{other}`" if other else "")
    yield model.found(other or "platform", text, "write its steps, or name the backend of a model that is none")


@rule("TK616", ERROR, _MAX_BATCH, local=True)
def negative_max_batch_size(model: Model) -> Iterator[Finding]:
    """A negative max_batch_size.

    0 says that the model does not batch; every other value is the largest batch that it takes. A negative value means
    nothing to the server.

    Bad:
        max_batch_size: -1
    Good:
        max_batch_size: 0
    """
    size = model.config.max_batch_size
    if size < 0:
        yield model.found(
            "max_batch_size",
            f"max_batch_size is {size}; valid: 0 (no batching) or more",
            "write 0, or its largest batch",
        )
