"""`config:`: what it may say, and every way to get it wrong."""

from __future__ import annotations

import pytest

from generator.config.build import ensemble_config, model_config
from generator.problems import ProblemsError
from generator.spec.serving import Queue, Versions, Warmup, WarmupInput


def built(make, config, **changes):
    model = make.model(config=config, **changes)
    return model_config(make.pipeline(model), model)


def problems(make, config, tree=None, **changes):
    model = make.model(config=config, **changes)
    with pytest.raises(ProblemsError) as caught:
        model_config(make.pipeline(model, tree=tree), model)
    return caught.value.problems


def problem(make, config, **changes):
    [only] = problems(make, config, **changes)
    return only


@pytest.mark.parametrize(
    ("config", "code", "field", "message", "hint"),
    [
        ({"optimisation": {}}, "TK301", "optimisation", "ModelConfig has no field `optimisation`", "`optimization`"),
        ({"optimization": {"cuda": {"graph": True}}}, "TK301", "optimization.cuda.graph", "it has `graphs`, ", "`graphs`"),
        ({"optimization": 3}, "TK302", "optimization", "a mapping with fields of ModelOptimizationPolicy; found `3`", ""),
        ({"optimization": None}, "TK302", "optimization", "found nothing", "an empty mapping is `{}`"),
        ({"instance_group": {"count": 1}}, "TK302", "instance_group", "is a list; found a mapping", "[ … ]"),
        ({"instance_group": [1]}, "TK302", "instance_group[0]", "an entry is a mapping", ""),
        ({"instance_group": [{"count": "2"}]}, "TK302", "instance_group[0].count", 'whole number; found `"2"`', "quotes"),
        ({"instance_group": [{"count": True}]}, "TK302", "instance_group[0].count", "found `true`", ""),
        ({"instance_group": [{"count": 2.0}]}, "TK302", "instance_group[0].count", "found `2.0`", ""),
        ({"instance_group": [{"passive": 1}]}, "TK302", "instance_group[0].passive", "`true` or `false`", ""),
        ({"instance_group": [{"host_policy": 7}]}, "TK302", "instance_group[0].host_policy", "is text", "quotes"),
        ({"instance_group": [{"gpus": 0}]}, "TK302", "instance_group[0].gpus", "is a list; found `0`", "[ … ]"),
        ({"instance_group": [{"gpus": [0, "1"]}]}, "TK302", "instance_group[0].gpus[1]", 'found `"1"`', "quotes"),
        ({"instance_group": [{"kind": "CPU"}]}, "TK303", "instance_group[0].kind", "found `CPU`", "`KIND_CPU`"),
        ({"instance_group": [{"kind": "KIND_GPUS"}]}, "TK303", "instance_group[0].kind", "`KIND_AUTO`", "`KIND_GPU`"),
        ({"instance_group": [{"kind": 1}]}, "TK302", "instance_group[0].kind", "found `1`", ""),
        ({"instance_group": [{"count": 2**31}]}, "TK304", "instance_group[0].count", "-2147483648 to 2147483647", "range"),
        ({"optimization": {"gather_kernel_buffer_threshold": -1}}, "TK304",
         "optimization.gather_kernel_buffer_threshold", "0 to 4294967295", "range"),
        ({"dynamic_batching": {"priority_levels": 2**64}}, "TK304", "dynamic_batching.priority_levels", "found 1844", ""),
        ({"sequence_batching": {"direct": {"minimum_slot_utilization": "x"}}}, "TK302",
         "sequence_batching.direct.minimum_slot_utilization", "is a number", ""),
        ({"sequence_batching": {"direct": {"minimum_slot_utilization": 1e39}}}, "TK304",
         "sequence_batching.direct.minimum_slot_utilization", "at most 3.40282e+38", ""),
        ({"sequence_batching": {"direct": {"minimum_slot_utilization": 10**400}}}, "TK304",
         "sequence_batching.direct.minimum_slot_utilization", "at most 3.40282e+38", ""),
        ({"dynamic_batching": {}, "sequence_batching": {}}, "TK305", "sequence_batching", "exclude each other", "keep one"),
        ({"sequence_batching": {"oldest": {}, "direct": {}}}, "TK305", "sequence_batching.direct",
         "`direct` and `oldest` exclude each other", "keep one of `direct`, `oldest`"),
        ({"dynamic_batching": {"priority_queue_policy": {"one": {}}}}, "TK308",
         "dynamic_batching.priority_queue_policy.one", "no whole number", ""),
        ({"dynamic_batching": {"priority_queue_policy": {"01": {}}}}, "TK308",
         "dynamic_batching.priority_queue_policy.01", "no whole number", ""),
        ({"parameters": ["x"]}, "TK302", "parameters", "is a mapping; found", ""),
        ({"parameters": {"x": 5}}, "TK302", "parameters.x", "is text; found `5`", "quotes"),
        ({"metric_tags": {"x": 5}}, "TK302", "metric_tags.x", "is text; found `5`", "quotes"),
        ({"runtime": "\ud800"}, "TK302", "runtime", "half a Unicode character", ""),
        ({"input": [{"name": "z", "is_shape_tensor": True}]}, "TK307", "input[0]", 'of the model: `x`; found `"z"`', ""),
        ({"input": [{"is_shape_tensor": True}]}, "TK307", "input[0]", "it has none", ""),
        ({"output": [{"name": "y"}, {"name": "y"}]}, "TK307", "output[1]", "`y` has two entries in `output`", "one"),
    ],
)  # fmt: skip
def test_mistakes(make, config, code, field, message, hint):
    found = problem(make, config)
    assert (found.code, found.field) == (code, f"models.probe.config.{field}")
    assert message in found.message
    assert hint in found.hint


def test_all_mistakes_at_once_with_positions(make):
    tree = make.tree(("models", "probe", "config"), ("models", "probe", "config", "instance_group", 1, "count"))
    config = {"nonsense": 1, "instance_group": [{"count": 1}, {"count": -(2**40)}, {"kind": "KIND_X"}]}
    assert [(p.code, p.place.line) for p in problems(make, config, tree=tree)] == [
        ("TK301", 2),
        ("TK304", 3),
        ("TK303", 2),
    ]


def test_contradictions_name_both_places(make):
    tree = make.tree(
        ("models", "probe", "batching", "max_queue_delay_us"),
        ("models", "probe", "config", "dynamic_batching", "max_queue_delay_microseconds"),
    )
    config = {"dynamic_batching": {"max_queue_delay_microseconds": 500}}
    found = problem(make, config, tree=tree, batching=make.Batching(max_queue_delay_us=100))
    assert found.code == "TK306"
    assert str(found.place) == "specs/digits.yaml:3:3"
    assert found.message == (
        "`max_queue_delay_microseconds` is `500` here, but `batching.max_queue_delay_us` (specs/digits.yaml:2:3) "
        "sets it to `100`"
    )


@pytest.mark.parametrize(
    ("config", "field", "owner"),
    [
        ({"name": "other"}, "name", "`name` sets it to `\"probe\"`"),
        ({"backend": "onnxruntime"}, "backend", "`engine` sets it to `\"python\"`"),
        ({"max_batch_size": 4}, "max_batch_size", "`batching.max_batch_size` sets it to `8`"),
        ({"input": [{"name": "x", "data_type": "TYPE_FP16"}]}, "input[0].data_type", "`inputs` sets it"),
        ({"input": [{"name": "x", "dims": [4, 4]}]}, "input[0].dims", "`inputs` sets it to `[4]`"),
        ({"dynamic_batching": {"preferred_batch_size": [8]}}, "dynamic_batching.preferred_batch_size",
         "`batching.preferred` sets it to `[4, 8]`"),
        ({"dynamic_batching": {"default_queue_policy": {"timeout_action": "DELAY"}}},
         "dynamic_batching.default_queue_policy.timeout_action", "`batching.queue.on_timeout` sets it"),
        ({"sequence_batching": {}}, "sequence_batching", "`sequence_batching` excludes `dynamic_batching`, but `batching`"),
        ({"ensemble_scheduling": {}}, "ensemble_scheduling", "excludes `dynamic_batching`, but `batching`"),
        ({"version_policy": {"all": {}}}, "version_policy.all", "`all` excludes `latest`, but `versions.latest`"),
        ({"instance_group": [{}, {"count": 1}]}, "instance_group[1]", "has 2 entries here, but `instances` gives 1"),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, "instance_group[0].kind", "`instances` sets it"),
        ({"parameters": {"p": "2"}}, "parameters.p", "`parameters` sets it to `\"1\"`"),
        ({"model_warmup": [{"name": "w", "count": 9}]}, "model_warmup[0].count", "`warmup` sets it to `1`"),
        ({"model_warmup": [{"name": "w", "inputs": {"x": {"random_data": True}}}]},
         "model_warmup[0].inputs.x.random_data", "`random_data` excludes `zero_data`, but `warmup`"),
    ],
)  # fmt: skip
def test_contradictions(make, config, field, owner):
    found = problem(
        make, config,
        batching=make.Batching(preferred=[4, 8], queue=Queue(max_size=4)),
        instances=(make.InstanceGroup(kind="cpu"),), versions=Versions(latest=1), parameters={"p": "1"},
        warmup=(Warmup(name="w", inputs={"x": WarmupInput(zero=True)}),),
    )  # fmt: skip
    assert (found.code, found.field) == ("TK306", f"models.probe.config.{field}")
    assert owner in found.message


def test_repeating_what_the_friendly_names_say_is_fine(make):
    config = {
        "name": "probe",
        "backend": "python",
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}],
        "dynamic_batching": {"preferred_batch_size": [4, 8]},
        "instance_group": [{"kind": "KIND_CPU"}],
    }
    friendly = {"batching": make.Batching(preferred=[4, 8]), "instances": (make.InstanceGroup(kind="cpu"),)}
    assert built(make, config, **friendly) == built(make, {}, **friendly)


def test_config_refines_what_the_friendly_names_set(make):
    message = built(
        make,
        {
            "dynamic_batching": {"preserve_ordering": True, "priority_queue_policy": {"1": {"max_queue_size": 3}}},
            "instance_group": [{"rate_limiter": {"priority": 2}}],
            "input": [{"name": "b", "is_shape_tensor": True}],
            "parameters": {"q": "text", "r": {"string_value": "more"}},
            "model_warmup": [{"name": "second", "batch_size": 1}],
        },
        batching=make.Batching(max_queue_delay_us=7),
        instances=(make.InstanceGroup(kind="cpu", count=2),),
        inputs=(make.Tensor("a", "FP32", (1,)), make.Tensor("b", "INT32", (1,))),
        parameters={"p": "1"},
        warmup=(Warmup(name="w", inputs={"a": WarmupInput(zero=True), "b": WarmupInput(zero=True)}),),
    )
    assert (message.dynamic_batching.max_queue_delay_microseconds, message.dynamic_batching.preserve_ordering) == (
        7,
        True,
    )
    assert message.dynamic_batching.priority_queue_policy[1].max_queue_size == 3
    [group] = message.instance_group
    assert (group.count, group.rate_limiter.priority) == (2, 2)
    assert [(i.name, i.is_shape_tensor) for i in message.input] == [("a", False), ("b", True)]
    assert {k: v.string_value for k, v in message.parameters.items()} == {"p": "1", "q": "text", "r": "more"}
    assert [w.name for w in message.model_warmup] == ["w", "second"]


def test_sequence_batching_where_nothing_else_batches(make):
    config = {"sequence_batching": {"oldest": {"max_candidate_sequences": 4}}}
    assert (
        built(make, config, batching=make.Batching(dynamic=False)).sequence_batching.oldest.max_candidate_sequences
        == 4
    )


def test_an_empty_mapping_sets_a_message(make):
    message = built(make, {"sequence_batching": {"direct": {}}, "version_policy": {"all": {}}})
    assert message.sequence_batching.HasField("direct")
    assert message.version_policy.HasField("all")


def test_the_flow_of_an_ensemble_is_closed(make):
    config = {"ensemble_scheduling": {"step": [{"model_version": 1}, {}], "max_inflight_requests": 8}}
    whole = make.ensemble(config=config)
    with pytest.raises(ProblemsError) as caught:
        ensemble_config(make.pipeline(make.model(), ensemble=whole), whole)
    assert [(p.code, p.field) for p in caught.value.problems] == [
        ("TK306", "config.ensemble_scheduling.step[0].model_version"),
        ("TK306", "config.ensemble_scheduling.step[1]"),
    ]
    assert "`step` has 2 entries here, but `flow` gives 1" in caught.value.problems[1].message
    assert "`flow` sets it to `-1`" in caught.value.problems[0].message


def test_the_wiring_of_an_ensemble_cannot_change(make):
    whole = make.ensemble(
        config={"ensemble_scheduling": {"step": [{"input_map": {"x": "b"}, "output_map": {"y": "b"}}]}}
    )
    with pytest.raises(ProblemsError) as caught:
        ensemble_config(make.pipeline(make.model(), ensemble=whole), whole)
    [found] = caught.value.problems
    assert (found.code, found.field) == ("TK306", "config.ensemble_scheduling.step[0].input_map.x")
    assert found.message == '`x` is `"b"` here, but `flow` sets it to `"a"`'
