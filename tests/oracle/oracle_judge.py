"""Both verdicts about one mutant, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oracle_causes import UNCLASSIFIED, agrees, classify
from oracle_kept import kept_away
from oracle_live import Live
from oracle_mutant import Mutant
from oracle_repository import Repository

from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder, MemoryFolder
from generator.lint.server import EMBEDDED, Server
from generator.problems import Severity

_FOR_A_MEMBER = "TK792"  # a note: the error is the member's
# Some refusals after the Python process has started end the server by chance: in one of thirty loads on a quiet machine,
# and more often on a busy one. What ends it every time is found all the same.
_AGAIN = 4
# Rules about what flows between models: they hold for the repository, not for the model that was changed.
_BETWEEN = range(24, 32)


@dataclass
class Opinion:
    """About one model: the server's reason (empty: accepted) and lint's codes of errors; refused or not by each."""

    folder: str
    reason: str
    is_refused: bool
    codes: set[str]

    @property
    def server_refuses(self) -> bool:
        """The server's verdict."""
        return bool(self.reason)

    @property
    def cause(self) -> str:
        """The class of the server's reason, or that there is none."""
        found = classify(self.reason)
        return found.name if found else UNCLASSIFIED

    @property
    def disagreement(self) -> str:
        """In a few words; empty where they agree."""
        if self.server_refuses != self.is_refused:
            return "lint accepts" if self.server_refuses else "lint refuses"
        if not self.server_refuses:
            return ""
        if self.cause == UNCLASSIFIED:
            return "unclassified"
        return "" if agrees(self.reason, self.codes) else "another cause"


@dataclass
class Judged:
    """A mutant with all opinions; `kept` why the server was not asked, `ended` that it ended.

    `kept_and_refused` says that lint refuses what the server was not asked about.
    """

    mutant: Mutant
    opinions: list[Opinion] = field(default_factory=list)
    kept: str = ""
    kept_and_refused: bool = False
    ended: str = ""
    seconds: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the server takes all of its models."""
        return not any(opinion.server_refuses for opinion in self.opinions)

    @property
    def disagreements(self) -> list[Opinion]:
        """Those that differ."""
        return [opinion for opinion in self.opinions if opinion.disagreement]

    def refused_rules(self) -> set[int]:
        """Triton's rules that the server refused a model for."""
        causes = [classify(opinion.reason) for opinion in self.opinions if opinion.server_refuses]
        found = {rule for cause in causes if cause is not None for rule in cause.rules}
        return found | ({5} if self._is_moved_and_refused() else set())

    def _is_moved_and_refused(self) -> bool:
        """Whether a config that lies under another name is one that the server refuses."""
        models = self.mutant.repository.models
        moved = {models[c.model].folder for c in self.mutant.changes if c.rules == (5,) and c.model in models}
        return any(opinion.server_refuses and opinion.folder in moved for opinion in self.opinions)

    def accepted_rules(self) -> set[int]:
        """The rules about what was changed in models that the server takes all the same."""
        accepted = {opinion.folder for opinion in self.opinions if not opinion.server_refuses}
        found = set()
        models = self.mutant.repository.models
        for change in self.mutant.changes:
            folder = models[change.model].folder if change.model in models else ""
            top = models[self.mutant.repository.top].folder
            for rule in change.rules:
                if (top if rule in _BETWEEN else folder) in accepted:
                    found.add(rule)
        return found


def lint(live: Live, repository: Repository) -> Checked:
    """Lint's side, on the files that the server was asked about."""
    folders = [DiskFolder(live.roots[0], "A")]
    if repository.has_second:
        folders.append(DiskFolder(live.roots[1], "B"))
    return check(folders, _server(live))


def _in_memory(live: Live, repository: Repository) -> Checked:
    """Lint's side, on files that are nowhere."""
    return check(
        [MemoryFolder(repository.files(), "A"), MemoryFolder(repository.files(second=True), "B")], _server(live)
    )


def _server(live: Live) -> Server:
    """The server as lint knows it."""
    return replace(EMBEDDED, auto_complete=live.kind.complete, config_name=live.kind.config_name)


def judge(live: Live, mutant: Mutant) -> Judged:
    """Ask both."""
    judged = Judged(mutant)
    judged.kept = kept_away(mutant.repository, mutant.kind.config_name)
    if judged.kept:
        judged.kept_and_refused = bool(_in_memory(live, mutant.repository).refused)
        return judged
    verdict = live.ask(mutant.repository)
    for _ in range(_AGAIN):
        if not verdict.ended:
            break
        verdict = live.ask(mutant.repository)
    judged.ended, judged.seconds = verdict.ended, verdict.seconds
    if judged.ended:
        return judged
    checked = lint(live, mutant.repository)
    codes: dict[str, set[str]] = {}
    for problem in checked.problems:
        if problem.severity is Severity.ERROR or problem.code == _FOR_A_MEMBER:
            codes.setdefault(_folder(problem.place.file), set()).add(problem.code)
    for folder, reason in verdict.reasons.items():
        refused = folder in checked.refused or folder not in checked.models
        judged.opinions.append(Opinion(folder, reason, refused, codes.get(folder, set())))
    return judged


def _folder(file: str) -> str:
    """The model's directory in a path such as `A/model/config.pbtxt`."""
    parts = file.split("/")
    return parts[1] if len(parts) > 1 else ""
