"""The sentences beside the fields say what the fields say."""

from __future__ import annotations

import pytest

from generator.config import model_configs


def text_of(make, **changes):
    return model_configs(make.pipeline(make.model(**changes)))["probe"][1]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "Requests that are there run together, up to 8; none waits for more."),
        ({"preferred_batch_size": [4, 8]}, "Requests that are there run together, 4 or 8 at a time if they can;"),
        ({"max_queue_delay_microseconds": 1500}, "waits at most 1.5 ms for company; a full batch starts at once."),
        ({"max_queue_delay_microseconds": 20_000_000, "preferred_batch_size": [8]},
         "waits at most 20000 ms for company; a batch of 8 starts at once."),
        ({"default_queue_policy": {}}, "Any number of requests waits."),
        ({"default_queue_policy": {"timeout_action": "DELAY", "default_timeout_microseconds": 10}},
         "Any number of requests waits; after 0.01 ms a request is served after all others."),
    ],
)  # fmt: skip
def test_batching(make, config, sentence):
    assert sentence in text_of(make, config={"dynamic_batching": config})


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ({"kind": "gpu"}, "# 1 instance on each GPU.\n"),
        ({"kind": "gpu", "count": 2, "gpus": [0, 1, 3]}, "# 2 instances on each of the GPUs 0, 1 and 3.\n"),
        ({"kind": "gpu", "gpus": [1]}, "# 1 instance on GPU 1.\n"),
        ({"kind": "cpu", "count": 4}, "# 4 instances on the CPU.\n"),
        ({"kind": "auto"}, "# 1 instance on each GPU, or on the CPU where there is none.\n"),
        ({"kind": "model"}, "# 1 instance placed by the model itself.\n"),
    ],
)
def test_instances(make, group, sentence):
    assert sentence in text_of(make, instances=(make.InstanceGroup(**group),))


def test_hops_that_the_plan_does_not_know_have_no_comment(make):
    whole = make.ensemble(config={"ensemble_scheduling": {"step": [{"input_map": {"extra": "a"}}]}})
    plan = make.pipeline(make.model(), ensemble=whole)
    text = model_configs(plan)["whole"][1]
    assert '      input_map { key: "extra" value: "a" }\n' in text
    assert '      input_map { key: "x" value: "a" }  # FP32 [4]\n' in text
    strangers = make.pipeline(make.model(name="other"), ensemble=make.ensemble())
    assert '      input_map { key: "x" value: "a" }\n' in model_configs(strangers)["whole"][1]
