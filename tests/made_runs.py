"""Load tests and sweeps as they are on disk, made of a simulated queue instead of a server: seeded, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loadtest.results.run import (
    RUN_FILE,
    SAMPLES_FILE,
    IntervalRecord,
    JudgementRecord,
    Made,
    Objective,
    Percentiles,
    Run,
    Split,
    Traffic,
    Validity,
    WarmUp,
)
from loadtest.results.sweep import SWEEP_FILE, Choice, Point, Replicate, Sweep
from loadtest.samples.file import SampleWriter
from loadtest.samples.record import SAMPLE, Outcome, Samples, counted_us

Word = Literal["pass", "fail", "undecided", "invalid"]
RATE, DEADLINE_MS = 500.0, 1000.0


def queue_us(rng: np.random.Generator, due_us: np.ndarray, service_us: float, delay_us: float = 0.0) -> np.ndarray:
    """Latency of each request in a queue before one server: what waits for others, and is served at random times."""
    served = rng.lognormal(np.log(service_us), 0.35, len(due_us))
    # Lindley's recursion without a loop: the walk of work less time, over its lowest point so far.
    walk = np.concatenate([[0.0], np.cumsum(served[:-1] - np.diff(due_us))])
    waited = walk - np.minimum.accumulate(walk)
    return waited + served + rng.uniform(0.2, 1.0, len(due_us)) * delay_us + 180


def samples_of(
    seed: int, requests: int, *, rate: float = RATE, service_us: float = 900.0, delay_us: float = 0.0,
    warm_s: float = 1.5, failures: int = 0, cancelled: int = 0, pipelines: int = 1, lag_us: float = 40.0,
) -> Samples:  # fmt: skip
    """A run's samples in order of due time; the first `warm_s` are slow, as those of a cold server are."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1e6 / rate, requests))
    lag = rng.lognormal(np.log(lag_us), 0.6, requests)
    latency = queue_us(rng, due, service_us, delay_us) + lag
    latency *= 1 + 4 * np.exp(-due / (warm_s * 3e5)) * (due < warm_s * 1e6)
    samples = np.zeros(requests, SAMPLE)
    samples["due_us"], samples["lag_us"], samples["latency_us"] = due, lag, latency
    samples["payload"] = rng.integers(0, 64, requests)
    samples["pipeline"] = rng.choice(pipelines, requests)
    samples["status"] = 200
    wrong = rng.choice(np.flatnonzero(due > warm_s * 1e6), failures + cancelled, replace=False)
    samples["outcome"][wrong[:failures]] = rng.choice([Outcome.REFUSED, Outcome.TIMEOUT], failures)
    samples["status"][wrong[:failures]] = 503
    samples["outcome"][wrong[failures:]] = Outcome.CANCELLED
    return samples


def interval(ordered_us: np.ndarray, share: float, confidence: float = 0.99) -> IntervalRecord:
    """A percentile in milliseconds with the order statistics around it."""
    n = len(ordered_us)
    spread = 2.576 * np.sqrt(n * share * (1 - share))
    ranks = [
        int(np.clip(rank, 0, n - 1)) for rank in (np.ceil(share * n) - 1, share * n - spread, share * n + spread)
    ]
    value, low, high = (float(ordered_us[rank]) / 1000 for rank in ranks)
    return IntervalRecord(value=value, low=low, high=high, confidence=confidence)


def percentiles_of(latencies_us: np.ndarray) -> Percentiles:
    """What a run tells of its latencies."""
    ordered = np.sort(latencies_us)
    shares = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999))
    found = {field: interval(ordered, share) for field, share in shares}
    return Percentiles(**found, max_ms=ordered[-1] / 1000, mean_ms=float(ordered.mean()) / 1000)


def judged(p99: IntervalRecord | None, bound_ms: float, latencies_us: np.ndarray) -> JudgementRecord:
    """The judgement that the interval asks for; without one the run is invalid."""
    over = int(np.count_nonzero(latencies_us > bound_ms * 1000))
    if p99 is None:
        verdict: Word = "invalid"
        why = "The generator was late: what it measured is itself, not the server."
    elif p99.high <= bound_ms:
        verdict, why = "pass", f"p99 is at most {p99.high:.2f} ms, below the objective of {bound_ms:g} ms."
    elif p99.low > bound_ms:
        verdict, why = "fail", f"p99 is at least {p99.low:.2f} ms, above the objective of {bound_ms:g} ms."
    else:
        verdict, why = "undecided", f"p99 may lie on either side of the objective of {bound_ms:g} ms."
    by_binomial = "undecided" if verdict == "invalid" else verdict
    return JudgementRecord(
        verdict=verdict, why=why, requests=len(latencies_us), over=over, worth=len(latencies_us) * 0.62,
        by_binomial=by_binomial, needed=459 + 130 * over, error_rate=IntervalRecord(value=0.0, low=0.0, high=0.0004),
    )  # fmt: skip


def validity_of(samples: Samples, *, bound_us: float = 500.0, warnings: Sequence[str] = ()) -> Validity:
    """The guards of a run."""
    lag = samples["lag_us"]
    p50, p99 = (float(np.percentile(lag, share, method="inverted_cdf")) for share in (50, 99))
    late = [f"99 % of the sends were up to {p99:,.0f} µs late; the bound is {bound_us:,.0f} µs. Use more senders."]
    return Validity(
        valid=p99 <= bound_us, reasons=late if p99 > bound_us else [], warnings=list(warnings), lag_p50_us=p50,
        lag_p99_us=p99, lag_max_us=float(lag.max()), lag_bound_us=bound_us, busiest_core=0.31, busiest_core_bound=0.7,
        gc_pauses=0, gc_longest_us=0, clock_resolution_ns=1, waited_for_connection=3, senders=1,
    )  # fmt: skip


def splits_of(rng: np.random.Generator, requests: int, mean_batch: float, queue: float) -> list[Split]:
    """Two models of a pipeline: steps that run alone, and an engine that gathers batches."""
    sizes = 1 + rng.poisson(mean_batch - 1, max(int(requests / mean_batch), 1))
    counted = {int(size): int(np.count_nonzero(sizes == size)) for size in np.unique(sizes)}
    mean = float(sizes.mean())
    return [
        Split(model="digits_steps", requests=requests, executions=requests, mean_batch=1.0, queue_us=35.0,
              input_us=18.0, compute_us=210.0, output_us=9.0, batch_sizes={1: requests}),
        Split(model="digits_engine", requests=requests, executions=len(sizes), mean_batch=mean, queue_us=queue,
              input_us=31.0, compute_us=320 + 70 * mean, output_us=14.0, batch_sizes=counted),
    ]  # fmt: skip


def made_by(command: str, spec: str = "specs/digits.yaml") -> Made:
    """Where and how."""
    engine = {"name": "digits_engine", "platform": "onnxruntime_onnx", "max_batch_size": 32,
              "dynamic_batching": {"preferred_batch_size": [], "max_queue_delay_microseconds": "500"}}  # fmt: skip
    return Made(
        command=command, started="2026-11-22T10:00:00+00:00", spec=spec, spec_sha256="4f" * 32, target="embedded",
        server={"name": "triton", "version": "2.51.0"},
        machine={"cores": 8, "system": "Linux", "python": "3.11.9", "versions": {"numpy": "1.26.4"}},
        effective={"digits_engine": engine, "digits_steps": {"name": "digits_steps", "backend": "python"}},
    )  # fmt: skip


def make_run(
    folder: Path, *, seed: int = 1, requests: int = 15_000, bound_ms: float | None = 8.0, rate: float = RATE,
    mix: Mapping[str, float] | None = None, errors: Mapping[str, int] | None = None, stopped: str | None = None,
    changes: Mapping[str, Any] | None = None, warnings: Sequence[str] = (), lag_bound_us: float = 500.0, **shape: Any,
) -> Run:  # fmt: skip
    """Writes run.json and samples.bin to `folder`. `shape` is that of samples_of, `changes` are fields of Run."""
    mix = dict(mix or {"digits": 1.0})
    samples = samples_of(seed, requests, rate=rate, pipelines=len(mix), **shape)
    warm = int(np.searchsorted(samples["due_us"], shape.get("warm_s", 1.5) * 1e6))
    counted = counted_us(samples[warm:], int(DEADLINE_MS * 1000))
    validity = validity_of(samples, bound_us=lag_bound_us, warnings=warnings)
    told = percentiles_of(counted) if validity.valid else None
    p99 = told.p99_ms if told else None
    by_pipeline = {}
    if told and len(mix) > 1:
        rest = samples[warm:]
        by_pipeline = {
            name: percentiles_of(counted_us(rest[rest["pipeline"] == place], int(DEADLINE_MS * 1000)))
            for place, name in enumerate(mix)
        }
    outcomes = {o.name.lower(): int(np.count_nonzero(samples["outcome"] == o)) for o in Outcome}
    drawn = {"kind": "poisson", "rate_rps": rate, "seed": seed}
    wall_s = float(samples["due_us"][-1]) / 1e6 if requests else 0.0
    rng = np.random.default_rng(seed + 1000)
    run = Run(
        pipeline=next(iter(mix)), objective=Objective(p99_ms=bound_ms) if bound_ms else None,
        judgement=judged(p99, bound_ms or 1e9, counted), percentiles=told, by_pipeline=by_pipeline, validity=validity,
        warm_up=WarmUp(requests=warm, seconds=shape.get("warm_s", 1.5), found_by="a change point of the latency series"),
        requests=requests, counted=len(counted), outcomes={name: n for name, n in outcomes.items() if n},
        achieved_rps=outcomes["ok"] / wall_s if wall_s else 0.0, wall_s=wall_s,
        traffic=Traffic(drawn=drawn, mix=mix, protocol="http", client="raw", rate_rps=rate, deadline_ms=DEADLINE_MS,
                        payloads=dict.fromkeys(mix, 64), payload_bytes={name: [3148] for name in mix}),
        splits=splits_of(rng, requests, 2.6, 640.0), outside_us=240.0, errors=dict(errors or {}), stopped=stopped,
        made=made_by(f"tritonkit load run specs/digits.yaml --rate {rate:g} --duration {wall_s:.0f} --seed {seed}"),
    )  # fmt: skip
    run = run.model_copy(update=dict(changes or {}))
    folder.mkdir(parents=True)
    with SampleWriter(folder / SAMPLES_FILE, {"deadline_us": int(DEADLINE_MS * 1000)}) as writer:
        writer.append(samples)
    (folder / RUN_FILE).write_text(run.model_dump_json(indent=2))
    return run


def _point(settings: Mapping[str, Any], seed: int, turns: int, bound_ms: float, *, invalid: bool) -> Point:
    delay = float(settings.get("max_queue_delay_us", 500))
    instances = int(settings.get("instances", 1))
    # Some delay makes batches, which save time; more of it only makes requests wait.
    service = (620 + 900 * np.exp(-delay / 350)) / instances**0.6
    mean_batch = 1.0 + 3.4 * (1 - np.exp(-delay / 900)) / instances
    latencies, replicates = [], []
    for turn in range(turns):
        samples = samples_of(seed + turn, 6000, service_us=service, delay_us=delay * 0.8, warm_s=0.5,
                             lag_us=2000.0 if invalid else 40.0)  # fmt: skip
        counted = counted_us(samples[250:], int(DEADLINE_MS * 1000))
        told, validity = percentiles_of(counted), validity_of(samples)
        latencies.append(counted)
        values = (told.p50_ms.value, told.p95_ms.value, told.p99_ms.value) if validity.valid else (None, None, None)
        replicates.append(Replicate(
            round=turn + 1, order=seed % 7, seed=seed + turn, requests=6000, outcomes={"ok": 6000}, p50_ms=values[0],
            p95_ms=values[1], p99_ms=values[2], achieved_rps=RATE * (1 + 0.002 * turn), validity=validity,
            folder=f"turns/{seed}-{turn}",
        ))  # fmt: skip
    every = np.concatenate(latencies)
    told = None if invalid else percentiles_of(every)
    rate = IntervalRecord(value=RATE - 0.002 * delay, low=RATE - 4, high=RATE + 3)
    return Point(
        settings=dict(settings), rate_rps=RATE, added_because="the curve bends here" if delay == 250 else "asked for",
        requests=len(every), p50_ms=told.p50_ms if told else None, p95_ms=told.p95_ms if told else None,
        p99_ms=told.p99_ms if told else None, throughput_rps=None if invalid else rate, mean_batch=float(mean_batch),
        splits=splits_of(np.random.default_rng(seed), len(every), float(mean_batch), 120 + 0.6 * delay),
        judgement=judged(told.p99_ms if told else None, bound_ms, every), replicates=replicates, server_epoch=1,
        effective=made_by("").effective["digits_engine"],
    )  # fmt: skip


def _highest(point: Point) -> IntervalRecord | None:
    """The rate that the point's p99 would leave room for."""
    if point.p99_ms is None:
        return None
    rate = 4000 / point.p99_ms.value
    return IntervalRecord(value=rate, low=rate * 0.94, high=rate * 1.03)


def make_sweep(
    folder: Path, *, over: Mapping[str, Sequence[Any]] | None = None, bound_ms: float = 8.0, turns: int = 3,
    invalid: Sequence[int] = (), complete: bool = True, chosen: bool = True, find_max: bool = False, changes: Mapping[str, Any] | None = None,
) -> Sweep:  # fmt: skip
    """Writes sweep.json to `folder`; `invalid` are the places of points that cannot be believed."""
    over = over or {"max_queue_delay_us": [0, 100, 250, 500, 1000, 2000, 4000, 7000, 10000]}
    combined = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
    points = [
        _point(settings, 100 + 10 * place, turns, bound_ms, invalid=place in invalid)
        for place, settings in enumerate(combined)
    ]
    if find_max:
        points = [point.model_copy(update={"max_rate": _highest(point)}) for point in points]
    passing = sorted((p for p in points if p.judgement.verdict == "pass" and p.p99_ms), key=lambda p: p.p99_ms.value)
    choice = Choice(settings=None, why=f"No setting keeps p99 below {bound_ms:g} ms.")
    if passing and chosen:
        best = passing[0]
        tied = [p.settings for p in passing[1:] if p.p99_ms.low <= best.p99_ms.high]
        written = "models:\n  digits_engine:\n    batching:\n" + "".join(
            f"      {key}: {value}\n" for key, value in best.settings.items()
        )
        why = f"It has the lowest p99, {best.p99_ms.value:.2f} ms, and keeps the objective of {bound_ms:g} ms."
        choice = Choice(settings=best.settings, tied=tied, why=why, written=written)
    sweep = Sweep(
        pipeline="digits", objective=Objective(p99_ms=bound_ms), over={key: list(v) for key, v in over.items()},
        member="digits_engine", rate_rps=None if find_max else RATE, find_max=find_max, rounds=turns, seconds=12.0, complete=complete,
        points=points, choice=choice, requests=sum(point.requests for point in points), wall_s=361.0, seed=7,
        made=made_by("tritonkit load sweep specs/digits.yaml --over max_queue_delay_us=0:10000 --rate 500 --seed 7"),
    ).model_copy(update=dict(changes or {}))  # fmt: skip
    folder.mkdir(parents=True)
    (folder / SWEEP_FILE).write_text(sweep.model_dump_json(indent=2))
    return sweep
