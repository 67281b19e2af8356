"""One spec in each of its layouts, rendered under names of their own, so that one server can hold all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from generator.config import model_configs
from generator.lint.specs import checked_trees
from generator.plan import FlowProgram, Plan
from generator.problems import ProblemsError, UserError, errors
from generator.project import EMBEDDED, OneRun
from generator.render import Files
from generator.render.parameters import as_json
from generator.resolve.other_layout import in_layout
from generator.spec import Spec, Target
from generator.spec.pipeline import Layout
from generator.workspace import Workspace

LAYOUTS: tuple[Layout, ...] = ("ensemble", "fused", "folded")


@dataclass(frozen=True)
class LaidOut:
    """A pipeline in one layout: its Plan and files, every model with `_<layout>` behind its name."""

    layout: str
    plan: Plan
    files: Files


@dataclass(frozen=True)
class Layouts:
    """Those that the spec has, in the order of LAYOUTS; `left_out` says of each of the others why."""

    own: str
    found: Mapping[str, LaidOut]
    left_out: Mapping[str, str]


def in_layouts(work: Workspace) -> Layouts:
    """The one spec of an opened workspace on the embedded server, in every layout that differs from the others.

    Raises ProblemsError with everything that is wrong with the spec as it is, and UserError when there are several.
    """
    work.stop_on_errors()
    plans = work.plans.get(EMBEDDED, [])
    if len(plans) != 1 or len(work.specs) != 1:
        raise UserError(f"layouts are of one spec; found {len(plans)}", "name one file")
    checked_trees(work)
    spec, plan = work.specs[0].value, plans[0]
    found: dict[str, LaidOut] = {}
    left_out: dict[str, str] = {}
    for layout in LAYOUTS:
        try:
            laid_out = _in_layout(work, spec, plan, layout)
        except ProblemsError as error:
            left_out[layout] = "; ".join(f"{p.code} {p.message}" for p in errors(error.problems))
        else:
            same = _same_as_another(laid_out.plan, layout)
            if same:
                left_out[layout] = same
            else:
                found[layout] = laid_out
    own = (spec.targets.get(EMBEDDED) or Target()).layout or spec.layout
    return Layouts(own, found, left_out)


def _in_layout(work: Workspace, spec: Spec, own: Plan, layout: Layout) -> LaidOut:
    """Raises ProblemsError with what keeps the spec from this layout."""
    resolved = in_layout(spec, own, layout, OneRun(work.project.root))
    [tree] = checked_trees(Workspace(work.project, {EMBEDDED: [resolved]}, specs=work.specs))
    plan = renamed(resolved.plan, f"_{layout}")
    return LaidOut(layout, plan, _renamed_files(tree.files, plan, f"_{layout}"))


def _same_as_another(plan: Plan, layout: str) -> str:
    """Why this layout is none of its own; empty where it is one."""
    if layout == "fused" and not isinstance(plan.models[0].program, FlowProgram):
        return "the pipeline is one model already, so it renders the same as `ensemble`"
    if layout == "folded" and all(engine.program.fold is None for engine in plan.engines()):
        return "there is no arithmetic step next to an engine, so it renders the same as `ensemble`"
    return ""


def renamed(plan: Plan, behind: str) -> Plan:
    """The same pipeline with `behind` at the end of its name and of its models' names."""
    models = tuple(replace(model, name=model.name + behind) for model in plan.models)
    ensemble = plan.ensemble
    if ensemble is not None:
        steps = tuple(replace(step, model=step.model + behind) for step in ensemble.steps)
        ensemble = replace(ensemble, name=ensemble.name + behind, steps=steps)
    return replace(plan, name=plan.name + behind, models=models, ensemble=ensemble)


def _renamed_files(files: Mapping[str, bytes], plan: Plan, behind: str) -> Files:
    """Files rendered under the pipeline's own names, under those of `plan`.

    They are not rendered anew under other names: engines are found by the names of their models.
    """
    found: Files = {}
    for path, data in files.items():
        model, _, inside = path.partition("/")
        new = data
        if inside.rpartition("/")[2] == "tritonkit.json":
            new = as_json(_renamed_parameters(json.loads(data), behind))
        found[f"{model}{behind}/{inside}"] = new
    for name, (_, text) in model_configs(plan).items():
        found[f"{name}/config.pbtxt"] = text.encode()
    return found


def _renamed_parameters(data: dict[str, Any], behind: str) -> dict[str, Any]:
    program = data["program"]
    if program["kind"] == "ensemble":
        program = {**program, "models": [model + behind for model in program["models"]]}
    return {**data, "pipeline": data["pipeline"] + behind, "model": data["model"] + behind, "program": program}
