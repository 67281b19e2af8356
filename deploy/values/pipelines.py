"""A values file's `pipelines` against the specs: alerts and dashboards would speak of something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.values.made import Facts
from deploy.values.parts import pipelines_part
from deploy.values.text import data_of
from generator.collector import did_you_mean, names
from generator.load.tree import Tree, TreePath, field_path
from generator.plan import Plan
from generator.problems import Problem

_SAME = ("models", "queueModels", "maxBatchSize")


def pipelines_against(tree: Tree, facts: Facts) -> Iterator[Problem]:
    """Everything that differs; the list of a values file takes the place of the derived one."""
    found = tree.data.get("pipelines")
    if not isinstance(found, list):
        return
    plans = {plan.name: plan for plan in facts.plans}
    told = set()
    for index, entry in enumerate(found):
        if not isinstance(entry, Mapping):
            continue
        path: TreePath = ("pipelines", index)
        name = entry.get("name")
        if name not in plans:
            yield _problem(
                tree, (*path, "name"), f"the release serves no pipeline `{name}`; it serves {names(plans)}",
                did_you_mean(str(name), plans) or "remove it, or name its spec too",
            )  # fmt: skip
            continue
        told.add(name)
        yield from _one(tree, path, entry, plans[name])
    for name in [name for name in plans if name not in told]:
        yield _problem(
            tree,
            ("pipelines",),
            f"`{name}` is not in the list, so nothing watches it",
            "leave `pipelines` as derived",
        )


def _one(tree: Tree, path: TreePath, entry: Mapping[str, Any], plan: Plan) -> Iterator[Problem]:
    [derived] = [data_of(section) for section in pipelines_part([plan])]
    objective, promised = entry.get("objective"), derived.get("objective", {})
    for field, value in objective.items() if isinstance(objective, Mapping) else ():
        if promised.get(field) != value:
            yield _problem(
                tree, (*path, "objective", field),
                f"{value} here; {plan.spec_file} promises {promised.get(field, 'nothing')}",
                "change the spec, and write the values again",
            )  # fmt: skip
    for field in _SAME:
        if field in entry and entry[field] != derived[field]:
            yield _problem(
                tree, (*path, field), f"{entry[field]} here; of {plan.spec_file} it is {derived[field]}", "remove it"
            )
    longest = entry.get("longestRequestSeconds")
    if isinstance(longest, int | float) and longest < derived["longestRequestSeconds"]:
        yield _problem(
            tree, (*path, "longestRequestSeconds"),
            f"{longest} here; a request may take {derived['longestRequestSeconds']}", "remove it",
        )  # fmt: skip
    bounds, p99_ms = entry.get("latencyBucketsMs"), promised.get("p99Ms")
    if isinstance(bounds, list) and bounds and p99_ms is not None and p99_ms not in bounds:
        yield _problem(
            tree, (*path, "latencyBucketsMs"),
            f"no bound at the objective of {p99_ms} ms, so requests slower than that cannot be counted",
            f"{derived['latencyBucketsMs']} are what the server has", "TK430",
        )  # fmt: skip
    elif isinstance(bounds, list) and bounds and bounds != derived["latencyBucketsMs"]:
        yield _problem(
            tree, (*path, "latencyBucketsMs"),
            f"the rendered configuration has the bounds {derived['latencyBucketsMs']}", "remove it", "TK430",
        )  # fmt: skip


def _problem(tree: Tree, path: TreePath, message: str, hint: str, code: str = "TK435") -> Problem:
    return Problem(code, tree.place(*path), field_path(path), message, hint)
