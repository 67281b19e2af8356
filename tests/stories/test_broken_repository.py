"""A newcomer mends a broken repository by what lint says alone, until it is silent; then the live server serves it.

The newcomer here is a script that knows no rule and no code: it reads each message and its hint, and does what they say
at the place that they name.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken_repository
import numpy as np
import pytest
import tritonclient.http as client
from story_tools import serving, tritonkit

ROUNDS = 10
Problem = dict[str, Any]


class Newcomer:
    """Does what hints say. `did` has what was done, one entry a mend."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.did: list[str] = []

    def lint(self, *options: str) -> list[Problem]:
        """What lint says of the repository now, notes left out."""
        done = tritonkit(self.folder, "lint", "repository", "--server", "embedded", "--format", "json", *options)
        assert done.returncode in (0, 1), done.stderr
        return [p for p in json.loads(done.stdout)["problems"] if p["severity"] != "note"]

    def mend(self, problem: Problem) -> bool:
        """Does what the message says; False when it says nothing that can be done."""
        said = f"{problem['message']}\n{problem['hint']}"
        for pattern, act in ACTIONS:
            found = re.search(pattern, said)
            if found and act(self, problem, found):
                self.did.append(f"{problem['code']} {problem['file']}: {found[0]}")
                return True
        return False

    # Places --------------------------------------------------------------------------------------------------------

    def model(self, problem: Problem) -> Path:
        """The model's directory: it is called so, or has the file."""
        path = self.folder / problem["file"]
        return path if path.is_dir() else path.parent

    def word(self, problem: Problem) -> str:
        """What stands at the place: a text with its quotes, or a word or number."""
        line = self.lines(problem)[problem["line"] - 1]
        found = re.compile(r'"[^"\s]*"?|[\w.-]+').match(line, problem["column"] - 1)
        assert found, problem
        return found[0]

    def lines(self, problem: Problem) -> list[str]:
        """The file's lines."""
        return (self.folder / problem["file"]).read_text().split("\n")

    def replace(self, problem: Problem, new: str) -> bool:
        """Writes `new` for the word at the place, in quotes where it was."""
        old, lines = self.word(problem), self.lines(problem)
        line, at = lines[problem["line"] - 1], problem["column"] - 1
        new = f'"{new}"' if old.startswith('"') and not new.startswith('"') else new
        lines[problem["line"] - 1] = line[:at] + new + line[at + len(old) :]
        (self.folder / problem["file"]).write_text("\n".join(lines))
        return old != new


def make_directory(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    (newcomer.model(problem) / found[1]).mkdir()
    return True


def write_instead(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    return newcomer.replace(problem, found[1])


def close_quote(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    return newcomer.replace(problem, newcomer.word(problem) + found[1])


def put_there(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    """A file that the newcomer has put somewhere else."""
    model = newcomer.model(problem)
    [here] = [path for path in model.rglob(Path(found[1]).name) if path.is_file()]
    shutil.move(here, model / found[1])
    return True


def write_labels(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    (newcomer.model(problem) / found[1]).write_text("".join(f"class {n}\n" for n in range(4)))
    return True


def write_bytes(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    [file] = newcomer.model(problem).rglob(newcomer.word(problem).strip('"'))
    file.write_bytes(bytes(int(found[1])))
    return True


def remove_item(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    """An item of a list, with the comma before it."""
    lines, at = newcomer.lines(problem), problem["column"] - 1
    line = lines[problem["line"] - 1]
    lines[problem["line"] - 1] = re.sub(r",\s*$", "", line[:at]) + line[at + len(newcomer.word(problem)) :]
    (newcomer.folder / problem["file"]).write_text("\n".join(lines))
    return True


def remove_field(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    """A field with its list, which stands in one line."""
    lines = newcomer.lines(problem)
    line = lines[problem["line"] - 1]
    lines[problem["line"] - 1] = re.sub(rf"\b{found[1]}:? *\[[^\]]*\] *", "", line)
    (newcomer.folder / problem["file"]).write_text("\n".join(lines))
    return line != lines[problem["line"] - 1]


def declare_as_the_step(newcomer: Newcomer, problem: Problem, found: re.Match[str]) -> bool:
    """The ensemble's own tensor, as the step has it: its type, or its dims without the batch dimension."""
    name, wanted, given = found["tensor"], found["step"], found["own"]
    if wanted.startswith("["):
        wanted, given = (f"[ {text.removeprefix('[-1, ').removesuffix(']')} ]" for text in (wanted, given))
    lines = newcomer.lines(problem)
    for number, line in enumerate(lines):
        if f'name: "{name}"' in line and given in line:
            lines[number] = line.replace(given, wanted)
            (newcomer.folder / problem["file"]).write_text("\n".join(lines))
            return True
    return False


# What a message or a hint says, and what is done then; the first that fits.
ACTIONS: list[tuple[str, Callable[[Newcomer, Problem, re.Match[str]], bool]]] = [
    (r"did you mean `([^`]+)`\?", write_instead),
    (r"`mkdir (\d+)`", make_directory),
    (r"add `(.)` at its end", close_quote),
    (r"`(\d+/[^`]+)` is not there[^\n]*\nput the file there", put_there),
    (r"there is no `([^`]+)` in the model's directory", write_labels),
    (r"one sample needs (\d+)", write_bytes),
    (r"or remove this size", remove_item),
    (r"write the length, or (-1)", write_instead),
    (r"(KIND_AUTO) takes a GPU where there is one", write_instead),
    (r"remove (\w+), or give a", remove_field),
    (
        r"tensor `(?P<tensor>\w+)` is (?P<step>\w+|\[[^\]]*\]) for `\w+` and (?P<own>\w+|\[[^\]]*\]) for",
        declare_as_the_step,
    ),
]


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    """In front of the broken repository."""
    broken_repository.write(tmp_path / "repository")
    return Newcomer(tmp_path)


@pytest.mark.server
def test_every_mistake_is_mended_by_what_lint_says(newcomer: Newcomer) -> None:
    for _ in range(ROUNDS):
        left = newcomer.lint()
        if not left:
            break
        fixed = tritonkit(newcomer.folder, "lint", "repository", "--server", "embedded", "--fix", "--yes")
        newcomer.did += re.findall(r"^\S+: \d+ problems? mended$", fixed.stderr, re.MULTILINE)
        # From the end of each file on, so that what is mended moves nothing that is still to be mended.
        for problem in sorted(newcomer.lint(), key=lambda p: (p["file"], -(p["line"] or 0), -(p["column"] or 0))):
            assert newcomer.mend(problem), f"nobody can do what this says: {problem}"
    assert newcomer.lint() == []
    assert len(newcomer.did) >= broken_repository.MISTAKES
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with serving(newcomer.folder, "--repository", "repository") as served:
        [address] = [line.split()[1] for line in served.out.splitlines() if line.startswith("http")]
        with client.InferenceServerClient(address) as triton:
            tensor = client.InferInput("x", [2, 4], "FP32")
            tensor.set_data_from_numpy(x)
            for model, expected in (("both", x * 2 + 1), ("rank", x.argsort(axis=1)), ("scale", x * 2)):
                np.testing.assert_array_equal(triton.infer(model, [tensor]).as_numpy("y"), expected)
