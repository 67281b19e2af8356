"""Model repositories for imports: as they are found in the wild, and made up by hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

Files = dict[str, bytes]
Draw = st.DrawFn
TYPES = ["TYPE_FP32", "TYPE_UINT8", "TYPE_STRING", "TYPE_BF16", "TYPE_INT64", "TYPE_BOOL"]


def put(files: Mapping[str, bytes], root: Path) -> Path:
    """Writes a repository; a path that ends in `/` is a directory."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(data)
    return root


def config(words: Mapping[str, Any]) -> bytes:
    """The text of a ModelConfig, as protobuf prints it, of fields given as JSON gives them."""
    from google.protobuf import json_format

    return text_format.MessageToString(json_format.ParseDict(dict(words), ModelConfig())).encode()


# Sections of a configuration ---------------------------------------------------------------------------------

SIZES = st.integers(1, 64)
FLAGS = st.booleans()
QUEUES = st.fixed_dictionaries(
    {},
    optional={
        "timeout_action": st.sampled_from(["REJECT", "DELAY"]), "default_timeout_microseconds": st.integers(0, 9999),
        "allow_timeout_override": FLAGS, "max_queue_size": st.integers(0, 99),
    },
)  # fmt: skip
BATCHING = st.fixed_dictionaries(
    {},
    optional={
        "preferred_batch_size": st.lists(st.integers(0, 64), max_size=3), "max_queue_delay_microseconds": st.integers(0, 999),
        "preserve_ordering": FLAGS, "priority_levels": st.integers(0, 3), "default_priority_level": st.integers(0, 3),
        "default_queue_policy": QUEUES,
        "priority_queue_policy": st.dictionaries(st.integers(0, 3).map(str), QUEUES, max_size=2),
    },
)  # fmt: skip
GROUPS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["KIND_CPU", "KIND_GPU", "KIND_AUTO", "KIND_MODEL"]), "count": st.integers(0, 3),
            "gpus": st.lists(st.integers(0, 3), max_size=2), "name": st.just("first"), "profile": st.just(["1"]),
            "rate_limiter": st.just({"priority": 2, "resources": [{"name": "R", "count": 1}]}), "passive": FLAGS,
        },
    ),
    min_size=1, max_size=2,
)  # fmt: skip
VERSIONS: st.SearchStrategy[Any] = st.one_of(
    st.just({}), st.just({"all": {}}), st.integers(0, 2).map(lambda n: {"latest": {"num_versions": n}}),
    st.lists(st.integers(0, 3), max_size=2).map(lambda n: {"specific": {"versions": n}}),
)  # fmt: skip
OPTIMIZATION = st.fixed_dictionaries(
    {},
    optional={
        "cuda": st.fixed_dictionaries(
            {},
            optional={
                "graphs": FLAGS, "busy_wait_events": FLAGS, "output_copy_stream": FLAGS,
                "graph_spec": st.lists(st.fixed_dictionaries({}, optional={"batch_size": st.integers(0, 4), "input": st.just({"x": {"dim": [1]}})}), max_size=2),
            },
        ),
        "graph": st.just({"level": 1}), "priority": st.sampled_from(["PRIORITY_DEFAULT", "PRIORITY_MAX"]),
        "input_pinned_memory": st.just({"enable": True}), "eager_batching": FLAGS,
        "execution_accelerators": st.just({"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": {"precision_mode": "FP16"}}]}),
    },
)  # fmt: skip
METRICS: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.lists(st.sampled_from([0.1, 5.0, 20.5]), max_size=3).map(
        lambda buckets: {"metric_control": [{"metric_identifier": {"family": "nv_inference_first_response_histogram_ms"}, "histogram_options": {"buckets": buckets}}]}
    ),
)  # fmt: skip
REST: dict[str, st.SearchStrategy[Any]] = {
    "instance_group": GROUPS, "version_policy": VERSIONS, "optimization": OPTIMIZATION, "model_metrics": METRICS,
    "response_cache": st.fixed_dictionaries({}, optional={"enable": FLAGS}),
    "parameters": st.dictionaries(st.text("ab 1:é", max_size=4), st.fixed_dictionaries({}, optional={"string_value": st.text("x1:'\n{é", max_size=5)}), max_size=2),
    "model_transaction_policy": st.fixed_dictionaries({}, optional={"decoupled": FLAGS}),
    "metric_tags": st.dictionaries(st.sampled_from(["", "a"]), st.text("b", max_size=1), max_size=2),
    "default_model_filename": st.sampled_from(["", "net.onnx", "1e5"]),
}  # fmt: skip


@st.composite
def tensors(draw: Draw, names: list[str], *, outputs: bool) -> list[dict[str, Any]]:
    """Tensors of these names; now and then with what the server refuses."""
    optional: dict[str, st.SearchStrategy[Any]] = {"reshape": st.sampled_from([{}, {"shape": [2, 2]}, {"shape": []}])}
    if outputs:
        optional |= {"label_filename": st.sampled_from(["labels.txt", "missing.txt", "a/b.txt"])}
    else:
        optional |= {
            "format": st.sampled_from(["FORMAT_NONE", "FORMAT_NCHW", "FORMAT_NHWC"]), "optional": FLAGS,
            "allow_ragged_batch": FLAGS, "is_shape_tensor": FLAGS,
        }  # fmt: skip
    found = []
    for name in names:
        fixed = {
            "name": st.just(name), "data_type": st.sampled_from(TYPES),
            "dims": st.lists(st.sampled_from([1, 4, 4, 4, -1]), min_size=1, max_size=2),
        }  # fmt: skip
        kinds = {
            "optional_all": st.fixed_dictionaries(fixed, optional=optional),
            "plain": st.fixed_dictionaries(fixed),
            "wrong": st.fixed_dictionaries({"name": st.sampled_from(["", "a b", name])}, optional={"data_type": fixed["data_type"], "dims": st.just([0])}),
        }  # fmt: skip
        found.append(draw(kinds[draw(st.sampled_from(["plain"] * 6 + ["optional_all"] * 3 + ["wrong"]))]))
    return found


@st.composite
def models(draw: Draw, name: str, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    """One configuration, as its fields."""
    words = draw(
        st.fixed_dictionaries(
            {"max_batch_size": st.sampled_from([0, 1, 8, 64, 70000, -1])},
            optional={**REST, "dynamic_batching": BATCHING},
        )
    )
    if draw(st.integers(0, 9)) < 8:
        words["name"] = name
    words |= draw(st.sampled_from([{"backend": "python"}, {"backend": "python"}, {"platform": "tensorrt_plan"}, {}]))
    words["input"] = draw(tensors(inputs, outputs=False))
    words["output"] = draw(tensors(outputs, outputs=True))
    if draw(st.integers(0, 3)) == 0:
        shapes = {
            "x": {
                "data_type": "TYPE_FP32",
                "dims": [4],
                draw(st.sampled_from(["zero_data", "random_data"])): draw(FLAGS),
            }
        }
        words["model_warmup"] = [
            {
                "name": "first",
                "batch_size": draw(st.integers(0, 2)),
                "count": draw(st.integers(0, 1)),
                "inputs": shapes,
            }
        ]
    return words


@st.composite
def repositories(draw: Draw) -> Files:
    """A few models, often an ensemble of a chain of them, right or a little wrong, and often one that is not in it."""
    keys = ["pipe_pre", "pipe_net", "pipe_a.b", "a.b", "a_b", "ensemble", "model", "pipe_ensemble", "pipe_model"]
    names = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True))
    plain = draw(st.booleans())
    configs = {name: draw(models(name, ["x"], ["y"])) for name in names}
    if plain:  # tensors that fit each other, so that a flow is possible
        for name, words in configs.items():
            for side, tensor in (("input", "x"), ("output", "y")):
                words[side] = [{"name": tensor, "data_type": "TYPE_FP32", "dims": [4]}]
            words |= {"max_batch_size": 8, "name": name}
    files: Files = {}
    for name, words in configs.items():
        files[f"{name}/config.pbtxt"] = config(words)
        for version in draw(st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True)):
            files[f"{name}/{version}/model.py"] = b"pass\n"
        if draw(st.booleans()):
            files[f"{name}/labels.txt"] = b"a\n"
    if draw(st.booleans()):
        files |= {"lone/config.pbtxt": config(draw(models("lone", ["x"], ["y"]))), "lone/1/": b""}
    if draw(st.integers(0, 3)):
        files |= draw(_ensemble(names, configs[names[0]]["input"], configs[names[-1]]["output"]))
    return files


@st.composite
def _ensemble(draw: Draw, names: list[str], first: Any, last: Any) -> Files:
    odd = draw(st.integers(0, 3)) == 0
    steps = []
    for index, name in enumerate(names):
        source = "x" if index == 0 else f"t{index}"
        target = "y" if index == len(names) - 1 else f"t{index + 1}"
        version = draw(st.sampled_from([-1, -1, 1, 2, 0])) if odd else -1
        steps.append(
            {"model_name": name, "model_version": version, "input_map": {"x": source}, "output_map": {"y": target}}
        )
    if odd and draw(st.booleans()):
        steps.reverse()
    scheduling: dict[str, Any] = {"step": steps}
    if draw(st.integers(0, 4)) == 0:
        scheduling["max_inflight_requests"] = 3
    words: dict[str, Any] = {
        "name": "pipe", "platform": "ensemble", "max_batch_size": 8,
        "input": [{"name": "x", "data_type": first[0].get("data_type", "TYPE_FP32"), "dims": first[0].get("dims", [4])}],
        "output": [{"name": "y", "data_type": last[0].get("data_type", "TYPE_FP32"), "dims": last[0].get("dims", [4])}],
        "ensemble_scheduling": scheduling,
    }  # fmt: skip
    words |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                name: REST[name] for name in ("response_cache", "parameters", "version_policy", "model_metrics")
            },
        )
    )
    if odd and draw(st.booleans()):
        words["output"][0]["label_filename"] = "labels.txt"
    return {
        "pipe/config.pbtxt": config(words),
        "pipe/labels.txt": b"a\n",
        f"pipe/{draw(st.sampled_from([1, 1, 1, 2]))}/": b"",
    }
