"""What a sweep has done so far, in its folder: finished turns survive whatever ends it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from generator.problems import ProblemsError, UserError
from generator.whole_file import write_whole
from loadtest.results.sweep import PLAN_FILE
from loadtest.run.problem import refused
from loadtest.run.writing import holds_run
from loadtest.sweep.bench import Asked, Seen, read_seen
from loadtest.sweep.setting import Setting

TURNS_FILE, TURNS = "turns.jsonl", "turns"
JOURNAL_FORMAT = 3  # of plan.json and turns.jsonl
CODE, RENDERED = "tritonkit_sha256", "rendered_sha256"  # in plan.json: of tritonkit itself, and file -> hash
_SPEC, _PAYLOADS = "spec_sha256", "payloads_sha256"
_BY_TRITONKIT = ("config.pbtxt", "tritonkit.json", "model.py")


@dataclass(frozen=True)
class Round:
    """What a round was to measure, in its order: setting, rate and why.

    `ended` says why settings compete no more, where the round is to confirm one.
    """

    number: int
    turns: tuple[tuple[Setting, float, str], ...]
    ended: str = ""


@dataclass
class Journal:
    """The lines of `turns.jsonl`; each is on the disk before the next turn begins."""

    folder: Path
    settle_s: float
    session: int = 0
    rounds: list[Round] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, plan: dict[str, Any], settle_s: float) -> Journal:
        """A sweep from its beginning. Raises ProblemsError when the folder holds one, or cannot be written."""
        if holds_run(folder):
            raise refused("TK876", str(folder), "a run is in this folder already, and nothing of it was changed",
                          "give another folder with --out, or take this one away")  # fmt: skip
        if (folder / PLAN_FILE).exists():
            raise refused("TK887", str(folder), "a sweep is in this folder already",
                          f"go on with it with --resume {folder}, or give another folder with --out")  # fmt: skip
        try:
            (folder / TURNS).mkdir(parents=True, exist_ok=True)
            write_whole(folder / PLAN_FILE, json.dumps({"format": JOURNAL_FORMAT, **plan}, indent=1) + "\n")
        except OSError as error:
            raise _unwritable(folder, error) from error
        return cls(folder, settle_s)

    @classmethod
    def resume(cls, folder: Path, plan: dict[str, Any], settle_s: float, spec: str = "the spec") -> Journal:
        """One that was interrupted, of the spec at that path. Raises ProblemsError (TK887) when there is none, or it
        was another sweep.
        """
        try:
            before = dict(json.loads((folder / PLAN_FILE).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise refused("TK887", str(folder), "there is no sweep in this folder to go on with",
                          "leave --resume out, or give the folder that the sweep said") from error  # fmt: skip
        if not (folder / TURNS).is_dir():
            raise refused("TK887", str(folder), "this sweep is complete, and its samples were not kept",
                          "begin another one in another folder")  # fmt: skip
        if before.pop("format", 1) != JOURNAL_FORMAT:
            raise refused("TK887", str(folder), "the sweep in this folder was begun by another version of tritonkit",
                          "go on with it with that version, or begin another one in another folder")  # fmt: skip
        _check_same(folder, before, plan, spec)
        journal = cls(folder, settle_s)
        try:
            journal._read()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError, ProblemsError) as error:
            raise refused("TK887", str(folder), f"what the sweep has left cannot be read: {error!r}",
                          "begin another one in another folder") from error  # fmt: skip
        journal.session += 1
        return journal

    @property
    def kept(self) -> str:
        """How many turns are finished, in words."""
        return "1 finished turn is kept" if len(self.seen) == 1 else f"{len(self.seen)} finished turns are kept"

    def _read(self) -> None:
        if not (self.folder / TURNS_FILE).exists():
            return  # it ended before its first round
        text = (self.folder / TURNS_FILE).read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the last line was cut short
            write_whole(self.folder / TURNS_FILE, whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry["kind"] == "round":
                turns = tuple((Setting.of(setting), rate, why) for setting, rate, why in entry["turns"])
                self.rounds.append(Round(entry["number"], turns, entry["ended"]))
                continue
            asked = Asked(**{**entry["turn"], "setting": Setting.of(entry["turn"]["setting"])})
            self.session = max(self.session, asked.session)
            self.seen.append(read_seen(asked, self.folder_of(asked.number), self.settle_s))

    def folder_of(self, number: int) -> Path:
        """Of one turn."""
        return self.folder / TURNS / f"{number:04d}"

    def note_round(self, planned: Round) -> None:
        """A round is about to begin. Raises ProblemsError."""
        self.rounds.append(planned)
        turns = [[setting.as_json(), rate, why] for setting, rate, why in planned.turns]
        self._write({"kind": "round", "number": planned.number, "turns": turns, "ended": planned.ended})

    def note(self, asked: Asked) -> Seen:
        """A turn is whole in its folder. Raises ProblemsError."""
        seen = read_seen(asked, self.folder_of(asked.number), self.settle_s)
        self._write({"kind": "turn", "turn": {**asdict(asked), "setting": asked.setting.as_json()}})
        self.seen.append(seen)
        return seen

    def forget(self) -> None:
        """Nothing was measured, so there is nothing to go on with: the folder is free for another sweep."""
        shutil.rmtree(self.folder / TURNS, ignore_errors=True)
        for name in (TURNS_FILE, PLAN_FILE):
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            with (self.folder / TURNS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def drop_samples(self) -> None:
        """The sweep is complete, and nobody asked to keep them."""
        shutil.rmtree(self.folder / TURNS, ignore_errors=True)


def _check_same(folder: Path, before: Mapping[str, Any], plan: Mapping[str, Any], spec: str) -> None:
    """Raises ProblemsError (TK887) with the first thing in which the plans differ, and nothing beside it.

    Of files a plan has hashes, which tell nobody anything. Whether tritonkit itself is another says why files differ,
    and alone it is no matter.
    """
    was, now = _leaves(before), _leaves(plan)
    differing = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name) and name != CODE]
    files = [name.removeprefix(f"{RENDERED}.") for name in differing if name.startswith(f"{RENDERED}.")]
    others = [name for name in differing if not name.startswith(f"{RENDERED}.") and name != _PAYLOADS]
    updated = was.get(CODE) != now.get(CODE)
    if others and others[0] != _SPEC:
        first, second = (json.dumps(one.get(others[0])) for one in (was, now))
        message = f"the sweep in this folder had another `{others[0]}`: {first}, and not {second}"
        raise refused("TK887", str(folder), message, "give what it had, or begin another one in another folder")
    if not differing:
        return
    hint = "bring it back to what it was, or begin another sweep in another folder"
    if others:
        message = f"{spec} was changed since the sweep here began, or is another spec"
    elif files:
        of_tritonkit = all(name.endswith(_BY_TRITONKIT) for name in files)
        of_user = f"the models, data or steps of {spec} were changed"
        why = of_user if not updated else "tritonkit was changed" if of_tritonkit else f"tritonkit or {of_user}"
        more = f" and {len(files) - 1} more are" if len(files) > 1 else " is"
        message = f"`{files[0]}`{more} not what was served when the sweep here began: {why}"
    elif updated:
        message = f"tritonkit, or the data that {spec} is asked with, was changed since the sweep here began"
    else:
        message = f"the data that {spec} is asked with was changed since the sweep here began"
    raise refused("TK887", str(folder), message, hint)


def _leaves(plan: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`machine.versions.numpy` -> its value; lists are whole."""
    found: dict[str, Any] = {}
    for name, value in plan.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _unwritable(folder: Path, error: OSError) -> ProblemsError:
    return refused("TK876", str(folder), f"the sweep's files cannot be written: {error.strerror or error}".lower(),
                   "free some space, or give another folder with --out")  # fmt: skip
