"""The sections of a values file, each value with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deploy.embedded.needs import needs_of
from deploy.operations import sizes
from deploy.operations.autoscaling import queue_models
from deploy.operations.buckets import bounds_ms, tells_the_objective
from deploy.operations.drain import bounds_of, longest_of, longest_request_ms
from deploy.operations.engines import COPIES, CPUS, FIXED_BYTES, LEAST_BYTES, PlanJob
from deploy.operations.sizes import GIB, MIB
from deploy.operations.words import shown
from deploy.values.text import Said, Section
from generator.plan import Plan
from generator.resolve.histogram import HISTOGRAMS_SINCE

if TYPE_CHECKING:
    from deploy.values.made import Facts


_DEADLINE_S, _DEADLINES = 900, 2  # the chart's own progressDeadlineSeconds; startup budgets that a rollout may take


def pipelines_part(plans: Sequence[Plan]) -> list[Section]:
    """What is served: probes, alerts and dashboards of the chart follow from it."""
    return [dict(_pipeline(plan)) for plan in plans]


def _pipeline(plan: Plan) -> Iterator[tuple[str, Said]]:
    yield "name", Said(plan.name, f"`name` of {plan.spec_file}: what clients ask for")
    promised = plan.objective
    if promised is not None:  # without one there are no values: TK439
        told = {"p99Ms": promised.p99_ms, "throughputRps": promised.throughput_rps,
                "maxErrorRate": promised.max_error_rate}  # fmt: skip
        yield "objective", Said(told, "its `objective`")
    yield "models", Said([model.name for model in plan.models], f"its models on target `{plan.target.name}`")
    waiting = [model.name for model in queue_models(plan)]
    yield "queueModels", Said(waiting, "requests wait in front of each of them, and any may be the slow one")
    yield "maxBatchSize", Said(plan.max_batch_size, "the largest batch that one request may bring")
    seconds = round(longest_request_ms(plan) / 1000, 3)
    yield "longestRequestSeconds", Said(seconds, bounds_of(plan))
    bounds = bounds_ms(plan) if tells_the_objective(plan) else ()
    yield "latencyBucketsMs", Said(list(bounds), _why_buckets(plan))


def _why_buckets(plan: Plan) -> str:
    if plan.target.server < HISTOGRAMS_SINCE:
        return f"Triton {plan.target.server} has no latency histogram for it (since {HISTOGRAMS_SINCE})"
    if not tells_the_objective(plan):
        return "none: its configuration has no bound at the objective, so alerts go by the mean"
    return "the histogram's bounds in its rendered configuration: around the objective where the spec says none"


def pod_part(facts: Facts) -> dict[str, Any]:
    """How many pods, what runs in them, and what each needs of its node."""
    target = facts.plans[0].target
    image = {"release": Said(target.server, f"`server` of target `{target.name}`")}
    if facts.options.allow_vulnerable:
        image["allowVulnerable"] = Said(True, "asked for: the release has known holes")
    return {
        "workload": _workload(facts),
        "image": image,
        "gpu": {"count": Said(facts.gpus, _why_gpus(facts)), "product": Said(facts.product, _why_product(facts))},
        "resources": {"requests": _requests(facts)},
        "sharedMemoryBytes": Said(sizes.shared_memory_bytes(facts.memory), _why_shared_memory(facts)),
    }


def _workload(facts: Facts) -> dict[str, Said]:
    part = {"replicas": Said(facts.pods.replicas, facts.pods.why)}
    deadline_s = _DEADLINES * facts.startup.budget_s
    if deadline_s > _DEADLINE_S:
        part["progressDeadlineSeconds"] = Said(deadline_s, f"{_DEADLINES} times what a pod may take to start")
    return part


def _why_gpus(facts: Facts) -> str:
    if not facts.gpus:
        return "no model of the target runs on a GPU"
    gpu = ", ".join(dict.fromkeys(plan.target.gpu for plan in facts.plans if plan.target.gpu))
    if facts.gpus > facts.least_gpus:
        return f"as your values say; a group that names no GPU has its instances on each ({gpu})"
    return f"a pod: instance groups run on GPUs 0 to {facts.gpus - 1} ({gpu})" if facts.gpus > 1 else f"`gpu: {gpu}`"


def _why_product(facts: Facts) -> str:
    if facts.product:
        engine = next((engine for engine in facts.engines if engine.product), None)
        found = f"the GPU in engine.json of {engine.model}" if engine else "`gpu` of the target"
        return f"{found}, as nodes are labelled nvidia.com/gpu.product"
    if facts.engines:
        return (
            "not known: no engine has been built for this target, and a plan runs on the kind of GPU alone that it "
            "was built on; `tritonkit build --target` first"
        )
    return "nothing in it was compiled for one kind of GPU"


def _requests(facts: Facts) -> dict[str, Said]:
    parts = " + ".join(f"{_shown(part.size)} {part.what}" for part in facts.pod.parts)
    unknown = f" Not in it: {'; '.join(facts.pod.unknown)}." if facts.pod.unknown else ""
    return {
        "cpu": Said(str(sizes.cpus_of(facts.plans)), "one for each instance on the CPU, and one for the server"),
        "memory": Said(
            f"{facts.pod.request_bytes // MIB}Mi", f"{parts}; the chart adds sharedMemoryBytes.{unknown}"
        ),
    }  # fmt: skip


def _why_shared_memory(facts: Facts) -> str:
    each = [f"{m.instances} x {_shown(m.region_bytes)} {m.model}" for m in facts.memory.models if m.region_bytes]
    if not each:
        return "no Python model: what a container has anyway"
    text = f"full batches in every instance of the Python models: {', '.join(each)}; at least 64 MiB"
    assumed = f" Assumed: {'; '.join(facts.memory.assumptions)}." if facts.memory.assumptions else ""
    return f"{text}.{assumed}"


def server_part(facts: Facts) -> dict[str, Any]:
    """What its command line says."""
    needs, plans = needs_of(facts.plans), facts.plans
    busiest = "requests that keep every instance of the busiest model in full batches, and one batch waiting"
    part: dict[str, Any] = {
        "httpThreads": Said(needs.http_threads, f"an eighth of the {busiest}: from 8 to 32"),
        "grpcInferPool": Said(needs.grpc_infer_pool, f"the {busiest}: from 8 to 256"),
        "modelLoadThreads": Said(
            needs.load_threads, f"{sum(len(plan.models) for plan in plans)} models: from 4 to 16"
        ),
    }
    body = sizes.body_bytes(plans)
    if body > sizes.LEAST_BODY_BYTES:
        why = "the largest request: a full batch, or one item at `limits: {max_bytes}`"
        part["maxHttpInputBytes"] = Said(body, why)
    grace_ms = facts.drain.exit_timeout_s * 1000
    part["grpcMaxConnectionAgeGraceMs"] = Said(grace_ms, "as drain.exitTimeoutSeconds: no request takes longer")
    flags = list(sizes.flags_of(plans, facts.memory, facts.response_cache_bytes))
    if flags:
        whys = "; ".join(f"{flag.partition('=')[0]}: {why}" for flag, why in flags)
        part["extraFlags"] = Said([flag for flag, _ in flags], whys)
    return part


def times_part(facts: Facts) -> dict[str, Any]:
    """How long pods may take to come and to go."""
    startup, drain = facts.startup, facts.drain
    longest_s = longest_of(facts.plans) / 1000
    why = (
        f"{startup.budget_s} s: four times what is expected, at least 120 s ({startup.made_of}: "
        f"{startup.expected_s:.0f} s)"
    )
    return {
        "probes": {
            "startup": {
                "periodSeconds": Said(startup.period_s, "how often it asks"),
                "failureThreshold": Said(startup.failures, why),
            }
        },
        "drain": {
            "preStopSeconds": Said(drain.pre_stop_s, "until nothing new is sent to a pod that goes"),
            "exitTimeoutSeconds": Said(
                drain.exit_timeout_s,
                f"the longest request, {shown(longest_s)} s, then the unloading of the model with the most instances",
            ),
            "marginSeconds": Said(drain.margin_s, f"all three are the pod's grace period: {drain.grace_s} s"),
        },
    }


def engine_part(facts: Facts) -> dict[str, Any]:
    """The Jobs that build what no machine here has built, for those who let the cluster do it."""
    missing = facts.missing
    if not missing.jobs:
        return {}
    there = [f"{folder} ({product})" if product else folder for folder, product in missing.there]
    installed = f" Installed already, and so without a Job: {', '.join(there)}." if there else ""
    why = (
        "say `true` and `claimName` in a file of your own, with the models on that claim: then the cluster builds "
        f"what is not installed here, and the pods wait for it.{installed}"
    )
    first = missing.jobs[0]
    image = (
        f'"": the server\'s, because a plan runs in the TensorRT that it was built with: {first.tensorrt} of '
        f"Triton {facts.plans[0].target.server}"
    )
    return {
        "engineBuild": {
            "enabled": Said(False, why), "image": Said("", image),
            "jobs": [_plan_job(job, facts) for job in missing.jobs],
        }
    }  # fmt: skip


def _plan_job(job: PlanJob, facts: Facts) -> dict[str, Said]:
    gpu = facts.plans[0].target.gpu
    if facts.product:
        product = "gpu.product above: a plan runs on the kind of GPU alone that it was built on"
    elif facts.is_of_one_gpu:
        product = f'"": as gpu.product, which you have to say: `gpu: {gpu}` is no node label'
    else:
        product = '"": as gpu.product; the engine asks for `hardware` that other GPUs have too'
    return {
        "name": Said(job.name, "the model and its version"),
        "gpuProduct": Said(facts.product, product),
        "command": Said(
            list(job.command),
            f"trtexec of TensorRT {job.tensorrt}; {job.precision} is in the graph; shapes: {job.shapes}; the timing "
            "cache stays on the claim",
        ),
        "modelFolder": Said(
            job.folder,
            f"where the server looks for {job.plan}. Put {job.prepared} there as {job.graph} before (`tritonkit "
            "build` writes it)",
        ),
        "request": Said(job.request, "of all that decides the plan: another one is another Job, and is waited for"),
        "memory": Said(
            f"{job.memory_bytes // GIB}Gi",
            f"assumed: {FIXED_BYTES // GIB} GiB and {COPIES} times the ONNX file, at least {LEAST_BYTES // GIB} GiB",
        ),
        "cpu": Said(str(CPUS), "assumed: the GPU is what a build waits for"),
    }


def autoscaling_part(facts: Facts) -> dict[str, Any]:
    """What an autoscaler works with, once one is turned on."""
    if facts.options.most_pods is not None:
        most = "as many as there is room for (`--max-pods`)"
    else:
        most = "twice the replicas above, at least 10; `--max-pods` says another"
    return {
        "minReplicas": Said(facts.pods.least, "one may be gone"),
        "maxReplicas": Said(facts.pods.most, most),
        "queueDepthPerPod": Said(
            facts.depth.requests, f"requests that wait in one pod when another is due. {facts.depth.why}"
        ),
    }


def _shown(size: int) -> str:
    if size >= GIB:
        return f"{size / GIB:.3g} GiB"
    return f"{size / MIB:.3g} MiB"
