"""The shapes that an engine is built for: from the batching, and what the spec says of the graph's other axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from generator.engine.build.jobs import Job
from generator.engine.compile.base import Profile, ShapeRange
from generator.engine.errors import Finding, StageError
from generator.engine.inspect.shapes import axis_name, inputs_of, shaped
from generator.plan import ModelPlan

if TYPE_CHECKING:
    import onnx


def profiles_of(job: Job, model: onnx.ModelProto) -> tuple[Profile, ...]:
    """The profiles that the spec gives, else one: its batches, and its `axes`.

    Raises StageError (TK989) with every dynamic axis that has no lengths, and every profile that does not fit.
    """
    given = job.program.build.profiles
    if given is not None:
        profiles = tuple(
            {name: ShapeRange(tuple(p.min[name]), tuple(p.opt[name]), tuple(p.max[name])) for name in p.min}
            for p in given
        )
        _check(profiles, model, job.model)
        return profiles
    batched = job.model.max_batch_size > 0
    batch = job.request["batch"]
    lengths = {name: (low, usual, high) for name, (low, usual, high) in job.program.build.axes.items()}
    return (_one(model, lengths, (1, batch["opt"], batch["max"]) if batched else None),)


def _one(
    model: onnx.ModelProto, lengths: Mapping[str, tuple[int, int, int]], batch: tuple[int, int, int] | None
) -> Profile:
    profile: dict[str, ShapeRange] = {}
    findings, used = [], set()
    for value in inputs_of(model.graph):
        axes: list[tuple[int, int, int]] = []
        for axis, dim in enumerate(shaped(value).dims or ()):
            name = axis_name(value.name, axis, dim)
            if name is None:
                assert isinstance(dim, int)  # noqa: S101  (axis_name has said so)
                axes.append((dim, dim, dim))
            elif name in lengths:
                used.add(name)
                axes.append(lengths[name])
            elif axis == 0 and batch is not None:
                axes.append(batch)
            else:
                axes.append((1, 1, 1))
                findings.append(
                    Finding(
                        "TK989",
                        f"axis {axis} of `{value.name}` (`{name}`) has any length, and no lengths are given for it",
                        f"say its least, usual and greatest: `build: {{axes: {{{name}: [1, 64, 256]}}}}`", "build",
                    )
                )  # fmt: skip
        low, usual, high = zip(*axes, strict=True) if axes else ((), (), ())
        profile[value.name] = ShapeRange(tuple(low), tuple(usual), tuple(high))
    for name in sorted(set(lengths) - used):
        findings.append(Finding("TK989", f"no input of the graph has an axis `{name}`", "remove it", "build"))
    for name, (low_, usual_, high_) in sorted(lengths.items()):
        if not low_ <= usual_ <= high_:
            findings.append(
                Finding("TK989", f"the lengths of axis `{name}` fall: {low_}, {usual_}, {high_}", "", "build")
            )
    if findings:
        raise StageError(dict.fromkeys(findings))
    return profile


def _check(profiles: Sequence[Profile], model: onnx.ModelProto, plan: ModelPlan) -> None:
    """Raises StageError (TK989): profiles that do not fit the graph, batches that none of them takes."""
    findings = []
    inputs = {value.name: shaped(value).dims or () for value in inputs_of(model.graph)}
    for number, profile in enumerate(profiles):
        for name in sorted({*inputs, *profile}):
            if name not in profile or name not in inputs:
                what = "gives nothing for the input" if name in inputs else "gives shapes for what is no input:"
                findings.append(Finding("TK989", f"profile {number} {what} `{name}`", "", "build.profiles"))
                continue
            shapes, dims = profile[name], inputs[name]
            fits = len(shapes.min) == len(dims) and all(
                not isinstance(dim, int) or low == dim == high
                for dim, low, high in zip(dims, shapes.min, shapes.max, strict=True)
            )
            if not fits:
                shown = "[" + ", ".join(str(dim) if isinstance(dim, int) else "any" for dim in dims) + "]"
                text = f"profile {number} does not fit the input `{name}`, which is {shown}"
                findings.append(Finding("TK989", text, "fixed axes keep their length", "build.profiles"))
    if not findings and (missing := _missing_batches(profiles, inputs, plan.largest_run)):
        first, last = missing
        which = f"a batch of {first}" if first == last else f"batches of {first} to {last}"
        text = f"no profile takes {which}, and `max_batch_size` is {plan.max_batch_size}"
        hint = "widen a profile's first axis, add a profile, or lower `batching: {max_batch_size: ...}`"
        if plan.largest_run > plan.max_batch_size:
            text = f"no profile takes {which}, and `buckets` end at {plan.largest_run}"
            hint = "widen a profile's first axis, add a profile, or end `buffers: {buckets: ...}` earlier"
        findings.append(Finding("TK989", text, hint, "build.profiles"))
    if findings:
        raise StageError(findings)


def _missing_batches(
    profiles: Sequence[Profile], inputs: Mapping[str, Sequence[int | str | None]], largest: int
) -> tuple[int, int] | None:
    """The first batches from 1 to `largest` that no profile takes for all inputs; None if there are none.

    Inputs whose first axis is fixed have no batch axis.
    """
    names = [name for name, dims in inputs.items() if dims and not isinstance(dims[0], int)]
    if not names:
        return None
    taken = [(max(p[n].min[0] for n in names), min(p[n].max[0] for n in names)) for p in profiles]
    wanted, last = 1, largest
    for least, most in sorted((least, most) for least, most in taken if least <= most):
        if least > wanted:
            last = min(last, least - 1)
            break
        wanted = max(wanted, most + 1)
    return (wanted, last) if wanted <= last else None
