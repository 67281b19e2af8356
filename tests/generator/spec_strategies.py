"""Specs made up by hypothesis, as the data that their YAML holds, and the YAML."""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import strategies as st

Data = dict[str, Any]
Draw = st.DrawFn

MODEL_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
TENSOR_NAMES = st.text("abxyzN019_:/.-#{}[]&*!|>'\"%@`,?=~é日", min_size=1, max_size=6)
KEYS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,6}", fullmatch=True)
PATHS = st.from_regex(r"[A-Za-z0-9_.~ é-][A-Za-z0-9_./ #:-]{0,12}", fullmatch=True).filter(
    lambda path: ".." not in path.split("/")  # a path stays inside the project
)
TEXTS = st.text("ab01 .:#-'\"{}[]\n\té日", max_size=12)
POSITIVE = st.integers(1, 10_000)
NUMBERS = st.integers(1, 1000) | st.floats(1e-6, 1e6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TENSOR_NAMES, inner, max_size=2),
    max_leaves=4,
)
CONFIG = st.dictionaries(TENSOR_NAMES, JSON, max_size=2)
TYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "fp16",
    "bf16",
    "fp32",
    "fp64",
]
# What numpy can hold, and so a Python model can carry.
PYTHON_TYPES = [name for name in TYPES if name != "bf16"]
QUEUES = st.fixed_dictionaries(
    {},
    optional={
        "max_size": st.integers(0, 1000),
        "timeout_us": st.integers(0, 10**6),
        "on_timeout": st.sampled_from(["reject", "delay"]),
        "allow_override": st.booleans(),
    },
)
STEPS = st.one_of(
    st.sampled_from(["softmax", "channels_first", "top_k", "normalize", "decode"]),
    st.sampled_from(["softmax", "channels_first"]).map(lambda name: {name: None}),
    st.sampled_from(["gray", "rgb"]).map(lambda to: {"decode": {"to": to}}),
    st.tuples(st.integers(1, 64), st.integers(1, 64)).map(lambda size: {"resize": {"size": list(size)}}),
    st.fixed_dictionaries({"mean": NUMBERS | st.lists(NUMBERS, max_size=3), "std": NUMBERS}).map(lambda n: {"normalize": n}),
    st.sampled_from(TYPES).map(lambda to: {"cast": {"to": to}}),
    st.lists(POSITIVE, min_size=1, max_size=3).map(lambda dims: {"reshape": {"dims": dims}}),
    st.fixed_dictionaries({"k": POSITIVE}, optional={"labels": PATHS, "label_output": TENSOR_NAMES}).map(lambda k: {"top_k": k}),
    st.fixed_dictionaries({"tokenizer": PATHS}, optional={"dtype": st.sampled_from(["int32", "int64"]), "types_output": TENSOR_NAMES}).map(lambda t: {"tokenize": t}),
    st.fixed_dictionaries({"max_detections": POSITIVE}, optional={"boxes": TENSOR_NAMES, "score_threshold": NUMBERS, "per_class": st.booleans(), "labels": PATHS}).map(lambda n: {"nms": n}),
    st.lists(st.integers(1, 512), min_size=1, max_size=3, unique=True).map(lambda b: {"tokenize": {"tokenizer": "t.json", "max_tokens": min(b), "buckets": sorted(b)}}),
)  # fmt: skip
INSTANCES = st.lists(
    st.fixed_dictionaries({"kind": st.sampled_from(["cpu", "model", "auto"])}, optional={"count": st.integers(1, 4)})
    | st.fixed_dictionaries({"kind": st.just("gpu")}, optional={"gpus": st.lists(st.integers(0, 7), max_size=2)}),
    max_size=2,
)
VERSIONS = st.one_of(
    st.integers(1, 9).map(lambda n: {"latest": n}),
    st.lists(st.integers(1, 9), max_size=3).map(lambda n: {"specific": n}),
    st.just({"all": True}),
)
METRICS = st.lists(NUMBERS, min_size=1, max_size=3, unique=True).map(lambda n: {"latency_buckets_ms": sorted(n)})
TENSORS = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "dims": st.lists(st.integers(1, 99) | st.just(-1), min_size=1, max_size=3)},
    optional={
        "optional": st.booleans(),
        "ragged": st.booleans(),
        "format": st.sampled_from(["none", "nchw", "nhwc"]),
        "reshape": st.lists(st.integers(1, 99), max_size=2),
        "labels": PATHS,
    },
) | st.sampled_from([{"type": "bytes"}, {"type": "string"}])
NAMED_TENSORS = st.dictionaries(TENSOR_NAMES, TENSORS, min_size=1, max_size=2)


@st.composite
def batchings(draw: Draw, largest: int | None = None) -> Data:
    """Batching whose sizes fit each other; `largest` is what `max_batch_size` is, here or elsewhere."""
    size = draw(st.integers(1, 64)) if largest is None else largest
    levels = draw(st.integers(1, 3))
    priorities = st.fixed_dictionaries(
        {"levels": st.just(levels), "default": st.integers(1, levels)},
        optional={"queues": st.dictionaries(st.integers(1, levels).map(str), QUEUES, max_size=2)},
    )
    data: Data = draw(
        st.fixed_dictionaries(
            {} if largest is not None else {"max_batch_size": st.just(size)},
            optional={
                "dynamic": st.booleans(),
                "preferred": st.lists(st.integers(1, size), max_size=3, unique=True),
                "max_queue_delay_us": st.integers(0, 10**5),
                "preserve_ordering": st.booleans(),
                "queue": st.none() | QUEUES,
                "priorities": st.none() | priorities,
            },
        )
    )
    ordered(data)
    return data


def ordered(batching: Data) -> None:
    """Takes `preserve_ordering` away where Triton refuses it: with several levels, or with delayed requests."""
    queues = [batching.get("queue"), *((batching.get("priorities") or {}).get("queues", {}).values())]
    delayed = any(q and q.get("on_timeout") == "delay" and q.get("timeout_us") for q in queues)
    if delayed or (batching.get("priorities") or {}).get("levels", 0) > 1:
        batching.pop("preserve_ordering", None)


SERVING = {
    "versions": VERSIONS,
    "warmup": st.lists(
        st.fixed_dictionaries(
            {
                "name": st.text("ab1 ", min_size=1, max_size=3),
                "inputs": st.dictionaries(
                    TENSOR_NAMES, st.sampled_from([{"zero": True}, {"random": True, "dims": [1, 2]}, {"file": "a b.bin"}]), max_size=2
                ),
            },
            optional={"count": POSITIVE, "batch_size": POSITIVE},
        ),
        max_size=2,
    ),
    "response_cache": st.booleans(),
    "cuda_graphs": st.fixed_dictionaries({}, optional={"batch_sizes": st.lists(POSITIVE, max_size=2), "busy_wait_events": st.booleans()}),
    "metrics": METRICS,
    "parameters": st.dictionaries(TENSOR_NAMES, TEXTS, max_size=2),
    "config": CONFIG,
}  # fmt: skip
ACCURACY = st.fixed_dictionaries({"data": PATHS, "floor": st.floats(0, 1)}, optional={"max_drop": st.floats(0, 1)})
TARGETS = st.dictionaries(
    KEYS,
    st.fixed_dictionaries(
        {},
        optional={
            "layout": st.sampled_from(["ensemble", "fused"]),
            "server": st.from_regex(r"2[4-9]\.(0[1-9]|1[0-2])", fullmatch=True),
            "gpu": MODEL_NAMES,
            "engine": st.sampled_from(["onnxruntime", "tensorrt"]),
            "precision": st.sampled_from(["fp32", "fp16", "int8"]),
            "batching": batchings(),
            "instances": INSTANCES,
            "memory": st.fixed_dictionaries({}, optional={"gpu_mib": POSITIVE, "shm_mib": POSITIVE}),
        },
    ),
    max_size=2,
)
PIPELINE: dict[str, st.SearchStrategy[Any]] = {
    "description": TEXTS,
    "objective": st.fixed_dictionaries({"p99_ms": NUMBERS}, optional={"throughput_rps": NUMBERS, "max_error_rate": st.floats(0, 0.5)}),
    "batching": batchings(),
    "limits": st.fixed_dictionaries({}, optional={"max_bytes": POSITIVE, "max_pixels": POSITIVE}),
    "response_cache": st.booleans(),
    "metrics": METRICS,
    "config": CONFIG,
    "targets": TARGETS,
    "layout": st.sampled_from(["ensemble", "fused"]),
}  # fmt: skip
ENDS = {"name": MODEL_NAMES, "inputs": NAMED_TENSORS, "outputs": NAMED_TENSORS}
BUFFERS = st.fixed_dictionaries(
    {},
    optional={
        "buckets": st.lists(POSITIVE, max_size=3, unique=True),
        "lengths": st.lists(POSITIVE, max_size=3, unique=True),
        "slots": st.integers(2, 64),
        "copies": st.sampled_from(["auto", "inside", "beside"]),
        "preprocess": st.sampled_from(["auto", "cpu", "gpu"]),
        "process": st.sampled_from(["own", "shared"]),
    },
)
ENGINE = {"engine": st.sampled_from(["onnxruntime", "tensorrt"]), "precision": st.sampled_from(["fp32", "tf32", "bf16", "fp8"]), "accuracy": ACCURACY, "buffers": BUFFERS}  # fmt: skip
ONNX = st.one_of(PATHS, st.dictionaries(st.integers(1, 10**18 - 1).map(str), PATHS, min_size=1, max_size=3))
MODELS = st.one_of(
    st.fixed_dictionaries({"onnx": ONNX}, optional={**ENGINE, **SERVING, "inputs": NAMED_TENSORS, "name": MODEL_NAMES, "batching": batchings()}),
    st.fixed_dictionaries({"steps": st.lists(STEPS, min_size=1, max_size=3), "inputs": NAMED_TENSORS}, optional={**SERVING, "instances": INSTANCES}),
    st.fixed_dictionaries(
        {"python": st.sampled_from(["a/b c.py:Step", "pkg.module:Step"]), "inputs": NAMED_TENSORS, "outputs": NAMED_TENSORS},
        optional={**SERVING, "arguments": CONFIG},
    ),
    st.fixed_dictionaries({"files": PATHS, "inputs": NAMED_TENSORS, "outputs": NAMED_TENSORS}, optional=SERVING),
)  # fmt: skip
MAPPINGS = st.dictionaries(TENSOR_NAMES, TENSOR_NAMES, max_size=2)
FLOW = st.lists(
    st.fixed_dictionaries({"model": KEYS}, optional={"inputs": MAPPINGS, "outputs": MAPPINGS}), min_size=1, max_size=3
)

# Any spec of the short, and of the full form: every field is valid by itself; it need not resolve.
SHORT_SPECS = st.fixed_dictionaries(
    {**ENDS, "model": st.fixed_dictionaries({"onnx": ONNX}, optional={**ENGINE, **SERVING})},
    optional={**PIPELINE, "preprocess": st.lists(STEPS, max_size=3), "postprocess": st.lists(STEPS, max_size=3), "instances": INSTANCES},
)  # fmt: skip
FULL_SPECS = st.fixed_dictionaries(
    {**ENDS, "models": st.dictionaries(KEYS, MODELS, min_size=1, max_size=3), "flow": FLOW}, optional=PIPELINE
)

_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Quoting(yaml.SafeDumper):
    """Quotes all text that is more than a word: PyYAML leaves `1e5` bare, which is a number to YAML 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        """A spec knows no aliases."""
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """Bare words, and all else in quotes."""
        word = _SAFE.fullmatch(data) and data.lower() not in {"null", "true", "false", "yes", "no", "on", "off"}
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if word else '"')


Quoting.add_representer(str, Quoting.text)


def as_yaml(data: Data, *, flow: bool | None = None) -> str:
    """The data as YAML, in blocks, in one line, or what fits a line in one."""
    return yaml.dump(data, Dumper=Quoting, default_flow_style=flow, sort_keys=False, allow_unicode=True)
