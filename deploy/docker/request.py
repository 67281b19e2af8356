"""What an image is made of: specs, rendered and judged, become files, packages, labels and the server's flags."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.docker import flags, loader, packages
from deploy.docker.base import DEBIAN, TRITON, Base, parse
from deploy.docker.packages import Kind
from deploy.docker.problem import refused
from deploy.repository_hash import repository_hash
from deploy.values import Options, values_of
from generator.lint.specs import checked_trees
from generator.plan import Plan
from generator.problems import Place, Problem, ProblemsError
from generator.project import EMBEDDED, Project
from generator.resolve.targets import EMBEDDED_BACKENDS
from generator.workspace import open_workspace

FOLDER = Path(__file__).parent
DOCKERFILES: Mapping[Kind, Path] = {
    "production": FOLDER / "Dockerfile",
    "embedded": FOLDER / "Dockerfile.embedded",
    "load": FOLDER / "Dockerfile.load",
}
LARGEST_BYTES = 10 << 30
"""Of a repository in an image: nodes pull all of it, and many registries take no larger layer."""

_UNBUILT = "engine.request.json"


@dataclass(frozen=True)
class Request:
    """Everything of an image but its base: nothing of it depends on the engine that builds it."""

    kind: Kind
    target: str
    plans: tuple[Plan, ...]
    files: Mapping[str, bytes]  # of the repository; of a load generator, of itself and the project
    values: Mapping[str, Any]
    spec_hashes: Mapping[str, str]
    notes: tuple[Problem, ...] = ()

    @property
    def release(self) -> str:
        """Of Triton, as in `26.07`."""
        return self.plans[0].target.server

    @property
    def gpus(self) -> int:
        """How many the server wants."""
        return int(self.values["gpu"]["count"])

    @property
    def name(self) -> str:
        """The image's name where none is given: its pipelines and its target."""
        names = sorted(plan.name for plan in self.plans)
        text = "-".join(names) if len(names) <= 3 else f"{names[0]}-and-{len(names) - 1}-more"
        return f"tritonkit/{_plain(text)}:{_plain(self.target)}" if self.kind != "load" else self.load_name

    @property
    def load_name(self) -> str:
        """The name of the load generator's image for the same specs."""
        repository, _, tag = replace(self, kind="embedded").name.partition(":")
        return f"{repository}-load:{tag}"

    def default_base(self) -> Base:
        """Whose digest has still to be said."""
        return parse(f"{TRITON}:{self.release}-py3" if self.kind == "production" else DEBIAN)

    def arguments(self) -> list[str]:
        """The server's flags; of a load generator, its command."""
        if self.kind == "load":
            return loader.arguments(self.plans, self.target)
        return flags.arguments(self.values)

    def requirements(self) -> str:
        """The Python packages, for pip. Raises ProblemsError (TK469)."""
        return packages.requirements(self.kind, packages.needed(self.plans, self.kind))

    def repository_hash(self) -> str:
        """Of every file's path and contents."""
        return repository_hash(self.files)

    def labels(self, base: Base) -> dict[str, str]:
        """What the image says of itself; no time of day, so that the same image is the same."""
        names = sorted(plan.name for plan in self.plans)
        return {
            "org.opencontainers.image.title": f"{', '.join(names)} ({self.target})",
            "org.opencontainers.image.description": "A Triton Inference Server with its models, made by tritonkit",
            "org.opencontainers.image.version": self.repository_hash()[:12],
            "org.opencontainers.image.base.name": base.name,
            "org.opencontainers.image.base.digest": base.digest,
            "io.tritonkit.version": loader.VERSION,
            "io.tritonkit.target": self.target,
            "io.tritonkit.server": self.release,
            "io.tritonkit.pipelines": ",".join(names),
            "io.tritonkit.repository": f"sha256:{self.repository_hash()}",
            "io.tritonkit.base.pinned": "true" if base.digest else "false",
            **{f"io.tritonkit.spec.{name}": f"sha256:{digest}" for name, digest in sorted(self.spec_hashes.items())},
        }

    def dockerfile(self, base: Base) -> str:
        """The checked-in Dockerfile, and behind it what follows from the specs."""
        text = DOCKERFILES[self.kind].read_text(encoding="utf-8")
        pairs = [f"{name}={_quoted(value)}" for name, value in self.labels(base).items()]
        labels = " \\\n      ".join(pairs)
        return f"{text}\n# Of these specs.\nLABEL {labels}\nCMD {json.dumps(self.arguments())}\n"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "pipelines"


def _quoted(text: str) -> str:
    """A Dockerfile's string, in which a variable would be replaced."""
    return json.dumps(text, ensure_ascii=False).replace("$", "\\$")


def prepare(
    project: Project,
    specs: Sequence[Path],
    *,
    target: str | None,
    embedded: bool,
    load: bool = False,
    allow_vulnerable: bool = False,
) -> Request:
    """Renders `specs` (default: all that have the target) self-contained, and judges them.

    `target` is the embedded server's, else the only other one that the specs have. Raises ProblemsError with all that
    keeps it from being an image.
    """
    work = open_workspace(project, specs, _target_of(project, specs, target, embedded=embedded))
    trees = checked_trees(work, self_contained=True)
    if not trees:
        raise refused(
            "TK467", "--target", "no spec here has that target", "`tritonkit lint` names the specs' targets"
        )
    [tree] = trees
    plans = tuple(work.plans[tree.target])
    kind: Kind = "embedded" if embedded else "production"
    problems = [*_misfits(plans, kind), *([] if load else _unbuilt(plans, tree.files))]
    total = sum(map(len, tree.files.values()))
    if total > LARGEST_BYTES:
        problems.append(
            Problem(
                "TK466",
                Place(f"model_repository/{tree.target}"),
                "",
                f"the repository has {total / 2**30:.1f} GiB, and an image may have {LARGEST_BYTES >> 30} GiB of it",
                "serve it from a volume or an object store: `modelRepository.source` of the chart's values",
            )
        )
    # The embedded server has known holes, and is for a laptop: that is told, and stops nothing.
    options = Options(allow_vulnerable=allow_vulnerable or kind == "embedded")
    try:
        values = values_of(plans, project, options=options)
    except ProblemsError as error:
        raise ProblemsError([*error.problems, *problems]) from error
    if problems:
        raise ProblemsError(problems)
    used = {plan.name for plan in plans}
    hashes = {
        document.value.name: hashlib.sha256(document.path.read_bytes()).hexdigest()
        for document in work.specs
        if document.value.name in used
    }
    # That its release has holes is nothing to be changed in a spec, if the server is the embedded one.
    told = () if kind == "embedded" else values.problems
    if load:
        files = loader.files(project, plans)
        return Request("load", tree.target, plans, files, flags.with_defaults(values.data), hashes, (*work.problems,))
    whole = flags.with_defaults(values.data)
    return Request(kind, tree.target, plans, tree.files, whole, hashes, (*work.problems, *told))


def _target_of(project: Project, specs: Sequence[Path], target: str | None, *, embedded: bool) -> str:
    if target is not None or embedded:
        return target or EMBEDDED
    work = open_workspace(project, specs)
    work.stop_on_errors()
    others = [name for name in work.plans if name != EMBEDDED]
    if len(others) == 1:
        return others[0]
    listed = ", ".join(f"`{name}`" for name in others) or "none"
    raise refused(
        "TK467",
        "--target",
        f"an image is of one target; beside `embedded` the specs have {listed}",
        "name it with --target, or build for this machine's own server with --embedded",
    )


def _misfits(plans: Sequence[Plan], kind: Kind) -> list[Problem]:
    """Pipelines that the image's server cannot run."""
    problems = []
    for plan in plans:
        foreign = sorted({model.backend for model in plan.models if model.backend} - EMBEDDED_BACKENDS)
        if kind == "embedded" and (plan.target.gpu or foreign):
            why = "needs a GPU" if plan.target.gpu else f"needs the backend {foreign[0]}"
            problems.append(
                Problem(
                    "TK467",
                    plan.places("targets", plan.target.name),
                    f"targets.{plan.target.name}",
                    f"target `{plan.target.name}` {why}, and the embedded image has the Python backend alone",
                    "leave --target out: `embedded` is the target for it",
                )
            )
        if kind == "production" and plan.target.name == EMBEDDED:
            problems.append(
                Problem(
                    "TK467",
                    plan.places("targets"),
                    "targets",
                    "target `embedded` is of the server on this machine, and not of NVIDIA's image",
                    "add --embedded, or name another target with --target",
                )
            )
        if kind == "production" and plan.target.server < packages.PYTHON_312_SINCE:
            problems.append(
                Problem(
                    "TK469",
                    plan.places("targets", plan.target.name, "server"),
                    f"targets.{plan.target.name}.server",
                    f"Triton {plan.target.server} has Python 3.10, and the packages are for Python 3.12, which "
                    f"images have from {packages.PYTHON_312_SINCE} on",
                    "use a newer release",
                )
            )
    return problems


def _unbuilt(plans: Sequence[Plan], files: Mapping[str, bytes]) -> list[Problem]:
    """Engines in whose place stands a request: the server would never be ready."""
    lacking = {path.partition("/")[0] for path in files if path.endswith(f"/{_UNBUILT}")}
    return [
        Problem(
            "TK476",
            plan.places("model"),
            "model",
            f"the engine of model `{model.name}` has not been built for target `{plan.target.name}`",
            f"tritonkit build {plan.spec_file} --target {plan.target.name}   (on a machine with that GPU)",
        )
        for plan in plans
        for model in plan.models
        if model.name in lacking
    ]
