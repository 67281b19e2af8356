"""The ensemble: the flow in Triton's words."""

from __future__ import annotations

from typing import Any

from generator.config.model import metrics_words
from generator.config.tensors import input_words, output_words
from generator.plan import EnsemblePlan

# The newest version of a step's model. Left out it would mean version 0, which nobody has.
NEWEST = -1


def ensemble_words(ensemble: EnsemblePlan) -> dict[str, Any]:
    """The ensemble's ModelConfig as plain data. An ensemble runs nothing itself: no backend, no instances."""
    words: dict[str, Any] = {
        # `config: {name: ""}` leaves it out: then it is the directory's.
        **({} if ensemble.config.get("name") == "" else {"name": ensemble.name}),
        "platform": "ensemble",
        "max_batch_size": ensemble.max_batch_size,
        "input": [input_words(t) for t in ensemble.inputs],
        "output": [output_words(t) for t in ensemble.outputs],
        "ensemble_scheduling": {
            "step": [
                {
                    "model_name": step.model,
                    "model_version": NEWEST if step.version is None else step.version,
                    "input_map": dict(step.inputs),
                    "output_map": dict(step.outputs),
                }
                for step in ensemble.steps
            ]
        },
    }
    if ensemble.response_cache:
        words["response_cache"] = {"enable": True}
    if ensemble.metrics is not None:
        words["model_metrics"] = metrics_words(ensemble.metrics)
    return words
