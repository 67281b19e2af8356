"""What a server says it serves, compared with what was rendered for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig


@dataclass(frozen=True)
class Difference:
    """One field (`dynamic_batching.max_queue_delay_microseconds`): as it was rendered, and as it is served."""

    field: str
    rendered: str
    served: str


def compare(rendered: ModelConfig, served: Mapping[str, Any]) -> list[Difference]:
    """Fields in which the server's configuration (as its JSON) differs from the rendered one.

    What the server fills in where nothing was rendered (a default) is no difference.
    """
    from google.protobuf import json_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    effective = json_format.ParseDict(dict(served), ModelConfig(), ignore_unknown_fields=True)
    wanted = json_format.MessageToDict(rendered, preserving_proto_field_name=True)
    given = json_format.MessageToDict(effective, preserving_proto_field_name=True)
    return [difference for difference in _differences(wanted, given, "") if not _named_default(difference.field)]


def _named_default(name: str) -> bool:
    """The server names instance groups that have no name; nobody rendered that."""
    return name.startswith("instance_group[") and name.endswith(".name")


def _differences(wanted: Any, given: Any, path: str) -> Iterator[Difference]:
    """Walks what was rendered; a message rendered empty (`dynamic_batching {}`) may be served full of defaults."""
    if isinstance(wanted, dict) and isinstance(given, dict):
        for key, inner in wanted.items():
            yield from _differences(inner, given.get(key), f"{path}.{key}" if path else key)
    elif _are_messages(wanted) and isinstance(given, list) and len(wanted) == len(given):
        for index, pair in enumerate(zip(wanted, given, strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif wanted != given:
        yield Difference(path, _shown(wanted), _shown(given))


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(inner, dict) for inner in value)


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)


def swept_differences(rendered: ModelConfig, served: Mapping[str, Any]) -> list[Difference]:
    """Where the server's configuration (as its JSON) has another batcher, other instances or another largest batch.

    A delay of 0, no preferred size and no queue policy are values like others, though a message leaves them out.
    """
    from google.protobuf import json_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    effective = json_format.ParseDict(dict(served), ModelConfig(), ignore_unknown_fields=True)
    wanted, given = (dict(_values(config)) for config in (rendered, effective))
    return [Difference(name, value, given[name]) for name, value in wanted.items() if given[name] != value]


def _values(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Field and value in words, the same fields for every configuration."""
    batcher = config.dynamic_batching
    # Without any, Triton itself prefers the largest batch, and says so.
    own = [config.max_batch_size] if config.HasField("dynamic_batching") and config.max_batch_size else []
    preferred = sorted(batcher.preferred_batch_size) or own
    yield "max_batch_size", str(config.max_batch_size)
    if config.platform == "ensemble":
        return
    yield "dynamic_batching", "set" if config.HasField("dynamic_batching") else "nothing"
    yield "dynamic_batching.max_queue_delay_microseconds", str(batcher.max_queue_delay_microseconds)
    yield "dynamic_batching.preferred_batch_size", str(preferred)
    yield "dynamic_batching.default_queue_policy", _policy(batcher.default_queue_policy)
    levels = {level: _policy(policy) for level, policy in sorted(batcher.priority_queue_policy.items())}
    yield "dynamic_batching.priority_queue_policy", str(levels)
    for name in ("preserve_ordering", "priority_levels", "default_priority_level"):
        yield f"dynamic_batching.{name}", str(getattr(batcher, name))
    yield "instance_group.count", str([max(1, group.count) for group in config.instance_group] or [1])


def _policy(policy: Any) -> str:
    """All of a queue policy."""
    return str({field.name: getattr(policy, field.name) for field in policy.DESCRIPTOR.fields})
