"""A running server is brought to what was rendered: tried first, then written, loaded, and put back if need be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.embedded.changes import Hashes, Kind, Wanted, changes, hashes, version_of
from deploy.embedded.control import LOADING, READY, UNLOADING, Control, Index, LoadFailedError, LogSince
from deploy.embedded.trial import try_model
from generator.problems import UserError

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
    models whose response cache still has answers of before (2.51 keeps them over a load: seen).
    """

    models: list[ModelUpdate]
    waiting: list[str]
    untried: list[str]
    stale: list[str]


class Updater:
    """Brings one server to what is wanted.

    `loaded` are the hashes of what it has loaded so far, `root` is its repository. `settle_s` is how long versions
    may take to come and go once they are loaded. Changes during which requests fail are refused unless `interrupt`.
    """

    def __init__(
        self, control: Control, loaded: Hashes, root: Path, *, settle_s: float = SETTLE_S, interrupt: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._control, self._loaded, self._root, self._settle_s = control, loaded, root, settle_s
        self._interrupt = interrupt
        self._say = on_progress or (lambda _line: None)

    def run(self, wanted: Wanted, write: Callable[[], None], put_back: Callable[[], None]) -> Update:
        """Tries what is new, calls `write`, loads, and waits until all is as wanted.

        `write` brings the files into the repository, `put_back` those that were there before. Raises UserError
        (LoadFailedError with the causes). When a trial failed nothing was written; after that the files are put
        back and the server is asked to load those again.
        """
        kinds = changes(self._loaded, hashes(wanted.files))
        before = self._control.index()
        if not self._interrupt:
            self._check_between(wanted, kinds, before)
        untried = self._try(wanted, kinds, before)
        write()
        since = self._control.watch("")
        try:
            self._load(wanted, kinds, {"added", "changed"})
            waiting = self._settle(
                {name: wanted.served(name) for name, kind in kinds.items() if kind != "removed"}, since
            )
        except BaseException:
            put_back()
            self._return(wanted, kinds)
            raise
        for name in [name for name, kind in kinds.items() if kind == "removed"]:
            self._say(f"unloading {name}")
            self._control.unload(name)
        after = self._control.index()
        models = [
            ModelUpdate(name, kind, _ready(before, name), [] if kind == "removed" else _ready(after, name))
            for name, kind in kinds.items()
        ]
        return Update(models, waiting, untried, self._stale(wanted, kinds, before))

    def _stale(self, wanted: Wanted, kinds: Mapping[str, Kind], before: Index) -> list[str]:
        """Models that may answer from a cache what they would not say now: an answer is kept by model and version."""
        found = []
        for models in wanted.pipelines:
            changed = [name for name in models if kinds.get(name) in {"added", "changed"}]
            for name in models if changed else []:
                config, ready = wanted.config(name), _ready(before, name)
                if not config.response_cache.enable or not ready:
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
                if kinds.get(name) != "changed" or not _ready(before, name) or not _ready(before, models[0]):
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
            if not try_model(self._control, config, wanted.of(name), versions):
                untried.append(name)
        return untried

    def _new_versions(self, wanted: Wanted, name: str, before: Index) -> list[int]:
        """The wanted versions that are not served with these very files."""
        ready = _ready(before, name)
        had = {path: value for path, value in self._loaded.items() if path.startswith(f"{name}/")}
        has = {f"{name}/{path}": value for path, value in hashes(wanted.of(name)).items()}

        def part(files: Hashes, version: int) -> Hashes:
            return {p: value for p, value in files.items() if version_of(p.partition("/")[2]) == version}

        return [v for v in wanted.served(name) if v not in ready or part(had, v) != part(has, v)]

    def _load(self, wanted: Wanted, kinds: Mapping[str, Kind], which: set[Kind]) -> None:
        for models in wanted.pipelines:
            changed = [name for name in models if kinds.get(name) in which]
            for name in changed:
                # The server loads what is newer than what it has, and does not see that a directory went.
                os.utime(self._root / name / "config.pbtxt")
            if changed:
                # Several come together, so that no ensemble meets one of the old and one of the new.
                name = changed[0] if len(changed) == 1 else models[0]
                self._say(f"loading {name}")
                self._control.load(name)

    def _settle(self, expected: Mapping[str, Sequence[int]], since: LogSince) -> list[str]:
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
                return unloading
            if late or (wrong and not loading and not unloading):
                if causes := since.causes():
                    raise LoadFailedError(causes)
                message = f"the server does not serve what was rendered: {'; '.join(wrong)}"
                raise UserError(message, f"its log says more: {since.path}")
            time.sleep(pause_s)
            pause_s = min(0.2, pause_s * 1.5)

    def _return(self, wanted: Wanted, kinds: Mapping[str, Kind]) -> None:
        """Has the server load again what was put back; what fails now is a consequence of what is told.

        Seen on 2.51: the server does not forget the version whose place was to be taken, and stopping it takes the
        whole of its exit timeout then.
        """
        with contextlib.suppress(UserError, OSError):
            self._load(wanted, kinds, {"changed"})
        for name in [name for name, kind in kinds.items() if kind == "added"]:
            with contextlib.suppress(UserError):
                self._control.unload(name)


def _tensors(config: ModelConfig) -> list[tuple[str, str, int, tuple[int, ...]]]:
    """Inputs and outputs: which of the two, name, dtype, dims."""
    sides = (("input", config.input), ("output", config.output))
    return sorted((side, t.name, t.data_type, tuple(t.dims)) for side, tensors in sides for t in tensors)


def _ready(index: Index, model: str) -> list[int]:
    return sorted(version for version, state in index.get(model, {}).items() if state == READY)


def _in_state(index: Index, models: Mapping[str, Sequence[int]], state: str) -> list[str]:
    return [f"{name} version {v}" for name in models for v, found in index.get(name, {}).items() if found == state]


def _differences(index: Index, expected: Mapping[str, Sequence[int]]) -> list[str]:
    """A phrase for each model of which other versions are ready than expected."""
    return [
        f"{name} has {', '.join(map(str, ready)) or 'none'} instead of {', '.join(map(str, versions)) or 'none'}"
        for name, versions in expected.items()
        if (ready := _ready(index, name)) != sorted(versions)
    ]
