"""A disagreement as a case of tests/corpus/regressions, with plain names for what was numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from oracle_kind import Kind
from oracle_mutant import Mutant
from oracle_repository import MODEL_PY

from generator.problems import Problem, Severity

REGRESSIONS = Path(__file__).parents[1] / "corpus" / "regressions"
_PREFIX = re.compile(r"\bm\d{5}_", re.IGNORECASE)


def plain(text: str) -> str:
    """Without the numbers that keep mutants apart."""
    return _PREFIX.sub("", text)


def case(mutant: Mutant, problems: Iterable[Problem], verdicts: dict[str, str], kind: Kind) -> str:
    """The text of a case: lint's errors as they are now, what the server says of every model, and the files."""
    repository = mutant.repository
    lines = [f"# Seed {mutant.seed}, mutant {mutant.number}: {plain('; '.join(c.what for c in mutant.changes))}."]
    for problem in problems:
        if problem.severity is Severity.ERROR:
            place = str(problem.place) if repository.has_second else str(problem.place).removeprefix("A/")
            lines.append(f"problem: {problem.code} {plain(place)}")
    for word in ("accepts", "refuses"):
        names = sorted(plain(name) for name, reason in verdicts.items() if bool(reason) == (word == "refuses"))
        if names:
            lines.append(f"server: {word} {' '.join(names)}")
    if kind.complete:
        lines.append("for: auto_complete=yes")
    if kind.config_name:
        lines.append(f"for: config_name={kind.config_name}")
    text = "\n".join(lines) + "\n\n"
    sides = (
        [("A:", repository.files()), ("B:", repository.files(second=True))]
        if repository.has_second
        else [("", repository.files())]
    )
    for side, files in sides:
        is_run = any(b"model_warmup" in data for name, data in files.items() if name.endswith(".pbtxt"))
        for name, data in sorted(files.items()):
            text += _file(side + plain(name), data, is_run)
    return text


def can_be_kept(mutant: Mutant) -> bool:
    """Whether the format has words for the names of the files."""
    return not any(character.isspace() for name in mutant.repository.files() for character in name)


def _file(name: str, data: bytes, is_run: bool) -> str:
    """One file; the code as it is where the server runs it at load."""
    if name.endswith("/"):
        return f"-- {name} --\n"
    if data == MODEL_PY and not is_run:
        return f"-- {name} = identity --\n"
    if name.endswith((".pbtxt", ".py")):
        shown = plain(data.decode("utf-8", errors="replace"))
        # The format has no way to say that a text has no last newline; such a text is given in hexadecimal.
        if shown.endswith("\n") and "\r" not in shown and "\x00" not in shown and "\n-- " not in shown:
            return f"-- {name} --\n{shown}"
        return f"-- {name} = hex {plain(data.decode('utf-8', errors='surrogateescape')).encode('utf-8', errors='surrogateescape').hex()} --\n"
    return f"-- {name} = zeros {len(data)} --\n" if not any(data) else f"-- {name} = hex {data.hex()} --\n"


def keep(text: str, mutant: Mutant, folder: Path = REGRESSIONS) -> Path:
    """Write a case; its name is the mutant's."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"only-{re.sub(r'[^a-z0-9]+', '-', mutant.seed.lower())}-{mutant.number}.txtar"
    path.write_text(text, encoding="utf-8")
    return path
