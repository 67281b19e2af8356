"""Mutations of a Python model's own fields and tensors: near the limits of each rule, on both sides."""

from __future__ import annotations

from random import Random
from typing import Any

from oracle_mutations import on
from oracle_repository import Model, value_of

TYPES = ("TYPE_FP32", "TYPE_INT32", "TYPE_UINT8", "TYPE_STRING", "TYPE_INVALID", "TYPE_BF16")


def tensors(model: Model) -> list[Any]:
    """Inputs and outputs."""
    return [*model.config.input, *model.config.output]


@on(6, weight=3)
def backend(random: Random, model: Model) -> str:
    pairs = (("python", ""), ("python", ""), ("python", "python"), ("", ""), ("python", "python"), ("pythn", ""), ("", "python"), ("python", "ensemble"),
             ("python", "tensorrt_plan"), ("python", "onnxruntime_onnx"), ("python", "x"), ("Python", ""),
             ("tensorrt", "tensorrt_plan"), ("tensorrt", "x"), ("python", "pytorch_libtorch"))  # fmt: skip
    model.config.backend, model.config.platform = random.choice(pairs)
    return f"backend {model.config.backend!r}, platform {model.config.platform!r}"


@on(2, weight=1.5)
def config_name(random: Random, model: Model) -> str:
    name = model.config.name
    model.config.name = random.choice(("", "", "", name.upper(), name + "x", name[:-1]))
    return f"name {model.config.name!r}"


@on(7, 12, 27, weight=3)
def max_batch(random: Random, model: Model) -> str:
    size = model.config.max_batch_size
    model.config.max_batch_size = random.choice((0, 1, size + 1, size + 1, max(size, 0) - 1, -1, -(2**31), 64))
    return f"max_batch_size {model.config.max_batch_size}"


@on(8, 29)
def dims(random: Random, model: Model) -> str:
    if not tensors(model):
        return ""
    tensor = random.choice(tensors(model))
    way = random.choice(("size", "size", "append", "clear", "pop", "prepend"))
    if way == "clear":
        del tensor.dims[:]
    elif way == "pop" and tensor.dims:
        tensor.dims.pop()
    elif way == "size" and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice((0, 1, 2, 5, -1, -1, -2, 2**40, 2**63 - 1))
    elif way == "prepend":
        tensor.dims.insert(0, random.choice((-1, -1, 1)))
    else:
        tensor.dims.append(random.choice((1, -1, 3, 0)))
    return f"{way} dims of {tensor.name}"


@on(8, 29)
def tensor_type(random: Random, model: Model) -> str:
    if not tensors(model):
        return ""
    tensor = random.choice(tensors(model))
    tensor.data_type = value_of(random.choice(TYPES))
    return f"data_type of {tensor.name}"


@on(8, 28)
def tensor_name(random: Random, model: Model) -> str:
    if not tensors(model):
        return ""
    tensor = random.choice(tensors(model))
    others = [other.name for other in tensors(model)]
    tensor.name = random.choice(("", tensor.name + "x", tensor.name.upper(), random.choice(others), "in 0", "ü"))
    return f"name {tensor.name!r} of a tensor"


@on(9, 29, weight=3)
def reshapes(random: Random, model: Model) -> str:
    if not tensors(model):
        return ""
    tensor = random.choice(tensors(model))
    size = list(tensor.dims)
    if random.random() < 0.3:
        del tensor.dims[:]
        tensor.dims.extend(random.choice(([1], [1, 1], [2, -1, 3], [-1, 2, -1], [0], [2**32, 2**32])))
        size = list(tensor.dims)
    flat = 1
    for each in size:
        flat *= each
    shapes: list[list[int]] = [[], [1], [flat], [*size, 1], [1, *size], [*size, 1], [1, *size], size[::-1], [-1], [-1, *size], [*size, -1],
                               [each * 2 for each in size], [-1, 6], [6, -1], [2, -1, 3], [0], [-2], [1, -1, 2, -1],
                               [each for each in size if each != 1]]  # fmt: skip
    tensor.reshape.SetInParent()
    del tensor.reshape.shape[:]
    tensor.reshape.shape.extend(min(max(each, -(2**63)), 2**63 - 1) for each in random.choice(shapes))
    return f"reshape {list(tensor.reshape.shape)} of dims {size}"


@on(10, weight=2.5)
def formats(random: Random, model: Model) -> str:
    if not model.config.input:
        return ""
    tensor = random.choice(list(model.config.input))
    way = random.choice(("format", "format", "format", "shape", "non-linear"))
    if way == "shape":
        random.choice(tensors(model)).is_shape_tensor = random.random() < 0.6
    elif way == "non-linear":
        random.choice(tensors(model)).is_non_linear_format_io = random.random() < 0.6
    else:
        tensor.format = random.choice((0, 1, 2))
        if random.random() < 0.4:
            del tensor.dims[:]
            tensor.dims.extend(random.choice(([3, 2, 2], [3, -1, -1], [1, 3, 2, 2], [4])))
    return f"{way} of {tensor.name}"


@on(11, 28)
def optionals(random: Random, model: Model) -> str:
    if not model.config.input:
        return ""
    tensor = random.choice(list(model.config.input))
    tensor.optional = not tensor.optional
    return f"optional {tensor.optional} of {tensor.name}"


@on(19, weight=3)
def batches(random: Random, model: Model) -> str:
    names = [tensor.name for tensor in model.config.input] or [""]
    targets = [tensor.name for tensor in model.config.output] or [""]
    if random.random() < 0.5:
        if not model.config.batch_output or random.random() < 0.3:
            model.config.batch_output.add(target_name=[random.choice(targets)], source_input=[random.choice(names)])
        entry = random.choice(list(model.config.batch_output))
        way = random.choice(("source", "target", "more", "kind"))
        if way == "target":
            entry.target_name[:] = random.choice(([random.choice(targets)], ["none"], targets, []))
        elif way == "more":
            model.config.batch_output.add(
                target_name=[random.choice([*targets, "x"])], source_input=[random.choice(names)]
            )
    else:
        if not model.config.batch_input or random.random() < 0.3:
            model.config.batch_input.add(
                target_name=["new"], data_type=value_of("TYPE_INT32"), source_input=[random.choice(names)]
            )
        entry = random.choice(list(model.config.batch_input))
        way = random.choice(("source", "type", "kind", "target"))
        if way == "type":
            entry.data_type = value_of(random.choice((*TYPES, "TYPE_INT32")))
        elif way == "target":
            entry.target_name[:] = random.choice((["a", "b"], [], [names[0]], ["other"]))
    if way == "source":
        entry.source_input[:] = random.choice(([random.choice(names)], [names[0], names[-1]], [], ["none"]))
    elif way == "kind":
        entry.kind = random.randrange(len(entry.DESCRIPTOR.fields_by_name["kind"].enum_type.values))
    return f"{way} of {entry.DESCRIPTOR.name}"


@on(20, 1, weight=0.4)
def metrics(random: Random, model: Model) -> str:
    model.config.model_metrics.metric_control.add().metric_identifier.family = random.choice(("", "x"))
    return "model_metrics"
