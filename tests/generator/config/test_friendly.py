"""What each friendly name becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import text_format

from generator.config import model_configs
from generator.config.build import ensemble_config, model_config
from generator.config.tensors import model_files
from generator.plan import EngineProgram
from generator.problems import ProblemsError
from generator.spec.build import Build, Profile
from generator.spec.serving import (
    CudaGraphs,
    InstanceGroup,
    Metrics,
    Priorities,
    Queue,
    Versions,
    Warmup,
    WarmupInput,
)


def built(make, **changes):
    model = make.model(**changes)
    return model_config(make.pipeline(model), model)


def codes_of(make, *models, **changes):
    with pytest.raises(ProblemsError) as caught:
        model_configs(make.pipeline(*models, **changes))
    return [(p.code, p.field) for p in caught.value.problems]


def text(message):
    return text_format.MessageToString(message, as_one_line=True)


def test_a_model_that_says_nothing_sets_nothing_else(make):
    assert text(built(make)) == (
        'name: "probe" max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 4 } '
        'output { name: "y" data_type: TYPE_FP32 dims: 4 } backend: "python"'
    )


@pytest.mark.parametrize(
    ("backend", "platform"),
    [("tensorrt", "tensorrt_plan"), ("onnxruntime", "onnxruntime_onnx"), ("python", "")],
)
def test_backend_and_its_platform(make, backend, platform):
    program = EngineProgram("tensorrt", "fp16", "models/probe.onnx", "0" * 64)
    message = built(make, backend=backend, program=program)
    assert (message.backend, message.platform) == (backend, platform)


@pytest.mark.parametrize(
    ("backend", "count", "named"),
    [("tensorrt", 2, ["0", "1"]), ("tensorrt", 1, []), ("tensorrt", None, []), ("onnxruntime", 2, [])],
)
def test_instances_use_every_profile_of_a_plan(make, backend, count, named):
    shape = {"x": [8, 4]}
    profiles = None if count is None else [Profile(min=shape, opt=shape, max=shape)] * count
    program = EngineProgram("tensorrt", "fp16", (), build=Build(profiles=profiles))
    groups = (InstanceGroup(kind="gpu"), InstanceGroup(kind="gpu", count=2))
    message = built(make, backend=backend, program=program, instances=groups)
    assert [list(group.profile) for group in message.instance_group] == [named, named]


def test_tensors(make):
    message = built(
        make,
        inputs=(
            make.Tensor("a", "UINT8", (-1, 8, 3), ragged=True, format="nhwc"),
            make.Tensor("b", "BF16", (4,), optional=True, reshape=(2, 2)),
        ),
        outputs=(make.Tensor("c", "STRING", (1,), reshape=(), labels="data/some.labels"),),
    )
    assert [text(i) for i in message.input] == [
        'name: "a" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: -1 dims: 8 dims: 3 allow_ragged_batch: true',
        'name: "b" data_type: TYPE_BF16 dims: 4 reshape { shape: 2 shape: 2 } optional: true',
    ]
    assert (
        text(message.output[0])
        == 'name: "c" data_type: TYPE_STRING dims: 1 label_filename: "some.labels" reshape { }'
    )


def test_batching(make):
    batching = make.Batching(
        max_batch_size=16,
        preferred=[4, 16],
        max_queue_delay_us=250,
        queue=Queue(max_size=64, timeout_us=9000, on_timeout="delay", allow_override=True),
        priorities=Priorities(levels=3, default=2, queues={1: Queue(max_size=1), 3: Queue(on_timeout="delay")}),
    )
    message = built(make, batching=batching, max_batch_size=16)
    got = message.dynamic_batching
    assert list(got.preferred_batch_size) == [4, 16]
    assert got.max_queue_delay_microseconds == 250
    assert (got.priority_levels, got.default_priority_level) == (3, 2)
    assert text(got.default_queue_policy) == (
        "timeout_action: DELAY default_timeout_microseconds: 9000 allow_timeout_override: true max_queue_size: 64"
    )
    assert {k: text(v) for k, v in got.priority_queue_policy.items()} == {
        1: "max_queue_size: 1",
        3: "timeout_action: DELAY",
    }


def test_ordering(make):
    message = built(make, batching=make.Batching(max_batch_size=16, preserve_ordering=True), max_batch_size=16)
    assert message.dynamic_batching.preserve_ordering


def test_no_batching_without_dynamic(make):
    assert built(make, batching=make.Batching()).HasField("dynamic_batching")
    assert not built(make, batching=make.Batching(dynamic=False)).HasField("dynamic_batching")
    assert not built(make).HasField("dynamic_batching")


@pytest.mark.parametrize("kind", ["cpu", "gpu", "auto", "model"])
def test_instances(make, kind):
    gpus = [0, 2] if kind == "gpu" else []
    [group] = built(make, instances=(make.InstanceGroup(kind=kind, count=3, gpus=gpus),)).instance_group
    assert group.kind == group.Kind.Value(f"KIND_{kind.upper()}")
    assert (group.count, list(group.gpus)) == (3, gpus)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (Versions(latest=2), "latest { num_versions: 2 }"),
        (Versions(specific=[1, 7]), "specific { versions: 1 versions: 7 }"),
        (Versions(all=True), "all { }"),
    ],
)
def test_versions(make, versions, expected):
    assert text(built(make, versions=versions).version_policy) == expected


def test_warmup_takes_type_and_dims_from_the_tensor(make):
    inputs = (make.Tensor("x", "FP32", (4,)), make.Tensor("n", "INT64", (-1,)), make.Tensor("z", "UINT8", (2,)))
    warmup = Warmup(
        name="full", batch_size=8, count=2,
        inputs={
            "x": WarmupInput(random=True),
            "n": WarmupInput(zero=True, dims=[5]),
            "z": WarmupInput(file="data/warm/z.bin"),
        },
    )  # fmt: skip
    model = make.model(inputs=inputs, warmup=(warmup,))
    [got] = model_config(make.pipeline(model), model).model_warmup
    assert (got.name, got.batch_size, got.count) == ("full", 8, 2)
    assert {k: text(v) for k, v in got.inputs.items()} == {
        "x": "data_type: TYPE_FP32 dims: 4 random_data: true",
        "n": "data_type: TYPE_INT64 dims: 5 zero_data: true",
        "z": 'data_type: TYPE_UINT8 dims: 2 input_data_file: "z.bin"',
    }
    assert model_files(model) == {"warmup/z.bin": "data/warm/z.bin"}


def test_cuda_graphs(make):
    graphs = CudaGraphs(batch_sizes=[1, 8], busy_wait_events=True, output_copy_stream=True)
    assert text(built(make, cuda_graphs=graphs).optimization) == (
        "cuda { graphs: true busy_wait_events: true graph_spec { batch_size: 1 } graph_spec { batch_size: 8 } "
        "output_copy_stream: true }"
    )


def test_cache_parameters_and_metrics(make):
    message = built(
        make, response_cache=True, parameters={"depth": "3"}, metrics=Metrics(latency_buckets_ms=[1, 2.5, 10])
    )
    assert message.response_cache.enable
    assert message.parameters["depth"].string_value == "3"
    [control] = message.model_metrics.metric_control
    assert control.metric_identifier.family == "nv_inference_first_response_histogram_ms"
    assert list(control.histogram_options.buckets) == [1, 2.5, 10]


def test_an_ensemble_always_names_the_newest_version_and_runs_nothing_itself(make):
    whole = make.ensemble(response_cache=True, metrics=Metrics(latency_buckets_ms=[5]))
    message = ensemble_config(make.pipeline(make.model(), ensemble=whole), whole)
    assert (message.platform, message.backend) == ("ensemble", "")
    [step] = message.ensemble_scheduling.step
    assert (step.model_name, step.model_version) == ("probe", -1)
    assert (dict(step.input_map), dict(step.output_map)) == ({"x": "a"}, {"y": "b"})
    assert not message.instance_group
    assert not message.HasField("optimization")
    assert message.response_cache.enable
    assert message.HasField("model_metrics")


def test_the_maps_are_not_turned_around(make):
    message, text_of_it = model_configs(make.digits(make.PRODUCTION))["digits"]
    assert dict(message.ensemble_scheduling.step[2].output_map) == {"label": "label", "score": "score"}
    assert 'output_map { key: "score" value: "score" }  # FP32 [3]' in text_of_it


def test_copied_files_name_their_backend_in_config(make):
    assert codes_of(make, make.files_model()) == [("TK310", "models.probe.config")]
    model = make.files_model(config={"backend": "pytorch"})
    assert model_configs(make.pipeline(model))["probe"][0].backend == "pytorch"


def test_what_only_inputs_or_only_outputs_have(make):
    wrong_input = make.Tensor("x", "FP32", (4,), labels="data/x.labels")
    wrong_output = make.Tensor("y", "FP32", (4,), optional=True, ragged=True, format="nchw")
    assert codes_of(make, make.model(inputs=(wrong_input,), outputs=(wrong_output,))) == [
        ("TK311", "models.probe.inputs.x.labels"),
        ("TK311", "models.probe.outputs.y.optional"),
        ("TK311", "models.probe.outputs.y.ragged"),
        ("TK311", "models.probe.outputs.y.format"),
    ]


def test_two_label_files_of_one_name(make):
    outputs = (
        make.Tensor("y", "FP32", (4,), labels="a/top.labels"),
        make.Tensor("z", "FP32", (4,), labels="b/top.labels"),
    )
    assert codes_of(make, make.model(outputs=outputs)) == [("TK312", "models.probe.outputs.z.labels")]
    same = (outputs[0], replace(outputs[0], name="z"))
    assert model_files(make.model(outputs=same)) == {"top.labels": "a/top.labels"}


def test_a_friendly_number_that_triton_cannot_hold(make):
    queue = Queue(max_size=2**32)
    assert codes_of(make, make.model(batching=make.Batching(queue=queue))) == [
        ("TK304", "models.probe.batching.queue.max_size")
    ]


def test_problems_of_all_models_come_at_once(make):
    one = make.model(config={"nonsense": 1})
    two = make.model(name="two", key="two", source=("models", "two"), config={"max_batch_size": 99, "also": 2})
    whole = make.ensemble(config={"more": 3})
    assert codes_of(make, one, two, ensemble=whole) == [
        ("TK301", "models.probe.config.nonsense"),
        ("TK306", "models.two.config.max_batch_size"),
        ("TK301", "models.two.config.also"),
        ("TK301", "config.more"),
    ]
