"""Mutations of what a Python model names on disk: labels, libraries, warm-up data."""

from __future__ import annotations

from random import Random
from typing import Any

from oracle_features import SIZES
from oracle_mutations import on
from oracle_repository import Model, value_of
from oracle_tensors import TYPES
from tritonclient.grpc.model_config_pb2 import ModelConfig


@on(21, weight=3)
def label_file(random: Random, model: Model) -> str:
    if not model.config.output:
        return ""
    output = random.choice(list(model.config.output))
    names = [
        "labels.txt",
        "none.txt",
        "sub/labels.txt",
        "../labels.txt",
        "config.pbtxt",
        "./labels.txt",
        "1/../labels.txt",
    ]
    output.label_filename = random.choice(names)
    if random.random() < 0.6:
        model.files["labels.txt"] = random.choice((b"", b"cat\n", b"\xff\xfe"))
    if random.random() < 0.4:
        model.files["sub/labels.txt"] = b"cat\n"
    return f"label_filename {output.label_filename!r}"


@on(21)
def runtimes(random: Random, model: Model) -> str:
    names = (
        "libtriton_python.so",
        "",
        "../python/libtriton_python.so",
        "libnone.so",
        "/x.so",
        "./libtriton_python.so",
        "model.py",
    )
    model.config.runtime = random.choice(names)
    return f"runtime {model.config.runtime!r}"


@on(21)
def strategy(random: Random, model: Model) -> str:
    """No path at all, or one beside a sequence batcher: what stands at a path on the server's machine, lint cannot see."""
    value = random.choice(("", "none.so"))
    if value and model.config.WhichOneof("scheduling_choice") in (None, "dynamic_batching"):
        model.config.ClearField("response_cache")
        model.config.sequence_batching.SetInParent()
    model.config.parameters["TRITON_BATCH_STRATEGY_PATH"].string_value = value
    return f"TRITON_BATCH_STRATEGY_PATH {value!r}"


def _warm(model: Model) -> list[Any]:
    """The warm-up samples; a model without one gets one, if all of its inputs can have data."""
    inputs = list(model.config.input)
    usable = inputs and all(
        t.name and t.data_type not in (0, value_of("TYPE_BF16")) and not t.optional for t in inputs
    )
    if not model.config.model_warmup and usable:
        sample = model.config.model_warmup.add(name="made", batch_size=1)
        for tensor in inputs:
            entry = sample.inputs[tensor.name]
            entry.data_type, entry.zero_data = tensor.data_type, True
            entry.dims.extend(2 if size == -1 else size for size in tensor.dims)
    return [sample for sample in model.config.model_warmup if sample.inputs]


@on(22, weight=3)
def warmups(random: Random, model: Model) -> str:
    """What an input of a sample is filled with."""
    samples = _warm(model)
    if not samples:
        return ""
    sample = random.choice(samples)
    key = random.choice(sorted(sample.inputs))
    entry = sample.inputs[key]
    way = random.choice(("dims", "dims", "data", "data", "type", "file", "file"))
    if way == "dims" and entry.dims:
        entry.dims[random.randrange(len(entry.dims))] = random.choice((-1, 0, 1, 2, 3))
    elif way == "data":
        for name in ("zero_data", "random_data", "input_data_file"):
            entry.ClearField(name)
        if random.random() < 0.6:
            setattr(entry, random.choice(("zero_data", "random_data")), random.random() < 0.6)
    elif way == "type":
        entry.data_type = value_of(random.choice(TYPES))
    else:
        entry.input_data_file = random.choice(("none", "sample", "sample", "sample"))
        names = ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
        size = SIZES.get(names[entry.data_type].name.removeprefix("TYPE_"), 8)
        for each in entry.dims:
            size *= max(each, 1)
        model.files["warmup/sample"] = bytes(max(0, size + random.choice((-1, 0, 0, 1))))
    return f"warm-up: {way} of {key}"


@on(22, weight=1.5)
def warmup_samples(random: Random, model: Model) -> str:
    """Which inputs a sample has, and how large it is."""
    samples = _warm(model)
    if not samples:
        return ""
    sample = random.choice(samples)
    key = random.choice(sorted(sample.inputs))
    way = random.choice(("drop", "more", "batch", "batch", "key", "extra"))
    if way == "drop":
        del sample.inputs[key]
    elif way == "more":
        model.config.model_warmup.add(name=random.choice(("", "more")), batch_size=random.choice((0, 0, 1)))
    elif way == "batch":
        sample.batch_size = random.choice((0, 1, max(1, model.config.max_batch_size)))
        sample.count = random.choice((0, 1, 2))
    else:
        sample.inputs[key + "x"].CopyFrom(sample.inputs[key])
        if way == "key":
            del sample.inputs[key]
    return f"warm-up: {way} of {key}"
