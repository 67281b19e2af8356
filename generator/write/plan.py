"""What a run would change: rendered files, the manifest and the disk are compared; nothing is touched."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from generator.problems import Place, Problem, ProblemsError, Severity
from generator.write import manifest, names
from generator.write.disk import Kind, kind_of, look, same_contents, sha256_of
from generator.write.manifest import MANIFEST_FILE, Entry

OwnerOf = Callable[[str], str]
"""Names the pipeline that a path was rendered for."""


@dataclass
class Plan:
    """The changes that make a repository what was rendered. All paths are relative to it."""

    writes: dict[str, bytes] = field(default_factory=dict)  # new or changed, with the manifest
    removes: list[str] = field(default_factory=list)  # files
    empties: list[str] = field(default_factory=list)  # directories that the removed files leave, deepest first
    unchanged: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)  # generated once, no longer rendered, and kept
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the repository already is what was rendered."""
        return not (self.writes or self.removes or self.empties)


def make_plan(files: Mapping[str, bytes], root: Path, owner_of: OwnerOf, *, prune: bool, whole: bool) -> Plan:
    """Compares `files` with the repository `root` (an absolute path without links, or nothing yet).

    Every problem that was found is in `Plan.problems`; a plan with errors must not be carried out.
    Raises ProblemsError when there is a manifest that cannot be read, and OSError.
    """
    plan = Plan(problems=names.check_names(files, root))
    owners = {path: owner_of(path) for path in sorted(files) if names.is_valid(path)}
    try:
        entries = manifest.load(root)
    except ProblemsError as error:
        raise ProblemsError([*plan.problems, *error.problems]) from error
    present = {path: entry for path, entry in entries.items() if look(root, path)[0] is not Kind.ABSENT}
    rendered = set(owners.values())
    old = [path for path in sorted(entries) if path not in owners]
    old = [path for path in old if whole or entries[path].pipeline in rendered]

    plan.problems += _foreign_models(owners, present, root, whole=whole)
    _plan_stale(plan, root, {path: present[path] for path in old if path in present}, prune=prune)
    plan.empties = _emptied(root, plan.removes, needed={f for path in owners for f in names.ancestors(path)})
    gone = {*plan.removes, *plan.empties}
    for path in owners:
        _plan_file(plan, root, path, files[path], entries.get(path), gone=gone)

    forgotten = set(old) - set(plan.stale)
    after = {path: entry for path, entry in entries.items() if path not in forgotten}
    for path, owner in owners.items():
        after[path] = Entry(owner, hashlib.sha256(files[path]).hexdigest())
    text = manifest.dump(after)
    if not ((root / MANIFEST_FILE).is_file() and same_contents(root / MANIFEST_FILE, text)):
        plan.writes[MANIFEST_FILE] = text
    return plan


def _foreign_models(
    owners: Mapping[str, str], present: Mapping[str, Entry], root: Path, *, whole: bool
) -> list[Problem]:
    """Models (first parts of paths) that two pipelines claim, among those rendered now and those on disk."""
    rendered = set(owners.values())
    claims: dict[str, set[str]] = {}
    for path, owner in owners.items():
        claims.setdefault(path.partition("/")[0], set()).add(owner)
    for path, entry in present.items():
        # A file may move between two pipelines that are both rendered now. One of a pipeline that was not
        # rendered stays that pipeline's own, unless everything was rendered: then that pipeline is gone.
        if not whole and entry.pipeline not in rendered and (model := path.partition("/")[0]) in claims:
            claims[model].add(entry.pipeline)
    return [
        Problem(
            "TK403",
            Place(str(root / model)),
            "",
            f"the model {model} belongs to more than one pipeline: {', '.join(sorted(claim))}",
            "give the models of each pipeline names of their own, or render all pipelines and prune",
        )
        for model, claim in sorted(claims.items())
        if len(claim) > 1
    ]


def _plan_stale(plan: Plan, root: Path, stale: Mapping[str, Entry], *, prune: bool) -> None:
    """Sorts files that are no longer rendered into those to remove and those to keep."""
    for path, entry in stale.items():
        if not prune:
            plan.stale.append(path)
        elif look(root, path) == (Kind.FILE, path) and sha256_of(root / path) == entry.sha256:
            plan.removes += [path, *_compiled(root, path)]
        else:
            plan.stale.append(path)
            message = f"{path} is no longer rendered, but was edited by hand since it was, and is kept"
            hint = "remove it yourself if it is not needed"
            plan.problems.append(_problem("TK412", root / path, message, hint, Severity.WARNING))


def _compiled(root: Path, path: str) -> list[str]:
    """What a Python that imported the file `path` has left beside it; it would keep the directory alive."""
    cache = (root / path).parent / "__pycache__"
    if not path.endswith(".py") or kind_of(cache) is not Kind.DIRECTORY:
        return []
    found = sorted(cache.glob(f"{glob.escape(Path(path).stem)}.*.pyc"))
    return [file.relative_to(root).as_posix() for file in found if kind_of(file) is Kind.FILE]


def _emptied(root: Path, removes: Iterable[str], needed: set[str]) -> list[str]:
    """The directories that have nothing left in them once `removes` are gone, deepest first."""
    gone = set(removes)
    folders = {folder for path in gone for folder in names.ancestors(path)} - needed
    empties = []
    for folder in sorted(folders, key=lambda name: (-name.count("/"), name)):
        if all(f"{folder}/{child.name}" in gone for child in (root / folder).iterdir()):
            gone.add(folder)
            empties.append(folder)
    return empties


def _plan_file(plan: Plan, root: Path, path: str, content: bytes, entry: Entry | None, *, gone: set[str]) -> None:
    """Decides what to do with one rendered file; `entry` is what the manifest says of it, `gone` what is removed."""
    kind, end = look(root, path)
    if end in gone:
        kind = Kind.ABSENT
    if kind is Kind.FILE and end == path and same_contents(root / path, content):
        plan.unchanged.append(path)
        return
    plan.writes[path] = content
    if kind is Kind.ABSENT:
        return
    place = root / end
    if kind is Kind.LINK:
        message = f"{end} is a symbolic link to {place.readlink()}, and nothing is written through links"
        plan.problems.append(_problem("TK401", place, message, "replace the link by what it leads to"))
    elif kind is not Kind.FILE or end != path:
        wanted = "a file" if end == path else "a directory"
        hint = "move it away, or prune if it was generated"
        plan.problems.append(_problem("TK402", place, f"{end} is {kind.value}, not {wanted}", hint))
    elif entry is None:
        message = f"{path} exists, was not generated by tritonkit, and differs from what would be written"
        plan.problems.append(_problem("TK402", place, message, "move it away, or delete it, and render again"))
    elif sha256_of(place) != entry.sha256:
        message = f"{path} was edited by hand since it was generated; the edit is overwritten"
        hint = "put the change into the spec, from which this file is generated"
        plan.problems.append(_problem("TK411", place, message, hint, Severity.WARNING))


def _problem(code: str, place: Path, message: str, hint: str, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(code, Place(str(place)), "", message, hint, severity)
