"""A values file's `engineBuild` against the specs: Jobs that are not needed, that are missing, or of no known GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.values.made import Facts
from generator.load.tree import Tree, TreePath, field_path
from generator.problems import Problem, Severity

_PATH = ("engineBuild",)


def engines_against(tree: Tree, merged: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    """Everything at once. `merged` is what counts: the file over the derived values."""
    build = merged.get("engineBuild")
    if not isinstance(build, Mapping):
        return
    jobs = build.get("jobs")
    jobs = [job for job in jobs if isinstance(job, Mapping)] if isinstance(jobs, list) else []
    yield from _installed(tree, jobs, facts)
    if build.get("enabled") is not True:
        return
    enabled: TreePath = (*_PATH, "enabled") if (*_PATH, "enabled") in tree else _PATH
    if not jobs:
        yield _nothing_to_build(tree, enabled, facts)
        return
    yield from _left_out(tree, jobs, facts)
    yield from _product(tree, enabled, merged, jobs, facts)
    for job in facts.missing.jobs:
        if not job.is_prepared and any(_folder(one) == job.folder for one in jobs):
            yield Problem(
                "TK431", tree.place(*enabled), field_path(enabled),
                f"the Job {job.name} compiles {job.graph} in {job.folder}, and no graph has been made for it: "
                f"{job.prepared} is not there, or of another request",
                f"`tritonkit build {job.spec_file} --target {facts.plans[0].target.name}` makes it; then copy it to "
                "the claim", Severity.WARNING,
            )  # fmt: skip


def _installed(tree: Tree, jobs: Sequence[Mapping[str, Any]], facts: Facts) -> Iterator[Problem]:
    """Jobs that would write over a plan that has passed its gate, on the GPU that it is for."""
    there = dict(facts.missing.there)
    for index, job in enumerate(jobs):
        folder = next((one for one in there if _is_in(job, one)), None)
        if folder is None:
            continue
        product, built_on = job.get("gpuProduct") or "", there[folder]
        if not product or not built_on or product == built_on:
            path = (*_PATH, "jobs", index)
            on = f" for {built_on}" if built_on else ""
            yield Problem(
                "TK438", tree.place(*path), field_path(path),
                f"the plan of {folder} is installed{on} and part of the repository: the Job would write another one "
                "over it, which nobody has judged",
                f"remove the Job, or engines/{facts.plans[0].target.name}/ of that model to have it built anew",
            )  # fmt: skip


def _nothing_to_build(tree: Tree, path: TreePath, facts: Facts) -> Problem:
    missing = facts.missing
    if missing.unmeasured:
        listed = ", ".join(f"`{name}`" for name in missing.unmeasured)
        what = f"{listed} has `engine: auto`, which is measured and not built by a Job"
        hint = "say `engine: tensorrt` in the target, or `tritonkit build` where such a GPU is"
    elif missing.there:
        what = f"the plans are installed: {', '.join(folder for folder, _ in missing.there)}"
        hint = "remove engineBuild: they are part of the repository"
    else:
        what, hint = "no engine of these specs is built by TensorRT on this target", "remove engineBuild"
    return Problem(
        "TK438", tree.place(*path), field_path(path), f"there is nothing that the cluster could build: {what}", hint
    )


def _left_out(tree: Tree, jobs: Sequence[Mapping[str, Any]], facts: Facts) -> Iterator[Problem]:
    path = (*_PATH, "jobs")
    for job in facts.missing.jobs:
        if path in tree and not any(_is_in(one, job.folder) for one in jobs):
            yield Problem(
                "TK438", tree.place(*path), field_path(path),
                f"the list takes the place of the derived one, and nothing in it builds {job.folder}/{job.plan}",
                "leave `jobs` as derived, or add one for it",
            )  # fmt: skip


def _product(
    tree: Tree, path: TreePath, merged: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], facts: Facts
) -> Iterator[Problem]:
    """A GPU type without a name: wherever a Job runs, the pods may run elsewhere."""
    gpu = merged.get("gpu")
    if isinstance(gpu, Mapping) and gpu.get("product"):
        return
    if facts.is_of_one_gpu and any(not job.get("gpuProduct") for job in jobs):
        yield Problem(
            "TK433", tree.place(*path), field_path(path),
            f"nothing says which nodes have the GPU `{facts.plans[0].target.gpu}`: the plan is built on any, and the "
            "pods may get another kind, on which it does not run",
            "set gpu.product; `kubectl get nodes --label-columns nvidia.com/gpu.product` lists what there is",
            Severity.WARNING,
        )  # fmt: skip


def _folder(job: Mapping[str, Any]) -> str:
    return str(job.get("modelFolder") or "")


def _is_in(job: Mapping[str, Any], folder: str) -> bool:
    """Whether a Job works in this version's folder, wherever on the claim the repository is."""
    sub_path = str(job.get("subPath") or "").rstrip("/")
    return _folder(job) == folder or sub_path == folder or sub_path.endswith(f"/{folder}")
