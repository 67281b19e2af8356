"""Features of a Python model, each added in a way that the server takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle_base import Leaf

SIZES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4,
         "FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}  # fmt: skip
_CONTROLS = ("START", "READY", "END")
_LIMIT = 4096


def _schedules(leaf: Leaf) -> bool:
    return "dynamic_batching" in leaf.config or "sequence_batching" in leaf.config


def dynamic(leaf: Leaf) -> None:
    """Dynamic batching: preferred sizes, queues, priorities."""
    if _schedules(leaf):
        return
    pick = leaf.random
    found: dict[str, Any] = {}
    if leaf.batch and pick.random() < 0.6:
        found["preferred_batch_size"] = pick.sample(range(1, leaf.batch + 1), min(leaf.batch, pick.choice((1, 2))))
    if pick.random() < 0.4:
        found["max_queue_delay_microseconds"] = pick.choice((0, 1, 100, 5000))
    if pick.random() < 0.4:
        found["default_queue_policy"] = policy(leaf)
    if pick.random() < 0.4:
        levels = pick.choice((1, 2, 3, 5))
        found |= {"priority_levels": levels, "default_priority_level": pick.randint(1, levels)}
        if pick.random() < 0.7:
            keys = pick.sample(range(1, levels + 1), pick.randint(1, min(2, levels)))
            found["priority_queue_policy"] = {str(key): policy(leaf) for key in keys}
    elif pick.random() < 0.3 and found.get("default_queue_policy", {}).get("timeout_action") != "DELAY":
        found["preserve_ordering"] = True
    leaf.config["dynamic_batching"] = found


def policy(leaf: Leaf) -> dict[str, Any]:
    """A queue policy."""
    pick = leaf.random
    found: dict[str, Any] = {"timeout_action": pick.choice(("REJECT", "DELAY"))}
    if pick.random() < 0.6:
        found["default_timeout_microseconds"] = pick.choice((1, 100, 100_000))
    if pick.random() < 0.4:
        found["allow_timeout_override"] = True
    if pick.random() < 0.5:
        found["max_queue_size"] = pick.choice((1, 16))
    return found


def sequence(leaf: Leaf) -> None:
    """A sequence batcher: strategy, controls, states with their first values."""
    if _schedules(leaf) or "response_cache" in leaf.config:
        return
    pick = leaf.random
    found: dict[str, Any] = {}
    strategy = pick.choice(("", "direct", "direct", "oldest", "oldest"))
    if strategy == "direct":
        found["direct"] = {"max_queue_delay_microseconds": pick.choice((0, 100))}
        if pick.random() < 0.6:
            found["direct"]["minimum_slot_utilization"] = pick.choice((0.0, 0.25, 1.0))
    elif strategy == "oldest":
        found["oldest"] = {"max_candidate_sequences": pick.choice((1, 4, 32))}
        if leaf.batch and pick.random() < 0.6:
            found["oldest"]["preferred_batch_size"] = [pick.randint(1, leaf.batch)]
    if pick.random() < 0.3:
        found["max_sequence_idle_microseconds"] = pick.choice((1, 5_000_000))
    found["control_input"] = [_control(leaf, kind) for kind in _CONTROLS if pick.random() < 0.6]
    if pick.random() < 0.5:
        dtype = pick.choice(("UINT64", "INT64", "UINT32", "INT32", "STRING"))
        one = {"kind": "CONTROL_SEQUENCE_CORRID", "data_type": f"TYPE_{dtype}"}
        found["control_input"].append({"name": "CORRID", "control": [one]})
    found["state"] = [_state(leaf, i) for i in range(pick.choice((0, 0, 1, 1, 2)))]
    leaf.config["sequence_batching"] = found


def _control(leaf: Leaf, kind: str) -> dict[str, Any]:
    name, values = leaf.random.choice(
        (("int32_false_true", [0, 1]), ("fp32_false_true", [0, 1]), ("bool_false_true", [False, True]))
    )
    return {"name": kind, "control": [{"kind": f"CONTROL_SEQUENCE_{kind}", name: values}]}


def _state(leaf: Leaf, number: int) -> dict[str, Any]:
    pick = leaf.random
    dtype = pick.choice(("FP32", "INT32", "UINT8", "FP16", "INT64"))
    dims = [pick.choice((1, 2, 4, -1)) for _ in range(pick.choice((1, 1, 2)))]
    state: dict[str, Any] = {
        "input_name": f"si{number}", "output_name": f"so{number}", "data_type": f"TYPE_{dtype}", "dims": dims,
    }  # fmt: skip
    if pick.random() < 0.8:
        first = [3 if size == -1 else size for size in dims]
        initial: dict[str, Any] = {"data_type": f"TYPE_{dtype}", "dims": first, "name": "first"}
        if pick.random() < 0.5:
            initial["zero_data"] = True
        else:
            initial["data_file"] = f"first{number}"
            leaf.files[f"initial_state/first{number}"] = bytes(SIZES[dtype] * count(first))
        state["initial_state"] = [initial]
    return state


def count(dims: list[int]) -> int:
    """How many elements."""
    found = 1
    for size in dims:
        found *= size
    return found


def warmup(leaf: Leaf) -> None:
    """One or two warm-up samples with all inputs."""
    pick = leaf.random
    tensors = leaf.config["input"]
    if any(tensor.get("optional") or tensor["data_type"] == "TYPE_BF16" for tensor in tensors):
        return
    samples = []
    for number in range(pick.choice((1, 1, 2))):
        inputs = {}
        for tensor in tensors:
            dims = [2 if size == -1 else int(size) for size in tensor["dims"]]
            one: dict[str, Any] = {"data_type": tensor["data_type"], "dims": dims}
            dtype = tensor["data_type"].removeprefix("TYPE_")
            way = pick.choice(("zero_data", "random_data", "file"))
            if way == "file" and dtype in SIZES and count(dims) < _LIMIT:
                file = f"{tensor['name']}{number}"
                one["input_data_file"] = file
                leaf.files[f"warmup/{file}"] = bytes(SIZES[dtype] * count(dims))
            else:
                one["random_data" if way == "random_data" else "zero_data"] = True
            inputs[tensor["name"]] = one
        size = pick.randint(0, leaf.batch) if leaf.batch else 1
        samples.append({"name": f"sample{number}", "batch_size": size, "inputs": inputs})
        if pick.random() < 0.3:
            samples[-1]["count"] = 2
    leaf.config["model_warmup"] = samples


def ragged(leaf: Leaf) -> None:
    """A ragged input, and what the core adds about it."""
    if not leaf.batch:
        return
    pick = leaf.random
    pick.choice(leaf.config["input"])["allow_ragged_batch"] = True
    source = pick.choice(leaf.config["input"])["name"]
    kind = pick.choice(("ELEMENT_COUNT", "ACCUMULATED_ELEMENT_COUNT", "ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
                        "MAX_ELEMENT_COUNT_AS_SHAPE", "ITEM_SHAPE", "ITEM_SHAPE_FLATTEN"))  # fmt: skip
    leaf.config["batch_input"] = [
        {"kind": f"BATCH_{kind}", "target_name": ["index"], "data_type": pick.choice(("TYPE_INT32", "TYPE_FP32")),
         "source_input": [source]}
    ]  # fmt: skip
    if pick.random() < 0.6:
        target = pick.choice(leaf.config["output"])["name"]
        leaf.config["batch_output"] = [
            {"target_name": [target], "kind": "BATCH_SCATTER_WITH_INPUT_SHAPE", "source_input": [source]}
        ]


def optional(leaf: Leaf) -> None:
    """An input more, that a request may leave out."""
    if "model_warmup" not in leaf.config:
        number = len(leaf.config["input"])
        leaf.config["input"].append(
            {"name": f"more{number}", "data_type": "TYPE_FP32", "dims": [2], "optional": True}
        )


def reshape(leaf: Leaf) -> None:
    """A reshape that keeps the elements; ensembles use the model's dims, so they never notice."""
    pick = leaf.random
    tensor = pick.choice([*leaf.config["input"], *leaf.config["output"]])
    dims = list(tensor["dims"])
    if dims == [1] and leaf.batch and pick.random() < 0.6:
        tensor["reshape"] = {"shape": []}
    elif -1 not in dims:
        tensor["reshape"] = {"shape": pick.choice(([count(dims)], [1, *dims], [*dims, 1], [1, count(dims)]))}
    else:
        tensor["reshape"] = {"shape": [1, *dims] if pick.random() < 0.5 else [*dims, 1]}


def layout_format(leaf: Leaf) -> None:
    """NHWC or NCHW, where there are three dimensions."""
    for tensor in leaf.config["input"]:
        if len(tensor["dims"]) == 3:
            tensor["format"] = leaf.random.choice(("FORMAT_NHWC", "FORMAT_NCHW"))


def cache(leaf: Leaf) -> None:
    """The response cache."""
    if "sequence_batching" not in leaf.config and "model_transaction_policy" not in leaf.config:
        leaf.config["response_cache"] = {"enable": leaf.random.random() < 0.8}


def decoupled(leaf: Leaf) -> None:
    """A model that answers as often as it likes."""
    if "response_cache" not in leaf.config:
        leaf.config["model_transaction_policy"] = {"decoupled": leaf.random.random() < 0.7}


def versions(leaf: Leaf) -> None:
    """Several versions and a policy."""
    pick = leaf.random
    if [name for name in leaf.files if name.endswith(".py")] != ["1/model.py"]:
        return
    more = pick.sample(("2", "3", "10"), pick.choice((1, 1, 2)))
    for version in more:
        leaf.files[f"{version}/model.py"] = leaf.files["1/model.py"]
    policies: list[dict[str, Any]] = [
        {},
        {"latest": {"num_versions": pick.choice((1, 2))}},
        {"all": {}},
        {"specific": {"versions": [1]}},
    ]
    found = pick.choice(policies)
    if found:
        leaf.config["version_policy"] = found


def labels(leaf: Leaf) -> None:
    """A file of labels."""
    leaf.random.choice(leaf.config["output"])["label_filename"] = "labels.txt"
    leaf.files["labels.txt"] = b"cat\ndog\n"


def instances(leaf: Leaf) -> None:
    """Instance groups, rate limits among them."""
    pick = leaf.random
    groups = []
    for number in range(pick.choice((1, 1, 1, 2))):
        group: dict[str, Any] = {"kind": pick.choice(("KIND_CPU", "KIND_CPU", "KIND_AUTO", "KIND_MODEL"))}
        group["count"] = pick.choice((0, 1, 1, 1, 2)) if number == 0 else 1
        if pick.random() < 0.3:
            group["name"] = f"group{number}"
        if pick.random() < 0.4:
            resource = {"name": pick.choice(("R1", "R2")), "count": pick.choice((0, 1, 4))}
            if pick.random() < 0.4:
                resource["name"], resource["global"] = "R3", True
            group["rate_limiter"] = {"resources": [resource], "priority": pick.choice((0, 1, 2))}
        if pick.random() < 0.2:
            group["host_policy"] = "cpu"
        groups.append(group)
    leaf.config["instance_group"] = groups


def details(leaf: Leaf) -> None:
    """Parameters, tags and the rest, which the server mostly hands on."""
    pick = leaf.random
    parameters = {"depth": {"string_value": "3"}}
    if pick.random() < 0.5:
        parameters["FORCE_CPU_ONLY_INPUT_TENSORS"] = {"string_value": pick.choice(("yes", "no"))}
    leaf.config["parameters"] = parameters
    if pick.random() < 0.4:
        leaf.config["metric_tags"] = {"owner": "team"}
    if pick.random() < 0.4:
        leaf.config["model_operations"] = {"op_library_filename": ["libops.so"]}
    if pick.random() < 0.3:
        leaf.config["cc_model_filenames"] = {"8.0": "model.py"}
    if pick.random() < 0.3:
        leaf.config["runtime"] = "libtriton_python.so"


def tuning(leaf: Leaf) -> None:
    """Optimization fields."""
    pick = leaf.random
    every = {
        "graph": {"level": pick.choice((-1, 0, 1))},
        "priority": pick.choice(("PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN")),
        "cuda": {"graphs": True, "busy_wait_events": True, "graph_spec": [{"batch_size": 1}]},
        "execution_accelerators": {"cpu_execution_accelerator": [{"name": "openvino"}]},
        "input_pinned_memory": {"enable": False},
        "output_pinned_memory": {"enable": True},
        "gather_kernel_buffer_threshold": pick.choice((0, 3)),
        "eager_batching": True,
    }
    leaf.config["optimization"] = dict(pick.sample(list(every.items()), pick.choice((1, 2, 3))))


def other_file(leaf: Leaf) -> None:
    """Code in a file of another name."""
    if "version_policy" not in leaf.config and [name for name in leaf.files if name.endswith(".py")] == [
        "1/model.py"
    ]:
        leaf.files["1/other.py"] = leaf.files.pop("1/model.py")
        leaf.config["default_model_filename"] = "other.py"


ALL: tuple[Callable[[Leaf], None], ...] = (
    dynamic, dynamic, dynamic, sequence, sequence, sequence, warmup, ragged, ragged, optional, reshape, reshape,
    layout_format, cache, decoupled, versions, labels, instances, instances, details, tuning, other_file,
)  # fmt: skip
