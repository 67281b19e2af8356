"""Every field that the embedded server knows is loaded by it; every newer one is refused by its parser."""

from __future__ import annotations

import re

import pytest

from generator.config import model_configs
from generator.config.since import OLDEST, SINCE, since
from generator.spec.serving import CudaGraphs, Priorities, Queue, Versions, Warmup, WarmupInput

pytestmark = pytest.mark.server

UNKNOWN = 'has no field named "{name}"'
UNPARSED = "failed to read text proto"
FILES = {"text": b"a\nb\n", "warmup/text": bytes(64), "initial_state/text": bytes(64)}

# What the friendly names always set: it is in every config that is loaded here.
ALWAYS = {
    "name", "backend", "max_batch_size",
    "input.name", "input.data_type", "input.dims", "output.name", "output.data_type", "output.dims",
    "ensemble_scheduling.step.model_name", "ensemble_scheduling.step.model_version",
    "ensemble_scheduling.step.input_map", "ensemble_scheduling.step.output_map", "platform",
}  # fmt: skip


def control(**fields):
    return {"sequence_batching": {"control_input": [{"name": "control", "control": [fields]}]}}


def initial(**fields):
    first = {"data_type": "TYPE_FP32", "dims": [1], "name": "start"} | fields
    state = {"input_name": "i", "output_name": "o", "data_type": "TYPE_FP32", "dims": [1], "initial_state": [first]}
    return {"sequence_batching": {"state": [state]}}


def warm(**fields):
    entry = {"data_type": "TYPE_FP32", "dims": [1, 2, 2]} | fields
    return {"model_warmup": [{"name": "warm", "batch_size": 2, "count": 2, "inputs": {"x": entry}}]}


BATCH_INPUT = {
    "batch_input": [
        {
            "kind": "BATCH_ITEM_SHAPE_FLATTEN",
            "target_name": ["shape"],
            "data_type": "TYPE_INT32",
            "source_input": ["x"],
        }
    ]
}
BATCH_OUTPUT = {
    "batch_output": [{"kind": "BATCH_SCATTER_WITH_INPUT_SHAPE", "target_name": ["y"], "source_input": ["x"]}]
}
LEVELS = {"dynamic_batching": {"priority_levels": 2, "default_priority_level": 1}}
CORRID = control(kind="CONTROL_SEQUENCE_CORRID", data_type="TYPE_UINT64")

# Fields that the server takes only in company of others, or with a value that fits the model.
COMPANY = {
    "version_policy.specific.versions": {"version_policy": {"specific": {"versions": [1]}}},
    "input.reshape.shape": {"input": [{"name": "x", "reshape": {"shape": [4]}}]},
    "output.reshape.shape": {"output": [{"name": "y", "reshape": {"shape": [4]}}]},
    **{f"batch_input.{name}": BATCH_INPUT for name in BATCH_INPUT["batch_input"][0]},
    **{f"batch_output.{name}": BATCH_OUTPUT for name in BATCH_OUTPUT["batch_output"][0]},
    "dynamic_batching.priority_levels": LEVELS,
    "dynamic_batching.default_priority_level": LEVELS,
    "sequence_batching.control_input.control.kind": CORRID,
    "sequence_batching.control_input.control.data_type": CORRID,
    "sequence_batching.control_input.control.int32_false_true": control(int32_false_true=[0, 1]),
    "sequence_batching.control_input.control.fp32_false_true": control(fp32_false_true=[0, 1]),
    "sequence_batching.control_input.control.bool_false_true": control(bool_false_true=[False, True]),
    **{f"sequence_batching.state.initial_state.{name}": initial(zero_data=True)
       for name in ("data_type", "dims", "zero_data", "name")},
    "sequence_batching.state.initial_state.data_file": initial(data_file="text"),
    **{f"model_warmup.{name}": warm(zero_data=True)
       for name in ("name", "batch_size", "count", "inputs.data_type", "inputs.dims", "inputs.zero_data")},
    "model_warmup.inputs.random_data": warm(random_data=True),
    "model_warmup.inputs.input_data_file": warm(input_data_file="text"),
    # A file that is not there makes the Python backend wait for ever.
    "default_model_filename": {"default_model_filename": "model.py"},
}  # fmt: skip

# Fields that this server parses and then refuses for what they mean.
REFUSED = {
    "runtime": "unable to load shared library: .*/text",
    "input.is_shape_tensor": "shape tensors are only supported for TensorRT",
    "output.is_shape_tensor": "shape tensors are only supported for TensorRT",
    "input.is_non_linear_format_io": "Non-linear IO format is only supported for the TensorRT",
    "output.is_non_linear_format_io": "Non-linear IO format is only supported for the TensorRT",
    "instance_group.gpus": "has kind KIND_CPU but specifies one or more GPUs",
    "instance_group.profile": "profile field which is only supported for TensorRT",
    "model_repository_agents.agents.name": "unable to find 'libtritonrepoagent_text.so'",
    "model_repository_agents.agents.parameters": "unable to find 'libtritonrepoagent_.so'",
}

# Fields that the server reports otherwise than they were written: without --model-namespacing it forgets these.
FORGOTTEN = {"ensemble_scheduling.step.model_namespace"}


def probe(make, **changes):
    tensors = {"inputs": (make.Tensor("x", "FP32", (1, 2, 2)),), "outputs": (make.Tensor("y", "FP32", (1, 2, 2)),)}
    return make.model(**tensors | changes)


@pytest.fixture(scope="module")
def probed(server, make):
    """The model that the ensemble's only step runs is loaded."""
    text = model_configs(make.pipeline(probe(make)))["probe"][1]
    assert server.load("probe", text) == ""
    return server


def rendered(make, leaf, config):
    """Name, message and text of a model, or of an ensemble, with this `config:`; for a server that knows it all."""
    if leaf.path.startswith("ensemble_scheduling") or leaf.path == "platform":
        ends = {
            "inputs": (make.Tensor("a", "FP32", (1, 2, 2)),),
            "outputs": (make.Tensor("b", "FP32", (1, 2, 2)),),
        }
        plan = make.pipeline(probe(make), ensemble=make.ensemble(config=config, **ends))
        return "whole", *model_configs(plan)["whole"]
    return "leaf", *model_configs(make.pipeline(probe(make, name="leaf", config=config)))["leaf"]


def test_each_field_is_loaded_or_refused_as_the_tables_say(probed, make, leaf):
    config = {} if leaf.path in ALWAYS else COMPANY.get(leaf.path) or leaf.words()
    name, message, text = rendered(make, leaf, config)
    assert leaf.values(message), "the config does not have the field"
    reason = probed.load(name, text, FILES)
    if since(leaf.path) > OLDEST:
        [newer] = [path for path in SINCE if leaf.path.startswith(path)]
        assert UNPARSED in reason
        assert UNKNOWN.format(name=newer.split(".")[-1]) in reason
        return
    assert UNPARSED not in reason
    if leaf.path in REFUSED:
        assert re.search(REFUSED[leaf.path], reason)
        return
    assert reason == ""
    served = probed.client.get_model_config(name).config
    assert leaf.values(served) == ([] if leaf.path in FORGOTTEN else leaf.values(message))


def test_the_tables_are_not_stale(make):
    known = {leaf.path for leaf in make.leaves()}
    for table in (ALWAYS, COMPANY, REFUSED, FORGOTTEN):
        assert set(table) <= known


def test_gpu_instances_are_refused_for_the_lack_of_gpus(probed, make):
    model = probe(make, name="leaf", instances=(make.InstanceGroup(kind="gpu"),))
    reason = probed.load("leaf", model_configs(make.pipeline(model))["leaf"][1])
    assert "has kind KIND_GPU but no GPUs are available" in reason


def test_all_friendly_names_at_once(probed, make):
    model = make.model(
        name="leaf",
        inputs=(
            make.Tensor("x", "FP32", (3, 2, 2), format="nchw", reshape=(12,)),
            make.Tensor("n", "INT64", (-1,), optional=True, ragged=True),
        ),
        outputs=(make.Tensor("y", "FP32", (4,), labels="data/text"),),
        batching=make.Batching(
            preferred=[4, 8],
            max_queue_delay_us=100,
            queue=Queue(max_size=9, timeout_us=1000, allow_override=True),
            priorities=Priorities(levels=2, default=2, queues={1: Queue(max_size=1, on_timeout="delay")}),
        ),
        instances=(make.InstanceGroup(kind="cpu", count=2),),
        versions=Versions(latest=1),
        warmup=(
            Warmup(name="a", inputs={"x": WarmupInput(zero=True), "n": WarmupInput(zero=True, dims=[2])}),
            Warmup(name="b", inputs={"x": WarmupInput(file="data/text"), "n": WarmupInput(random=True, dims=[2])}),
        ),
        response_cache=True,
        cuda_graphs=CudaGraphs(batch_sizes=[1, 8], busy_wait_events=True),
        parameters={"depth": "3"},
    )
    message, text = model_configs(make.pipeline(model, target=make.EMBEDDED))["leaf"]
    assert probed.load("leaf", text, FILES) == ""
    served = probed.client.get_model_config("leaf").config
    for leaf in make.leaves():
        if leaf.values(message) and leaf.path != "instance_group.name":
            assert leaf.values(served) == leaf.values(message), leaf.path
