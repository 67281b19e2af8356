"""Instance groups: where and how often a model is loaded, and what the rate limiter counts for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model, Repository, kept
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.words import enum_name
from generator.pbtxt.words import some

NEEDS = ("instance_group",)
_VALIDATE = "core model_config_utils.cc, ValidateInstanceGroup"
_NORMALIZE = "core model_config_utils.cc, NormalizeInstanceGroup"
_RATE = "core rate_limiter.cc"
INT_LIMIT = 2**31
_MOST_DIGITS = 18
_SHOWN = 3
_CPU_PAIRS = ("onnxruntime", "tensorflow")  # two instances on the CPU where nothing is said


@kept
def _groups(model: Model) -> tuple[tuple[str, Any, str], ...]:
    """Each instance group that is written: where it stands, itself, and its kind. None for ensembles."""
    config = model.config
    groups = () if config.HasField("ensemble_scheduling") else config.instance_group
    return tuple((f"instance_group[{i}]", group, enum_name(group, "kind")) for i, group in enumerate(groups))


@rule("TK650", ERROR, _VALIDATE)
def no_gpu(model: Model) -> Iterator[Finding]:
    """An instance group wants a GPU, and the server's machine has none.

    KIND_GPU is not a preference: without a GPU that the server can see, the model is refused. KIND_AUTO, which is
    what stands there when `kind` is left out, takes the CPU then.

    Bad:
        instance_group { kind: KIND_GPU }
    Good:
        instance_group { kind: KIND_AUTO }
    """
    if model.server.gpus == 0:
        for path, _, kind in _groups(model):
            if kind == "KIND_GPU":
                text = "KIND_GPU, and the server's machine has no GPU"
                yield model.found(f"{path}.kind", text, "KIND_AUTO takes a GPU where there is one")


@rule("TK651", ERROR, _VALIDATE)
def unknown_gpu(model: Model) -> Iterator[Finding]:
    """An instance group names a GPU that the machine does not have.

    `gpus` are the numbers that CUDA gives to the GPUs that the server can see, from 0. With KIND_GPU a number that
    is not there is refused. With KIND_AUTO it turns the group into KIND_CPU, which may name no GPUs: refused, too.

    Bad:
        instance_group { kind: KIND_GPU gpus: [ 0, 2 ] }
    Good:
        instance_group { kind: KIND_GPU gpus: [ 0, 1 ] }
    """
    count = model.server.gpus
    for path, group, kind in _groups(model):
        if kind not in ("KIND_GPU", "KIND_AUTO") or (kind == "KIND_GPU" and count == 0):
            continue  # KIND_CPU and KIND_MODEL: TK652; no GPU at all: TK650
        for i, gpu in enumerate(group.gpus):
            if gpu < 0 or (count is not None and gpu >= count):
                has = "GPUs are counted from 0" if count is None else f"the server sees {count} of them"
                turned = "" if kind == "KIND_GPU" else ", and the group becomes KIND_CPU with `gpus`"
                yield model.found(
                    f"{path}.gpus[{i}]", f"GPU {gpu}, and {has}{turned}", "without `gpus`, it takes all"
                )
                break


@rule("TK652", ERROR, _VALIDATE, local=True)
def gpus_without_gpu(model: Model) -> Iterator[Finding]:
    """An instance group of KIND_CPU or KIND_MODEL names GPUs.

    `gpus` belong to KIND_GPU and KIND_AUTO. A model of KIND_MODEL chooses its devices by itself. The server refuses
    the combination.

    Bad:
        instance_group { kind: KIND_CPU gpus: [ 0 ] }
    Good:
        instance_group { kind: KIND_CPU }
    """
    for path, group, kind in _groups(model):
        if kind in ("KIND_CPU", "KIND_MODEL") and group.gpus:
            text = f"{kind} with `gpus`; only KIND_GPU and KIND_AUTO take them"
            yield model.found(f"{path}.gpus[0]", text, "take `gpus` away, or write KIND_GPU")


@rule("TK776", ERROR, _VALIDATE, local=True)
def unknown_instance_kind(model: Model) -> Iterator[Finding]:
    """An instance group's kind is a number that stands for none.

    Enums may be written as numbers, and a number of a later release, or a wrong one, is read like any other. The
    server then finds no such kind and refuses the model.

    Bad:
        instance_group { kind: 9 }
    Good:
        instance_group { kind: 2 }
    """
    for path, group, kind in _groups(model):
        names = [value.name for value in group.Kind.DESCRIPTOR.values]
        if kind not in names:
            text = f"an instance group of the kind {kind}; valid: {', '.join(names)}"
            yield model.found(f"{path}.kind", text, "write its name")


@rule("TK653", ERROR, f"{_VALIDATE} and GetProfileIndex")
def profile(model: Model) -> Iterator[Finding]:
    """`profile` stands with a model that is no TensorRT plan, or names no profile.

    `profile` chooses optimization profiles of a TensorRT plan by their numbers, written as text. With another
    platform it is refused, even empty. A text that does not begin with a number, or a number below 0, is refused; a
    number of more than 32 bits ends the server.

    Bad:
        instance_group { kind: KIND_CPU profile: [ "0" ] }
    Good:
        instance_group { kind: KIND_CPU }
    """
    for path, group, _ in _groups(model):
        if group.profile and model.completed.platform != "tensorrt_plan":
            text = "`profile` stands with a model that is no TensorRT plan"
            yield model.found(f"{path}.profile[0]", text, "take it away")
            continue
        for i, text in enumerate(group.profile):
            number = profile_number(text)
            if number is None or not 0 <= number < INT_LIMIT:
                what = f"`{text}` is no optimization profile; valid is the number of one, from 0, as text"
                yield model.found(f"{path}.profile[{i}]", what, 'such as `profile: "0"`')


def profile_number(text: str) -> int | None:
    """The number at the beginning of a profile's name, as C++'s stoi reads it; None where there is none.

    One of very many digits, which Python may not read either, counts as 10 to the power of their limit.
    """
    text = text.lstrip(" \t\n\v\f\r")
    end = 1 if text[:1] in ("+", "-") else 0
    while text[end : end + 1].isascii() and text[end : end + 1].isdigit():
        end += 1
    digits = text[:end].lstrip("+-")
    if not digits:
        return None
    digits = digits.lstrip("0")
    number = 10**_MOST_DIGITS if len(digits) > _MOST_DIGITS else int(digits or "0")
    return -number if text.startswith("-") else number


@rule("TK654", WARNING, _NORMALIZE)
def no_instances(model: Model) -> Iterator[Finding]:
    """`count` of an instance group is below 1, and becomes 1.

    A group cannot be switched off this way: the server takes 0 and less as if nothing were written, and starts one
    instance on each device (two for ONNX Runtime and TensorFlow on the CPU).

    Bad:
        instance_group { kind: KIND_CPU count: 0 }
    Good:
        instance_group { kind: KIND_CPU count: 1 }
    """
    for path, group, _ in _groups(model):
        if group.count < 1 and model.text.tree.find(f"{path}.count") is not None:
            text = f"a count of {group.count} is taken as if it were not given"
            hint = "a model has one instance at least; to have none, take the model away"
            edits = () if model.completed.backend in _CPU_PAIRS else model.replaced(f"{path}.count", "1")
            yield model.found(f"{path}.count", text, hint, edits=edits)


@rule("TK655", NOTE, _NORMALIZE)
def group_name_twice(model: Model) -> Iterator[Finding]:
    """Two instance groups have the same name.

    The server accepts it, and names instances after their groups: in its log and traces those of the two cannot be
    told apart.

    Bad:
        instance_group { name: "fast" kind: KIND_CPU count: 1 }
        instance_group { name: "fast" kind: KIND_CPU count: 2 }
    Good:
        instance_group { name: "fast" kind: KIND_CPU count: 1 }
        instance_group { name: "more" kind: KIND_CPU count: 2 }
    """
    seen: set[str] = set()
    for path, group, _ in _groups(model):
        if group.name and group.name in seen:
            yield model.found(f"{path}.name", f"another group is called `{group.name}`, too", "give it another name")
        seen.add(group.name)


@rule("TK656", WARNING, "tensorrt_backend tensorrt_model_instance.cc")
def secondary_devices(model: Model) -> Iterator[Finding]:
    """secondary_devices stand with a group or backend that does not use them.

    They name deep learning accelerators (KIND_NVDLA) beside a GPU. TensorRT's backend looks at them, for groups of
    KIND_GPU; everything else accepts and ignores them.

    Bad:
        instance_group { kind: KIND_CPU secondary_devices { kind: KIND_NVDLA device_id: 0 } }
    Good:
        instance_group { kind: KIND_CPU }
    """
    for path, group, kind in _groups(model):
        uses = kind in ("KIND_GPU", "KIND_AUTO") and model.completed.backend == "tensorrt"
        if group.secondary_devices and not uses:
            text = "secondary_devices are ignored here: TensorRT's backend alone uses them, beside a GPU"
            yield model.found(f"{path}.secondary_devices[0]", text, "take them away")


@rule("TK657", WARNING, "core rate_limiter.cc, PayloadSlotAvailable")
def passive_only(model: Model) -> Iterator[Finding]:
    """All instance groups are passive: the first request ends the server.

    A passive instance is loaded and gets no requests; it is there for a backend that shares it out by itself. The
    server accepts a model of passive instances alone, and ends when somebody asks it something.

    Bad:
        instance_group { kind: KIND_CPU passive: true }
    Good:
        instance_group { kind: KIND_CPU passive: true }
        instance_group { kind: KIND_CPU }
    """
    groups = _groups(model)
    if groups and all(group.passive for _, group, _ in groups):
        text = "no instance takes requests: all groups are passive, and the first request ends the server"
        yield model.found("instance_group[0].passive", text, "add a group without `passive`")


@rule("TK658", WARNING, f"{_RATE}, ValidateMaxResources")
def resource_of_both_kinds(model: Model) -> Iterator[Finding]:
    """A resource of the rate limiter is global in one place and per device in another.

    The name of a resource is one for all models of the server. Under `--rate-limit=execution_count` the second of two
    that disagree is refused, which of the models that is depends on the order in which they load. Without that flag
    the server does not look at resources at all.

    Bad:
        resources { name: "camera" global: true count: 1 }
        resources { name: "camera" count: 1 }
    Good:
        resources { name: "camera" global: true count: 1 }
        resources { name: "link" count: 1 }
    """
    own = list(_resources(model))
    if not own:
        return
    users = _users(model.repository)
    for path, name, is_global in own:
        # Of two places, the one that is global is told, and both where two models disagree.
        others = users[name, not is_global]
        is_used_elsewhere = len(others) > 1 or model.name not in others
        if others and (is_global or is_used_elsewhere):
            where = f"in {some(others, _SHOWN)}" if is_used_elsewhere else "here"
            kinds = ("global", "per device") if is_global else ("per device", "global")
            text = f"the resource `{name}` is {kinds[0]}, and {kinds[1]} {where}"
            yield model.found(path, text, "--rate-limit=execution_count refuses it: give them two names")


def _resources(model: Model) -> Iterator[tuple[str, str, bool]]:
    """Each resource of a model: where it stands, its name, and whether it is global."""
    for path, group, _ in _groups(model):
        if not group.HasField("rate_limiter"):
            continue
        for i, resource in enumerate(group.rate_limiter.resources):
            yield f"{path}.rate_limiter.resources[{i}]", resource.name, getattr(resource, "global")


def _users(repository: Repository) -> dict[tuple[str, bool], dict[str, None]]:
    """Which models use a resource of a name as a global one, or not."""
    if "resources" not in repository.facts:
        found: dict[tuple[str, bool], dict[str, None]] = defaultdict(dict)
        for name, model in sorted(repository.models.items()):
            try:
                for _, resource, is_global in _resources(model):
                    found[resource, is_global][name] = None
            except OSError:
                continue
        repository.facts["resources"] = found
    users: dict[tuple[str, bool], dict[str, None]] = repository.facts["resources"]
    return users


@rule("TK659", WARNING, f"{_RATE}, AddModelInstance")
def resource_without_use(model: Model) -> Iterator[Finding]:
    """A resource of the rate limiter is counted for nothing.

    A resource that one group names twice counts as often as the last of the two says. One with a count of 0 is never
    waited for. Resources matter under `--rate-limit=execution_count` alone.

    Bad:
        resources { name: "camera" count: 1 }
        resources { name: "camera" count: 4 }
    Good:
        resources { name: "camera" count: 4 }
    """
    for path, group, _ in _groups(model):
        if not group.HasField("rate_limiter"):
            continue
        seen: set[tuple[str, bool]] = set()
        for i, resource in enumerate(group.rate_limiter.resources):
            key = (resource.name, getattr(resource, "global"))
            at = f"{path}.rate_limiter.resources[{i}]"
            if key in seen:
                text = f"the resource `{resource.name}` stands there already, and this count replaces the first"
                yield model.found(at, text, "write it once, with the count that is meant")
            if not resource.count:
                text = f"the resource `{resource.name}` has a count of 0: it limits nothing"
                yield model.found(at, text, "give it a count, or take it away")
            seen.add(key)
