"""A pipeline in another layout than its spec's: to compare them, without a change of the file."""

from __future__ import annotations

from generator.plan import Plan
from generator.project import Project
from generator.resolve import Resolved, resolve
from generator.spec import Spec
from generator.spec.pipeline import Layout


def in_layout(spec: Spec, plan: Plan, layout: Layout, project: Project) -> Resolved:
    """The spec in `layout` on the target that `plan` is for. Raises ProblemsError where it cannot be."""
    name = plan.target.name
    targets = dict(spec.targets)
    changes = targets.get(name)
    if changes is not None:
        targets[name] = changes.model_copy(update={"layout": layout})
    changed = spec.model_copy(update={"layout": layout, "targets": targets})
    return resolve(changed, name, project, plan.places, plan.spec_file)
