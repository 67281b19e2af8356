"""The release that specs ask for: its name, its values, and what it renders to."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.operations.measured import Measured
from deploy.release.cluster import check_release, release_of
from deploy.release.objects import Object, is_hook, objects_of
from deploy.release.overrides import CHART, Overrides, path_of
from deploy.release.repository import with_repository
from deploy.tools.helm import Helm, HelmError
from deploy.values import Options, values_of
from deploy.values.check import merged
from generator.lint.specs import checked_trees
from generator.plan import Plan
from generator.problems import Place, Problem, ProblemsError, Severity, UserError, errors
from generator.project import Project
from generator.workspace import open_workspace

# Helm keeps each revision as one Secret, and a Secret holds at most so much.
RECORD_BYTES = 1 << 20
_REFUSED = re.compile(r"(?P<path>[\w.()\[\]-]+): (?P<what>.*)", re.DOTALL)


@dataclass(frozen=True)
class Wanted:
    """A release as the specs and the overrides ask for it. `problems` are warnings and notes of both."""

    name: str
    target: str
    plans: tuple[Plan, ...]
    values: Mapping[str, Any]
    overrides: Overrides
    problems: tuple[Problem, ...]

    @property
    def pipelines(self) -> list[str]:
        """The names of what it serves."""
        return [plan.name for plan in self.plans]

    def text(self) -> str:
        """The values as Helm reads them: JSON is YAML."""
        return json.dumps(self.values)

    def rendered(self, helm: Helm) -> list[Object]:
        """All objects, hooks left out, without asking a cluster. Secrets among them are made up: print none.

        Raises ProblemsError when the chart refuses the values.
        """
        try:
            text = helm.template(self.name, CHART, self.text())
        except HelmError as error:
            raise self.refused(error) from error
        objects = [item for item in objects_of(text) if not is_hook(item)]
        if not objects:
            raise UserError(
                "`helm template` ended well and printed no object", f"see which `helm` is on PATH ({helm.binary})"
            )
        return objects

    def warnings(self, helm: Helm) -> list[Problem]:
        """What the chart warns of, without asking a cluster. Raises ProblemsError when it refuses the values."""
        try:
            text = helm.included(self.name, CHART, self.text(), "triton.warnings")
        except HelmError as error:
            raise self.refused(error) from error
        lines = filter(None, map(str.strip, text.splitlines()))
        return [
            Problem("TK458", Place("the chart's values"), "", line, severity=Severity.WARNING) for line in lines
        ]  # fmt: skip

    def refused(self, error: HelmError) -> ProblemsError:
        """What the chart says of the values, each at its place."""
        head, _, listed = error.message.partition("refuses these values: ")
        if not listed:
            return ProblemsError([Problem("TK443", Place("the chart's values"), "", error.message)])
        return ProblemsError([self._refused(text) for text in listed.split("; ") if head])

    def _refused(self, text: str) -> Problem:
        found = _REFUSED.fullmatch(text)
        if found is None or found["path"] == "(root)":
            return Problem("TK443", Place("the chart's values"), "", text)
        path = tuple(int(word) if str(word).isdigit() else word for word in path_of(found["path"]))
        what = found["what"][:1].lower() + found["what"][1:]
        return Problem("TK443", self.overrides.place(path), found["path"], f"the chart refuses it: {what}")


def wanted(
    project: Project, specs: Sequence[Path], target: str, *, name: str | None = None,
    overrides: Overrides | None = None, measured: Measured | None = None, options: Options | None = None,
) -> Wanted:  # fmt: skip
    """The release of these specs (default: all that have the target) on `target`, under `name`.

    The specs are judged as before a server is started: an engine that is stale or missing stops it here. Raises
    ProblemsError with everything that is wrong; UserError for a name that cannot be one.
    """
    work = open_workspace(project, specs, target)
    [tree] = checked_trees(work, self_contained=True)
    plans = work.plans[target]
    chosen = release_of([plan.name for plan in plans]) if name is None else name
    check_release(chosen)
    overrides = overrides or Overrides()
    options = replace(options or Options(), gpus=overrides.gpus)
    made = values_of(plans, project, measured=measured, options=options)
    values, problems = with_repository(merged(made.data, overrides.data), tree.files, overrides)
    told = (*work.problems, *_open(made.problems, values), *overrides.against(made), *problems)
    if errors(told):
        raise ProblemsError(told)
    return Wanted(chosen, target, tuple(plans), values, overrides, told)


def _open(problems: Sequence[Problem], values: Mapping[str, Any]) -> list[Problem]:
    """What is still to be told: which GPU it has to be (TK433) is known once somebody has said it."""
    named = bool((values.get("gpu") or {}).get("product"))
    return [problem for problem in problems if not (named and problem.code == "TK433")]


def check_record(wanted: Wanted, manifest: Sequence[Object]) -> None:
    """Raises ProblemsError when Helm could not keep its record of the release: it is one Secret."""
    chart = {str(path): path.read_text(encoding="utf-8") for path in sorted(CHART.rglob("*")) if path.is_file()}
    record = json.dumps({"config": wanted.values, "manifest": json.dumps(list(manifest)), "chart": chart})
    size = len(base64.b64encode(gzip.compress(record.encode(), 9)))
    if size > RECORD_BYTES:
        message = (
            f"Helm keeps each revision in a Secret of at most {RECORD_BYTES:,} bytes, and this one has {size:,}: the "
            "models are in it twice, in the values and in the manifest"
        )
        hint = "take another modelRepository.source: image, persistentVolumeClaim or objectStore"
        raise ProblemsError(
            [Problem("TK440", Place("the chart's values"), "modelRepository.configMap.files", message, hint)]
        )
