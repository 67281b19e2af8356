"""A pipeline in another layout than its spec's: to compare them, without a change of the file."""

from __future__ import annotations

from generator.project import Project
from generator.resolve import Resolved, resolve
from generator.spec.pipeline import Layout


def in_layout(resolved: Resolved, layout: Layout, project: Project) -> Resolved:
    """The same spec on the same target in `layout`. Raises ProblemsError where it cannot be."""
    spec, name = resolved.spec, resolved.plan.target.name
    targets = dict(spec.targets)
    changes = targets.get(name)
    if changes is not None:
        targets[name] = changes.model_copy(update={"layout": layout})
    changed = spec.model_copy(update={"layout": layout, "targets": targets})
    return resolve(changed, name, project, resolved.plan.places, resolved.plan.spec_file)
