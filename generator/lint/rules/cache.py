"""The response cache: which models the server does not let use it."""

from __future__ import annotations

from collections.abc import Iterator

from generator.lint.model import Model
from generator.lint.rule import ERROR, Finding, rule

NEEDS = ("response_cache",)
_SOURCE = "core model_config_utils.cc, ValidateModelConfig"
_FIELD = "response_cache.enable"


@rule("TK640", ERROR, _SOURCE)
def cached_sequences(model: Model) -> Iterator[Finding]:
    """The response cache with sequence batching.

    What a request of a sequence answers depends on the requests before it, and the cache does not know them. The
    server refuses the two together.

    Bad:
        response_cache { enable: true }
        sequence_batching { }
    Good:
        response_cache { enable: true }
        dynamic_batching { }
    """
    config = model.config
    if config.response_cache.enable and config.HasField("sequence_batching"):
        yield model.found(_FIELD, "the response cache does not go with sequence_batching", "drop one of the two")


@rule("TK641", ERROR, _SOURCE)
def cached_decoupled(model: Model) -> Iterator[Finding]:
    """The response cache in a decoupled model.

    A decoupled model answers a request any number of times, and the cache keeps one answer a request. The server
    refuses the two together. An ensemble is decoupled if one of its models is.

    Bad:
        response_cache { enable: true }
        model_transaction_policy { decoupled: true }
    Good:
        response_cache { enable: true }
        model_transaction_policy { decoupled: false }
    """
    config = model.config
    if not config.response_cache.enable or config.HasField("sequence_batching"):
        return
    if config.model_transaction_policy.decoupled:
        why = "is decoupled"
    elif model.completed.model_transaction_policy.decoupled:
        why = "has a decoupled model in it"
    else:
        return
    text = f"the response cache does not go with a decoupled model: `{model.name}` {why}"
    yield model.found(_FIELD, text, "remove response_cache")
