"""What a sweep changes is compared with what the server serves, defaults included."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.config.served import swept_differences


def config(delay_us: int = 0, preferred: tuple[int, ...] = (), count: int = 1, largest: int = 32) -> ModelConfig:
    made = ModelConfig(name="engine", backend="python", max_batch_size=largest)
    made.dynamic_batching.max_queue_delay_microseconds = delay_us
    made.dynamic_batching.preferred_batch_size.extend(preferred)
    made.instance_group.add(kind="KIND_CPU", count=count)
    return made


def as_served(made: ModelConfig) -> dict[str, Any]:
    """As Triton 2.51 tells it: every number, and the largest batch where no size is preferred."""
    batching = made.dynamic_batching
    told: dict[str, Any] = json_format.MessageToDict(made, preserving_proto_field_name=True)
    told["dynamic_batching"] = {
        "preferred_batch_size": list(batching.preferred_batch_size) or [made.max_batch_size],
        "max_queue_delay_microseconds": batching.max_queue_delay_microseconds, "preserve_ordering": False,
        "priority_levels": 0, "default_priority_level": 0, "priority_queue_policy": {},
    }  # fmt: skip
    if batching.HasField("default_queue_policy"):
        told["dynamic_batching"]["default_queue_policy"] = json_format.MessageToDict(
            batching.default_queue_policy, preserving_proto_field_name=True
        )
    return told


@pytest.mark.parametrize("made", [config(), config(500, (8, 16), 3), config(preferred=(32,))])
def test_what_was_asked_for_has_no_difference(made: ModelConfig) -> None:
    assert swept_differences(made, as_served(made)) == []


@pytest.mark.parametrize(
    ("wanted", "given", "field"),
    [
        (config(0), config(5000), "dynamic_batching.max_queue_delay_microseconds"),
        (config(5000), config(0), "dynamic_batching.max_queue_delay_microseconds"),
        (config(), config(preferred=(8, 16)), "dynamic_batching.preferred_batch_size"),
        (config(preferred=(8, 16)), config(), "dynamic_batching.preferred_batch_size"),
        (config(), config(count=2), "instance_group.count"),
        (config(preferred=(8,)), config(preferred=(8,), largest=16), "max_batch_size"),
    ],
)
def test_zeros_and_nothing_are_values_too(wanted: ModelConfig, given: ModelConfig, field: str) -> None:
    assert [one.field for one in swept_differences(wanted, as_served(given))] == [field]


def test_a_queue_policy_that_nobody_asked_for_is_told() -> None:
    given = config()
    given.dynamic_batching.default_queue_policy.max_queue_size = 7
    [found] = swept_differences(config(), as_served(given))
    assert found.field == "dynamic_batching.default_queue_policy"
    assert "'max_queue_size': 7" in found.served


def test_a_batcher_that_is_not_there_is_told() -> None:
    given = as_served(config())
    del given["dynamic_batching"]
    assert "dynamic_batching" in [one.field for one in swept_differences(config(), given)]
