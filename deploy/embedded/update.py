"""A running server is brought to what was rendered: tried first, then written, loaded, and put back if need be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.embedded.changes import Files, Hashes, Kind, Wanted, changes, hashes, version_of
from deploy.embedded.control import LOADING, UNLOADING, Control, Index, LoadFailedError, LogSince, ready_versions
from deploy.embedded.trial import try_model, unload_left_over
from generator.problems import ProblemsError, UserError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

SETTLE_S = 60.0


@dataclass(frozen=True)
class ModelUpdate:
    """One model: what became of it, and its versions that were ready before and are now."""

    name: str
    kind: Kind
    before: list[int]
    after: list[int]


@dataclass(frozen=True)
class Update:
    """What was done.

    `waiting` names versions that still answer their last requests, `untried` models too large to be tried, `stale`
    models whose response cache still has answers of before (2.51 keeps them over a load: seen). `warnings` are
    sentences on what went wrong beside it.
    """

    models: list[ModelUpdate]
    waiting: list[str]
    untried: list[str]
    stale: list[str]
    warnings: list[str]


def called_first(files: Files) -> list[list[str]]:
    """The models of each pipeline, first the one that clients call: a model that is a step of no other.

    A model may be of several. Of ensembles that are steps of each other, which no server loads, it is any.
    """
    steps = _steps(files)
    below = {step for found in steps.values() for step in found}
    pipelines: list[list[str]] = []
    for name in sorted(steps, key=lambda name: (name in below, not steps[name])):
        if name not in below or not any(name in found for found in pipelines):
            pipelines.append(_with_steps(name, steps))
    return pipelines


def _steps(files: Files) -> dict[str, list[str]]:
    """The models of the repository, and of each those that its steps run, if it is an ensemble."""
    known = Wanted(files, [])
    models = [path.removesuffix("/config.pbtxt") for path in files if path.endswith("/config.pbtxt")]
    steps = {name: known.config(name).ensemble_scheduling.step for name in models if "/" not in name}
    return {
        name: list(dict.fromkeys(s.model_name for s in found if s.model_name in steps and s.model_name != name))
        for name, found in steps.items()
    }


def _with_steps(name: str, steps: Mapping[str, Sequence[str]]) -> list[str]:
    """A model, those of its steps, theirs, and so on."""
    found = [name]
    for model in found:  # which grows meanwhile
        found += [step for step in steps[model] if step not in found]
    return found


class Updater:
    """Brings one server to what is wanted.

    `loaded` are the hashes of what it has loaded so far, `root` is its repository, which has the files of `on_disk`
    now. `settle_s` is how long versions may take to come and go once they are loaded. Changes during which requests
    fail are refused unless `interrupt`.
    """

    def __init__(
        self, control: Control, loaded: Hashes, root: Path, on_disk: Hashes, *, settle_s: float = SETTLE_S,
        interrupt: bool = False, on_progress: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._control, self._loaded, self._root, self._settle_s = control, loaded, root, settle_s
        self._on_disk, self._interrupt = on_disk, interrupt
        self._say = on_progress or (lambda _line: None)

    def run(
        self, wanted: Wanted, write: Callable[[], None], put_back: Callable[[], None], note: Callable[[Hashes], None]
    ) -> Update:
        """Tries what is new, calls `write`, loads, and waits until all is as wanted.

        `write` brings the files into the repository, `put_back` those that were there before; `note` keeps what is
        loaded for the next update, a hash of "" where that is not known. Raises UserError (LoadFailedError with the
        causes), and OSError of `note` and `write`. When a trial failed nothing was written; after that the files
        are put back, and the server is asked to load those again. What goes wrong once all is loaded is a warning.
        """
        new = hashes(wanted.files)
        kinds = changes(self._loaded, new)
        before = self._control.index()
        if not self._interrupt:
            self._check_between(wanted, kinds, before)
        with contextlib.suppress(UserError):  # they take memory, and nothing else
            unload_left_over(self._control)
        untried = self._try(wanted, kinds, before)
        since = self._control.watch("")
        expected, others = self._expected(wanted, kinds, before)
        note({path: "" if _kind(kinds, path) != "same" else value for path, value in {**self._loaded, **new}.items()})
        try:
            write()
        except BaseException:
            with contextlib.suppress(OSError):
                note(self._loaded)  # all of it is written, or nothing
            raise
        try:
            self._load(wanted, kinds, {"added", "changed"})
            waiting, after = self._settle(expected, since)
        except BaseException as error:
            self._take_back(wanted, kinds, put_back, note, error)
            raise
        stuck = self._unload([name for name, kind in kinds.items() if kind == "removed"])
        warnings = [f"{wrong}, as before the update" for wrong in _differences(after, others)]
        warnings += [f"{name} could not be unloaded: {why}" for name, why in stuck.items()]
        models = [
            ModelUpdate(
                name, kind, ready_versions(before, name), [] if kind == "removed" else ready_versions(after, name)
            )
            for name, kind in kinds.items()
        ]
        try:
            note({**{path: "" for path in self._loaded if path.partition("/")[0] in stuck}, **new})
        except OSError as failed:
            warnings.append(f"what is loaded could not be noted ({failed}): the next update loads it again")
        return Update(models, waiting, untried, self._stale(wanted, kinds, before), warnings)

    def _expected(
        self, wanted: Wanted, kinds: Mapping[str, Kind], before: Index
    ) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """The versions that models have to serve in the end; and those of models that failed before this update."""
        served = {name: wanted.served(name) for name, kind in kinds.items() if kind != "removed"}
        others = {n: v for n, v in served.items() if kinds[n] == "same" and ready_versions(before, n) != v}
        return {name: versions for name, versions in served.items() if name not in others}, others

    def _unload(self, names: Sequence[str]) -> dict[str, str]:
        """Unloads these; those that would not go, and why."""
        stuck = {}
        for name in names:
            self._say(f"unloading {name}")
            try:
                self._control.unload(name)
            except UserError as failed:
                stuck[name] = failed.message
        return stuck

    def _stale(self, wanted: Wanted, kinds: Mapping[str, Kind], before: Index) -> list[str]:
        """Models that may answer from a cache what they would not say now: an answer is kept by model and version."""
        found, steps = [], _steps(wanted.files)
        changed = {name for name, kind in kinds.items() if kind in {"added", "changed"}}
        for name in dict.fromkeys(name for models in wanted.pipelines for name in models):
            config, ready = wanted.config(name), ready_versions(before, name)
            if changed.isdisjoint(_with_steps(name, steps)) or not config.response_cache.enable or not ready:
                continue
            # An ensemble's version says nothing of its members'.
            replaced = [v for v in self._new_versions(wanted, name, before) if v in ready]
            if config.platform == "ensemble" or replaced:
                found.append(name)
        return found

    def _check_between(self, wanted: Wanted, kinds: Mapping[str, Kind], before: Index) -> None:
        """Members of an ensemble are exchanged one after the other: what passes between them has to stay as it is.

        Seen on 2.51: where it does not, an old member's tensors reach a new one until the last is loaded.
        """
        for models in wanted.pipelines:
            for name in models[1:]:
                if (
                    kinds.get(name) != "changed"
                    or not ready_versions(before, name)
                    or not ready_versions(before, models[0])
                ):
                    continue
                if _tensors(self._control.config(name)) != _tensors(wanted.config(name)):
                    raise UserError(
                        f"model `{name}` takes or gives other tensors than the one that is served: while the models "
                        f"of `{models[0]}` are exchanged, requests would fail",
                        "give the new pipeline another `name` and serve both, or say `--interrupt` to let them fail",
                    )

    def _try(self, wanted: Wanted, kinds: Mapping[str, Kind], before: Index) -> list[str]:
        """Tries what the server does not serve yet. Raises LoadFailedError; names those too large for it."""
        untried = []
        for name, kind in kinds.items():
            if kind not in {"added", "changed"}:
                continue
            config = wanted.config(name)
            if config.platform == "ensemble":
                continue  # nothing of it is loaded but its wiring, which was checked when it was rendered
            # Where the configuration alone differs, one version tells whether it can be served so.
            versions = self._new_versions(wanted, name, before) or wanted.served(name)[-1:]
            self._say(f"trying {name}, version {', '.join(map(str, versions))}")
            if not try_model(self._control, config, wanted.of(name), versions, self._say):
                untried.append(name)
        return untried

    def _new_versions(self, wanted: Wanted, name: str, before: Index) -> list[int]:
        """The wanted versions that are not served with these very files."""
        ready = ready_versions(before, name)
        had = {path: value for path, value in self._loaded.items() if path.startswith(f"{name}/")}
        has = {f"{name}/{path}": value for path, value in hashes(wanted.of(name)).items()}

        def part(files: Hashes, version: int) -> Hashes:
            return {p: value for p, value in files.items() if version_of(p.partition("/")[2]) == version}

        return [v for v in wanted.served(name) if v not in ready or part(had, v) != part(has, v)]

    def _load(self, wanted: Wanted, kinds: Mapping[str, Kind], which: set[Kind]) -> None:
        loaded: set[str] = set()
        for models in wanted.pipelines:
            changed = [name for name in models if kinds.get(name) in which and name not in loaded]
            loaded.update(changed)
            for name in changed:
                # The server loads what is newer than what it has, and does not see that a directory went.
                os.utime(self._root / name / "config.pbtxt")
            if changed:
                # Several come together, so that no ensemble meets one of the old and one of the new.
                name = changed[0] if len(changed) == 1 else models[0]
                self._say(f"loading {name}")
                self._control.load(name)

    def _settle(self, expected: Mapping[str, Sequence[int]], since: LogSince) -> tuple[list[str], Index]:
        """Waits until every model serves what is expected; names versions that still answer their last requests.

        Raises LoadFailedError or UserError when one does not come or does not go.
        """
        deadline, pause_s = time.monotonic() + self._settle_s, 0.02
        while True:
            index = self._control.index()
            wrong = _differences(index, expected)
            unloading, loading = (_in_state(index, expected, state) for state in (UNLOADING, LOADING))
            late = time.monotonic() > deadline
            if not wrong and (late or not unloading):
                return unloading, index
            if late or (wrong and not loading and not unloading):
                if causes := since.causes():
                    raise LoadFailedError(causes)
                message = f"the server does not serve what was rendered: {'; '.join(wrong)}"
                raise UserError(message, f"its log says more: {since.path}")
            time.sleep(pause_s)
            pause_s = min(0.2, pause_s * 1.5)

    def _take_back(
        self, wanted: Wanted, kinds: Mapping[str, Kind], put_back: Callable[[], None],
        note: Callable[[Hashes], None], error: BaseException,
    ) -> None:  # fmt: skip
        """The files of before, and the server with them; tells `error`, which is the cause, where that is not so.

        Seen on 2.51: the server does not forget the version whose place was to be taken, and stopping it takes the
        whole of its exit timeout then.
        """
        untold = []
        try:
            put_back()
        except (UserError, ProblemsError, OSError) as failed:
            untold.append(f"the old files could not be put back: {failed}")
        lost = sorted(name for name, kind in kinds.items() if kind == "changed" and self._lost(name))
        if lost:
            untold.append(
                f"the repository did not have (or is not known to have had) what the server had loaded of "
                f"{', '.join(lost)}, so that was not loaded again"
            )
        untold += self._return(wanted, kinds, set(lost))
        if not untold:
            with contextlib.suppress(OSError):
                note(self._loaded)
        elif isinstance(error, UserError):
            error.message = "; ".join([error.message, *untold])
            error.args = (error.message,)
        else:
            for line in untold:
                self._say(line)

    def _lost(self, name: str) -> bool:
        """Whether the files that the server has loaded of a model were gone from the repository before."""
        return any(self._on_disk.get(p) != h for p, h in self._loaded.items() if p.startswith(f"{name}/"))

    def _return(self, wanted: Wanted, kinds: Mapping[str, Kind], lost: set[str]) -> list[str]:
        """Has the server load again what was put back, pipeline by pipeline; sentences on what does not load."""
        untold = []
        for models in wanted.pipelines:
            if lost.isdisjoint(models):
                try:
                    self._load(replace(wanted, pipelines=[models]), kinds, {"changed"})
                except (UserError, OSError) as failed:
                    untold.append(f"the old files of {models[0]} could not be loaded again: {failed}")
        for name in [name for name, kind in kinds.items() if kind == "added"]:
            with contextlib.suppress(UserError):  # it did not load, or nobody will ask for it
                self._control.unload(name)
        return untold


def _kind(kinds: Mapping[str, Kind], path: str) -> Kind:
    """What is done with the model that a file is of; those of none stay as they are."""
    return kinds.get(path.partition("/")[0], "same")


def _tensors(config: ModelConfig) -> list[tuple[str, str, int, tuple[int, ...]]]:
    """Inputs and outputs: which of the two, name, dtype, dims."""
    sides = (("input", config.input), ("output", config.output))
    return sorted((side, t.name, t.data_type, tuple(t.dims)) for side, tensors in sides for t in tensors)


def _in_state(index: Index, models: Mapping[str, Sequence[int]], state: str) -> list[str]:
    return [f"{name} version {v}" for name in models for v, found in index.get(name, {}).items() if found == state]


def _differences(index: Index, expected: Mapping[str, Sequence[int]]) -> list[str]:
    """A phrase for each model of which other versions are ready than expected."""
    return [
        f"{name} has {', '.join(map(str, ready)) or 'none'} instead of {', '.join(map(str, versions)) or 'none'}"
        for name, versions in expected.items()
        if (ready := ready_versions(index, name)) != sorted(versions)
    ]
