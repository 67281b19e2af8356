"""Whether a server that runs already serves what the specs say for a target: the verdict is of what it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generator.config import model_configs
from generator.config.served import Difference, compare, swept_differences

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from generator.plan import Plan

_SHOWN = 3
_COUNT = "instance_group.count"


def differences(plans: Sequence[Plan], effective: Mapping[str, Mapping[str, Any]], target: str) -> list[str]:
    """A warning of what differs, and one of what is not known, where there is any.

    `effective` is each model's configuration as the server reports it, as JSON. Raises ProblemsError for plans that
    have no configuration.
    """
    configs = {name: config for plan in plans for name, (config, _) in model_configs(plan).items()}
    told, unknown = [], []
    for name, config in configs.items():
        differ = _of(config, effective.get(name))
        if differ is None:
            unknown.append(name)
            continue
        told += [f"{name}.{one.field} is {one.served} there and {one.rendered} in the specs" for one in differ]
    found = []
    if told:
        more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        found.append(
            f"the server does not serve what the specs say for target {target}, and the verdict is of what it "
            f"serves: {'; '.join(told[:_SHOWN])}{more}"
        )
    if unknown:
        names = ", ".join(unknown[:_SHOWN]) + (f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else "")
        found.append(
            f"the server shows no configuration of {names}, so whether it serves what the specs say for target "
            f"{target} is not known"
        )
    return found


def _of(config: ModelConfig, served: Mapping[str, Any] | None) -> list[Difference] | None:
    """Each field once; None where the server shows none, or none that can be read.

    How many instances there are where the specs name none is the server's to say.
    """
    from google.protobuf.json_format import ParseError

    if served is None:
        return None
    try:
        both = (*compare(config, served), *swept_differences(config, served))  # the latter in plainer words
    except ParseError:
        return None
    named = any(group.count for group in config.instance_group)
    return list({one.field: one for one in both if named or one.field != _COUNT}.values())
