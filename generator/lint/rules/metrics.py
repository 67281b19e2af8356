"""model_metrics: histograms of a model's own buckets, from release 24.11 on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule

NEEDS = ("model_metrics",)
_SOURCE = "core model_config_utils.cc, ValidateModelMetrics"
_SINCE = "24.11"  # before it, the whole field is unknown
_HISTOGRAMS = ("nv_inference_first_response_histogram_ms",)


def _controls(model: Model) -> Iterator[tuple[str, Any]]:
    if model.config.HasField("model_metrics") and model.release >= _SINCE:
        for i, control in enumerate(model.config.model_metrics.metric_control):
            yield f"model_metrics.metric_control[{i}]", control


@rule("TK665", ERROR, _SOURCE, live=False)
def no_family(model: Model) -> Iterator[Finding]:
    """A metric control that does not name a family.

    `metric_identifier { family: "…" }` says which of the server's metrics is meant, such as
    `nv_inference_first_response_histogram_ms`. Without it the server refuses the model.

    Bad:
        metric_control [ { histogram_options { buckets: [ 1, 5 ] } } ]
    Good:
        metric_control [ {
            metric_identifier { family: "nv_inference_first_response_histogram_ms" }
    """
    for path, control in _controls(model):
        if not control.metric_identifier.family:
            place = f"{path}.metric_identifier"
            yield model.found(place, "this metric_control names no family", "write `metric_identifier { family: … }`")


@rule("TK666", ERROR, _SOURCE, live=False)
def no_buckets(model: Model) -> Iterator[Finding]:
    """A metric control without buckets.

    The buckets of the histogram are all that can be set, so the server wants `histogram_options` with one bucket at
    least.

    Bad:
        histogram_options { }
    Good:
        histogram_options { buckets: [ 1, 5 ] }
    """
    for path, control in _controls(model):
        if not control.histogram_options.buckets:
            place = f"{path}.histogram_options"
            yield model.found(
                place, "this metric_control has no buckets", "write `histogram_options { buckets: [ … ] }`"
            )


@rule("TK667", WARNING, "core metric_model_reporter.cc, MetricReporterConfig::ParseConfig", live=False)
def family_that_cannot_be_set(model: Model) -> Iterator[Finding]:
    """A metric control of a family that has no buckets to set.

    Of the server's own metrics only the time to the first response is a histogram. For another family the server logs
    a warning, and the buckets count for nothing.

    Bad:
        metric_identifier { family: "nv_inference_request_duration_us" }
    Good:
        metric_identifier { family: "nv_inference_first_response_histogram_ms" }
    """
    for path, control in _controls(model):
        family = control.metric_identifier.family
        if family and family not in _HISTOGRAMS:
            text = f"`{family}` is no histogram whose buckets can be set; valid: {', '.join(_HISTOGRAMS)}"
            yield model.found(f"{path}.metric_identifier.family", text, "correct the family, or remove the control")
