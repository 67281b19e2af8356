"""Warm-up requests: whether they fit the model."""

from __future__ import annotations

from generator.collector import Collector, did_you_mean, names
from generator.plan import ModelPlan
from generator.project import Project


def check_warmup(plan: ModelPlan, project: Project, collect: Collector) -> None:
    """Every warm-up request against the model's inputs, before the server would refuse it."""
    inputs = {t.name: t for t in plan.inputs}
    for index, warmup in enumerate(plan.warmup):
        path = (*plan.source, "warmup", index)
        if warmup.batch_size > max(1, plan.max_batch_size):
            collect.error(
                "TK222", (*path, "batch_size"),
                f"batch size {warmup.batch_size} is larger than max_batch_size {plan.max_batch_size}",
            )  # fmt: skip
        for name in [n for n, t in inputs.items() if n not in warmup.inputs and not t.optional]:
            collect.error("TK222", (*path, "inputs"), f"input `{name}` is missing; the model has {names(inputs)}")
        for name, given in warmup.inputs.items():
            here = (*path, "inputs", name)
            if name not in inputs:
                collect.error(
                    "TK222",
                    here,
                    f"the model has no input `{name}`; inputs: {names(inputs)}",
                    did_you_mean(name, inputs),
                )
            elif given.dims is None and -1 in inputs[name].dims:
                collect.error(
                    "TK222", here, f"`{name}` is {inputs[name].describe()}: a warm-up needs its `dims` without -1"
                )
            elif given.random and inputs[name].dtype == "STRING":
                collect.error("TK222", here, f"`{name}` is text, which has no random data", "use `zero` or `file`")
            if given.file is not None and not project.has_file(given.file):
                collect.error("TK201", (*here, "file"), f"there is no file `{given.file}`")
