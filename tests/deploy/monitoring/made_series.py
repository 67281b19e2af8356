"""Series as a release of two pods would have them, healthy unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chart_tools import DIGITS, NAME, NAMESPACE, PHOTOS, RELEASE

PODS = (f"{NAME}-6d8f9c7b54-x2vkl", f"{NAME}-6d8f9c7b54-zz9qd")
DAY_S = 86_400
Over = Callable[[int], float | None]


def constant(value: float) -> Over:
    """The same at every minute."""
    return lambda _: value


def between(first: int, last: int, inside: float, outside: float = 0) -> Over:
    """`inside` at the minutes from `first` up to and without `last`."""
    return lambda minute: inside if first <= minute < last else outside


@dataclass
class World:
    """What goes on, minute by minute: shares and depths are those of `digits`, in every pod unless it says otherwise."""

    minutes: int
    step_m: int = 1
    rps: Over = field(default=constant(100))  # requests a second, of each pod
    failed: Over = field(default=constant(0))  # share of them
    slow: Over = field(default=constant(0.002))  # share of those that are answered, past the objective
    mean_ms: Over = field(default=constant(6))
    depth: Over = field(default=constant(2))  # of digits_engine's queue
    first_depth: Over | None = None  # the same in the first pod alone
    up: Over = field(default=constant(1))
    first_up: Over | None = None
    scraped: bool = True
    ready: Over = field(default=constant(2))
    restarts: Over = field(default=constant(0))  # of the first pod, so far
    gpu: Over = field(default=constant(0.6))
    unloaded: Over = field(default=constant(0))  # 1 while the second pod has no digits_postprocess
    replicas: Over = field(default=constant(2))
    age_days: float = 1.0  # of the pods at minute 0
    kubernetes: bool = True  # kube-state-metrics is there
    more: Mapping[str, list[float | None]] = field(default_factory=dict)

    def series(self) -> dict[str, list[float | None]]:
        """All series by their PromQL names, a value every `step_m` minutes."""
        found: dict[str, list[float | None]] = {}
        for pod in PODS:
            found |= self._server(pod)
        if self.kubernetes:
            found |= self._kubernetes()
        return found | dict(self.more)

    def _server(self, pod: str) -> dict[str, list[float | None]]:
        first = pod == PODS[0]
        if not self.scraped:
            return {}
        up = self.first_up if first and self.first_up else self.up
        depth = self.first_depth if first and self.first_depth else self.depth
        alive = [up(minute) for minute in self._moments()]
        found = {_name("up", pod): alive}
        for model in {*DIGITS["models"], "digits", *PHOTOS["models"]}:
            found |= self._model(pod, model)
            waits = depth if model == "digits_engine" else constant(0)
            found[_name("nv_inference_pending_request_count", pod, model=model)] = self._gauge(waits)
        found[_name("nv_gpu_memory_used_bytes", pod, gpu_uuid=f"GPU-{pod[-5:]}")] = self._gauge(
            lambda minute: 80e9 * (self.gpu(minute) or 0) if first else 40e9
        )
        found[_name("nv_gpu_memory_total_bytes", pod, gpu_uuid=f"GPU-{pod[-5:]}")] = self._gauge(constant(80e9))
        # A pod that does not answer has no series but `up`.
        return {
            name: [v if name.startswith("up") or on else None for v, on in zip(values, alive, strict=True)]
            for name, values in found.items()
        }

    def _model(self, pod: str, model: str) -> dict[str, list[float | None]]:
        ours = model.startswith("digits")
        failed = self.failed if ours else constant(0)
        slow = self.slow if ours else constant(0.0)
        bounds = DIGITS["latencyBucketsMs"] if ours else PHOTOS["latencyBucketsMs"]
        objective = 20 if ours else 12.5
        twice = 2 if model == "digits" else 1  # as the server counts an ensemble's failures

        def rate(minute: int) -> float:
            return (self.rps(minute) or 0) * 60

        def answered(minute: int) -> float:
            return rate(minute) * (1 - (failed(minute) or 0))

        success = self._counter(answered)
        if model == "digits_postprocess" and pod == PODS[1]:
            gone = [self.unloaded(minute) for minute in self._moments()]
            success = [None if out else value for value, out in zip(success, gone, strict=True)]
        found = {
            _name("nv_inference_request_success", pod, model=model): success,
            _name("nv_inference_request_failure", pod, model=model, reason="OTHER"): self._counter(
                lambda minute: twice * rate(minute) * (failed(minute) or 0)
            ),
            _name("nv_inference_request_failure", pod, model=model, reason="REJECTED"): self._gauge(constant(0)),
            _name("nv_inference_request_duration_us", pod, model=model): self._counter(
                lambda minute: answered(minute) * 1000 * ((self.mean_ms(minute) or 0) if ours else 3)
            ),
        }
        family = "nv_inference_first_response_histogram_ms"
        for bound in [*bounds, "+Inf"]:
            only_fast = bound != "+Inf" and bound <= objective
            found[_name(f"{family}_bucket", pod, model=model, le=f"{bound}")] = self._counter(
                lambda minute, only_fast=only_fast: rate(minute) * (1 - (slow(minute) or 0) * only_fast)
            )
        found[_name(f"{family}_count", pod, model=model)] = self._counter(rate)
        return found

    def _kubernetes(self) -> dict[str, list[float | None]]:
        of = f'{{namespace="{NAMESPACE}",deployment="{NAME}"}}'
        hpa = f'{{namespace="{NAMESPACE}",horizontalpodautoscaler="{NAME}"}}'
        container = f'namespace="{NAMESPACE}",pod="{PODS[0]}",container="tritonserver"'
        return {
            f"kube_deployment_spec_replicas{of}": self._gauge(constant(2)),
            f"kube_deployment_status_replicas_ready{of}": self._gauge(self.ready),
            f"kube_pod_container_status_restarts_total{{{container}}}": self._gauge(self.restarts),
            f'kube_pod_start_time{{namespace="{NAMESPACE}",pod="{PODS[0]}"}}': self._gauge(
                constant(-self.age_days * DAY_S)
            ),
            f'kube_pod_start_time{{namespace="{NAMESPACE}",pod="{NAME}-digits-1a2b3c4d-x2vkl"}}': self._gauge(
                constant(-1000 * DAY_S)  # an engine's Job of long ago is no pod of the release
            ),
            f"kube_horizontalpodautoscaler_status_current_replicas{hpa}": self._gauge(self.replicas),
        }

    def _moments(self) -> range:
        return range(0, self.minutes + 1, self.step_m)

    def _gauge(self, over: Over) -> list[float | None]:
        return [over(minute) for minute in self._moments()]

    def _counter(self, per_minute: Callable[[int], float]) -> list[float | None]:
        total, values = 0.0, list[float | None]()
        for minute in self._moments():
            values.append(total)
            total += per_minute(minute) * self.step_m
        return values


def _name(metric: str, pod: str, **labels: str) -> str:
    words = {"namespace": NAMESPACE, "release": RELEASE, "pod": pod, **labels}
    if "model" in labels:
        words["version"] = "1"
    return metric + "{" + ",".join(f'{key}="{value}"' for key, value in words.items()) + "}"
