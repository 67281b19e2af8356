"""A TensorRT plan that was built elsewhere, before it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.engine.build.candidates.compiling import Built
from generator.engine.build.candidates.runners import plugins_of
from generator.engine.build.elsewhere.brought import Brought, path_text, refusal
from generator.engine.build.elsewhere.face import Face, face_of_plan
from generator.engine.errors import StageError
from generator.plan_header import instead_of, is_older, read_header, shown

Version = tuple[int, ...]


def checked_plan(one: Brought) -> Built:
    """A whole plan, of the TensorRT that is here and that the target has, with the face that is asked for.

    Raises StageError, also where nothing can run it.
    """
    from generator.engine.compile.tensorrt import TensorRT, TensorRTRunner

    version = _of_the_target(one)
    here = TensorRT().probe()
    if here.get("reason"):
        raise StageError(
            refusal(f"{path_text(one.file)} cannot be judged on this machine: {here['reason']}", where_it_can_be(one))
        )
    proven = _check_runtime(one, version, str(here["tensorrt"]))
    runner = TensorRTRunner(one.data, plugins=plugins_of(one.job.program, one.root))
    try:
        found = face_of_plan(runner)
    finally:
        runner.close()
    wanted = one.face
    if version is not None and version[0] < 10:  # it has no INT64: such tensors come and go as INT32
        wanted = Face(_as_int32(wanted.inputs), _as_int32(wanted.outputs), wanted.profiles)
    one.refuse(one.unlike(found, wanted), "build it for the graph and the shapes that the spec names")
    judged_with: dict[str, Any] = {
        name: here[name] for name in ("tensorrt", "gpu", "compute_capability", "cuda") if name in here
    }
    if proven:
        judged_with["version_compatible"] = True
    built_by = {} if version is None else {"tensorrt": shown(version)}
    return one.built(one.data, judged_with, elsewhere={"file": one.name, **built_by})


def where_it_can_be(one: Brought) -> str:
    """Where a plan can be judged."""
    target = one.job.plan.target
    return (
        f"run the same command where TensorRT's Python package and a GPU ({target.gpu}) are, with the TensorRT of "
        f"Triton {target.server}; engines/{target.name}/ is what to bring back from there"
    )


def _as_int32(types: Mapping[str, str]) -> dict[str, str]:
    return {name: "INT32" if word == "INT64" else word for name, word in types.items()}


def _of_the_target(one: Brought) -> Version | None:
    """The TensorRT that wrote it; None where its header is of a layout that is not known. Raises StageError."""
    header, release = read_header(one.data), one.job.plan.target.server
    if header.is_plan is False:
        one.refuse([header.problem], "name a plan, as `trtexec --saveEngine` writes it")
    if header.version is None:
        return None
    if header.size_bytes != len(one.data):
        text = f"has {len(one.data):,} bytes, and its header tells of {header.size_bytes:,}"
        one.refuse([text], "copy it anew: a part is missing")
    instead = instead_of(header.version, release)
    if instead is not None and not (instead.older and one.job.program.build.version_compatible):
        text = f"was built by TensorRT {shown(header.version)}; Triton {release} has {instead.has}"
        one.refuse([text], "build it in that release's image, or serve another release")
    return header.version


def _check_runtime(one: Brought, version: Version | None, here: str) -> bool:
    """Whether the plan is of an older TensorRT than the one here: then it loads only if it is version-compatible.

    Its header does not tell that. Raises StageError for a plan of another TensorRT, which could not be loaded, and
    for an older one than the target's, of which nothing here shows that the target's loads it.
    """
    has = tuple(int(part) for part in here.split(".")[:3] if part.isdigit())
    if version is None:
        return False
    if version[: len(has)] == has:
        release = one.job.plan.target.server
        instead = instead_of(version, release)
        if instead is not None:
            text = f"is of TensorRT {shown(version)}, as the one here; whether Triton {release} loads it, which has"
            one.refuse([f"{text} {instead.has}, does not show here"], "judge it with the TensorRT of that release")
        return False
    if one.job.program.build.version_compatible and is_older(version, has):
        return True
    text = f"was built by TensorRT {shown(version)}, and here is {here}, which cannot load it"
    hint = "judge it where that TensorRT is, or build it with the one here"
    raise StageError(refusal(f"{path_text(one.file)} {text}", hint))
