"""A values file against the specs: everything in it that contradicts them, at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.operations import autoscaling, sizes
from deploy.operations.words import shown
from deploy.values.engines import engines_against
from deploy.values.made import Facts, Values
from deploy.values.pipelines import pipelines_against
from deploy.values.quantity import bytes_of
from generator.load.tree import Tree, TreePath, field_path
from generator.memory.flags import WRONG_DATA, in_one_word, too_small
from generator.problems import Problem, Severity

# Rounding of what people write: 3.999 GiB for 4 is no contradiction.
_CLOSE = 0.999


@dataclass(frozen=True)
class Given:
    """A values file over the derived values, as `helm -f derived -f file` puts them together."""

    tree: Tree
    merged: Mapping[str, Any]

    def says(self, *path: str) -> bool:
        """Whether the file itself says something at `path`, and it could be read."""
        return path in self.tree and path not in self.tree.unknown

    def number(self, *path: str) -> float | None:
        """The number that counts at `path`; None where there is none."""
        found: Any = self.merged
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    def value(self, *path: str) -> Any:
        """What the file says at `path`; None where it says nothing."""
        found: Any = self.tree.data
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def problem(
        self, code: str, path: TreePath, message: str, hint: str, severity: Severity = Severity.ERROR
    ) -> Problem:
        """At the value of `path`, as its file has it."""
        return Problem(code, self.tree.place(*path), field_path(path), message, hint, severity)


def check_tree(tree: Tree, values: Values) -> list[Problem]:
    """What a parsed values file says against the specs that `values` were made of."""
    given = Given(tree, merged(values.data, tree.data))
    return [problem for rule in _RULES for problem in rule(given, values.facts)]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm does: mappings are merged, lists and everything else replaced, and null removes."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            found[key] = merged(under, value)
        else:
            found[key] = value
    return found


def _drain(given: Given, facts: Facts) -> Iterator[Problem]:
    names = ("preStopSeconds", "exitTimeoutSeconds", "marginSeconds")
    needed = facts.drain.exit_timeout_s
    exit_s = given.number("drain", "exitTimeoutSeconds")
    if given.says("drain", "exitTimeoutSeconds") and exit_s is not None and exit_s < needed:
        yield given.problem(
            "TK422", ("drain", "exitTimeoutSeconds"),
            f"the server gives what it has begun {exit_s:g} s; the longest request and the unloading of the models "
            f"take up to {needed}",
            f"remove it, or say at least {needed}",
        )  # fmt: skip
    grace = ("drain", "terminationGracePeriodSeconds")
    parts = [given.number("drain", name) for name in names]
    total = sum(part for part in parts if part is not None)
    grace_s = given.number(*grace)
    path = next((("drain", name) for name in names if given.says("drain", name)), None)
    if grace_s is not None and grace_s < total and (given.says(*grace) or path):
        yield given.problem(
            "TK422", grace if given.says(*grace) else path or grace,
            f"the pod is killed {grace_s:g} s after its deletion; preStop, exit timeout and margin take {total:g}",
            "remove terminationGracePeriodSeconds: it is the sum of the three then",
        )  # fmt: skip


def _shared_memory(given: Given, facts: Facts) -> Iterator[Problem]:
    path = ("sharedMemoryBytes",)
    needed, found = sizes.shared_memory_bytes(facts.memory), given.number(*path)
    if given.says(*path) and found is not None and found < needed:
        yield given.problem(
            "TK423", path,
            f"{found:,.0f} bytes of shared memory; full batches in all instances of Python models take {needed:,}",
            f"remove it, or say at least {needed}; `tritonkit memory` shows which model takes what",
        )  # fmt: skip


def _image(given: Given, facts: Facts) -> Iterator[Problem]:
    target = facts.plans[0].target
    release, tag = given.value("image", "release"), given.value("image", "tag")
    if given.says("image", "release") and release != target.server:
        written = given.tree.raw("image", "release") or release
        yield given.problem(
            "TK424", ("image", "release"),
            f"the image is of Triton {written}; target `{target.name}` is rendered for {target.server}",
            f'remove it, or say `server: "{written}"` in the spec and render again',
        )  # fmt: skip
    if isinstance(tag, str) and tag[:5] != target.server and tag[2:3] == "." and tag[:2].isdigit():
        yield given.problem(
            "TK424", ("image", "tag"),
            f"the tag is of Triton {tag[:5]}; target `{target.name}` is rendered for {target.server}",
            f"use a tag of {target.server}, or change `server` in the spec and render again",
        )  # fmt: skip


def _gpu(given: Given, facts: Facts) -> Iterator[Problem]:
    count, product = given.number("gpu", "count"), given.value("gpu", "product")
    if given.says("gpu", "count") and count is not None and count < facts.least_gpus:
        on_gpu = ", ".join(dict.fromkeys(engine.model for engine in facts.engines)) or facts.plans[0].name
        yield given.problem(
            "TK425", ("gpu", "count"),
            f"a pod gets {count:g} GPUs; instances of {on_gpu} need {facts.least_gpus}, or Triton does not start",
            "remove it, or make the spec's target one without a GPU",
        )  # fmt: skip
    if given.says("gpu", "product") and product and facts.product and product != facts.product:
        yield given.problem(
            "TK426", ("gpu", "product"),
            f"pods go to nodes with {product}; {_for_what(facts)} {facts.product}, and run on nothing else",
            f"remove it, or build the engines on {product}",
        )  # fmt: skip


def _for_what(facts: Facts) -> str:
    built = any(engine.product for engine in facts.engines)
    return "the engines were built on" if built else "the target's engines are for"


def _pods(given: Given, facts: Facts) -> Iterator[Problem]:
    scaled = any(given.value("autoscaling", kind, "enabled") is True for kind in ("hpa", "keda"))
    path = ("autoscaling", "maxReplicas") if scaled else ("workload", "replicas")
    pods = given.number(*path)
    if not given.says(*path) or pods is None:
        return
    shares = list(autoscaling.shares_of(facts.plans, facts.measured))
    needed = sum(share.pods for share in shares)
    if needed <= pods * (1 + 1e-9):  # 0.1 + 0.2 of a pod are no more than 0.3
        return
    if len(shares) == 1:
        [one] = shares
        told = (
            f"{shown(pods * one.carried_rps)} requests/s of `{one.pipeline}`, {shown(one.promised_rps)} are promised"
        )
        what = f"{pods:g} pods carry {told} ({one.source})"
    else:
        each = ", ".join(
            f"{shown(share.promised_rps)} requests/s of `{share.pipeline}` take {shown(share.pods)} of them "
            f"({share.source})"
            for share in shares
        )
        what = f"{pods:g} pods do not carry what is promised: {each}, {shown(needed)} together"
    least = max(facts.pods.replicas, math.ceil(needed) + autoscaling.SPARE)
    yield given.problem("TK427", path, what, f"say at least {least}, one of which may be gone")


def _flags(given: Given, facts: Facts) -> Iterator[Problem]:
    path = ("server", "extraFlags")
    found = given.value(*path)
    if not given.says(*path) or not isinstance(found, list):
        return
    written = set(in_one_word(found))
    for flag, why in sizes.flags_of(facts.plans, facts.memory, facts.response_cache_bytes):
        if flag not in written:
            yield given.problem(
                "TK432", path, f"the list takes the place of the derived one, and {flag} is not in it: {why}",
                "add it",
            )  # fmt: skip
    for pool in too_small(found, facts.memory):
        yield given.problem(
            "TK442", path,
            f"{pool.flag} is less than the {pool.needed_bytes:,} bytes that the pipelines need: {WRONG_DATA}",
            f"say at least {pool.needed_bytes}, or remove it",
        )  # fmt: skip


def _startup(given: Given, facts: Facts) -> Iterator[Problem]:
    section = ("probes", "startup")
    names = [name for name in ("failureThreshold", "periodSeconds") if given.says(*section, name)]
    period, failures = (given.number(*section, name) for name in ("periodSeconds", "failureThreshold"))
    if names and period is not None and failures is not None and period * failures < facts.startup.expected_s:
        yield given.problem(
            "TK434", (*section, names[0]),
            f"a pod is killed after {period * failures:g} s; its models are expected to take "
            f"{facts.startup.expected_s:.0f} s ({facts.startup.made_of})",
            f"remove it: the derived budget is {facts.startup.budget_s} s",
        )  # fmt: skip


def _memory(given: Given, facts: Facts) -> Iterator[Problem]:
    for kind, severity in (("limits", Severity.ERROR), ("requests", Severity.WARNING)):
        path = ("resources", kind, "memory")
        found = bytes_of(given.value(*path))
        if given.says(*path) and found is not None and found < facts.pod.known_bytes * _CLOSE:
            parts = ", ".join(f"{part.what} {part.size:,}" for part in facts.pod.parts)
            yield given.problem(
                "TK436", path,
                f"{found:,} bytes are less than what is known to be needed, {facts.pod.known_bytes:,}: {parts}",
                "say more; /dev/shm is not in it, the chart adds that", severity,
            )  # fmt: skip


def _bodies(given: Given, facts: Facts) -> Iterator[Problem]:
    path = ("server", "maxHttpInputBytes")
    found = given.number(*path)
    for plan in facts.plans if given.says(*path) and found is not None else ():
        needed = sizes.request_bytes(plan)
        if found is not None and found < needed:
            yield given.problem(
                "TK437", path,
                f"the server refuses bodies of more than {found:,.0f} bytes; a request to `{plan.name}` may have "
                f"{needed:,}",
                "remove it, or lower `limits: {max_bytes}` or `max_batch_size` in the spec", Severity.WARNING,
            )  # fmt: skip


def _pipelines(given: Given, facts: Facts) -> Iterator[Problem]:
    if given.says("pipelines"):
        yield from pipelines_against(given.tree, facts)


def _engines(given: Given, facts: Facts) -> Iterator[Problem]:
    if given.says("engineBuild"):
        yield from engines_against(given.tree, given.merged, facts)


_RULES: tuple[Callable[[Given, Facts], Iterator[Problem]], ...] = (
    _pipelines, _pods, _image, _gpu, _memory, _shared_memory, _bodies, _flags, _startup, _drain,
    _engines,
)  # fmt: skip
