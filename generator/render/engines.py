"""The built engines that a repository is rendered with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from generator.engine.install.facts import facts_of
from generator.engine.install.request import differences, key_of_request, request_of
from generator.engine.install.store import FOLDER, Installed, installed, unreadable
from generator.extras import remedy
from generator.plan import EnginePart, Plan
from generator.problems import Problem, ProblemsError
from generator.project import EMBEDDED, Project

_TORCH = remedy("inductor")
# By model and version; None where one has to be built elsewhere, and a request stands in its place.
Engines = Mapping[tuple[str, int], Installed | None]


def engines_of(plan: Plan, project: Project) -> Engines:
    """The engine of every model that does not serve its ONNX file as it is.

    Raises ProblemsError with every engine that is missing, stale or damaged. A TensorRT plan may be missing: it is
    mostly built on another machine than where the repository is rendered.
    """
    found: dict[tuple[str, int], Installed | None] = {}
    problems = []
    for engine in plan.engines():
        for version in engine.model.version_numbers() if engine.program.is_built else ():
            there = installed(project, plan.target.name, engine.part.name, version)
            found[engine.part.name, version] = there
            problem = _problem(plan, engine, version, there, project)
            if problem is not None:
                problems.append(problem)
    if problems:
        raise ProblemsError(problems)
    return found


def _problem(
    plan: Plan, engine: EnginePart, version: int, there: Installed | None, project: Project
) -> Problem | None:
    _, part, program = engine
    place = plan.places(*plan.path_of(part.source, "precision"))
    build = f"`tritonkit build {plan.spec_file} --target {plan.target.name}`"
    if there is None and (why := unreadable(project, plan.target.name, part.name, version)):
        return Problem("TK982", place, "precision", f"the engine of `{part.name}` is damaged: {why}", build)
    if there is None:
        if program.engine == "tensorrt":
            return None
        # ONNX Runtime serves a file as it is in fp32 alone; Inductor never does.
        field, runs = ("precision", f"in {program.precision}")
        if program.engine == "inductor":
            field, runs = ("engine", "what Inductor compiles of it")
            place = plan.places(*plan.path_of(part.source, field))
        message = f"on target `{plan.target.name}`, model `{part.name}` runs {runs}, and it is not built"
        return Problem("TK980", place, field, message, build)
    request = request_of(plan, part, version, project)
    if there.key != key_of_request(request, program.asked):
        changed = differences(there.manifest.get("request", {}), request) or ["how it is asked for"]
        message = f"the engine of `{part.name}` was built before something changed: {'; '.join(changed)}"
        where = f"{FOLDER}/{there.target}/{there.model}/{there.version}"
        return Problem("TK981", place, "precision", message, f"{build}, or remove {where}")
    if _saturates(there):
        message = (
            f"the int8 engine of `{part.name}` was built for processors with VNNI instructions, which this one lacks"
        )
        return Problem("TK981", place, "precision", f"{message}: its sums would overflow", f"{build} --force, here")
    if (release := _other_torch(plan, there)) is not None:
        message = f"the engine of `{part.name}` was compiled by PyTorch {release[0]}, and here is {release[1]}"
        return Problem("TK981", place, "engine", message, f"{build} --force, or {_TORCH}")
    damage = there.damage()
    if damage:
        return Problem("TK982", place, "precision", f"of the engine of `{part.name}`, {damage}", build)
    return None


def _other_torch(plan: Plan, there: Installed) -> tuple[str, str] | None:
    """The PyTorch of what Inductor compiled, and the one here: the embedded server's. None if they are one."""
    if there.engine != "inductor" or plan.target.name != EMBEDDED:
        return None
    built_by = str(facts_of(there.manifest).get("torch", "unknown")).partition("+")[0]
    try:
        here = metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        here = "none"
    return None if here == built_by else (built_by, here)


def _saturates(there: Installed) -> bool:
    """Whether an engine of 8-bit weights would run on this machine's processor, and needs what that does not have."""
    if there.engine != "onnxruntime" or there.precision != "int8" or there.manifest.get("reduced_range"):
        return False
    from generator.engine.compile.onnxruntime import overflows_here

    return overflows_here(there.target, on_cuda=False)  # no embedded server runs on a GPU
