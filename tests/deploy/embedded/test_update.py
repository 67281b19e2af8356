"""An update whose server fails at one point or another: what is put back, told, and kept for the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.changes import Hashes, Wanted, changes, hashes, version_of
from deploy.embedded.control import READY, LoadFailedError, LogSince
from deploy.embedded.log import Cause
from deploy.embedded.trial import SUFFIX
from deploy.embedded.update import Update, Updater, called_first
from generator.problems import UserError

FAILS = b"fails"


def model(name: str, text: bytes, *more: int) -> dict[str, bytes]:
    """The files of a model with version 1 and `more`."""
    versions = {f"{name}/{version}/model.onnx": text for version in (1, *more)}
    return {f"{name}/config.pbtxt": f'name: "{name}" version_policy {{ all {{ }} }}'.encode(), **versions}


class Server:
    """Serves the models of `root`; the content FAILS does not load, but passes a trial."""

    def __init__(self, root: Path, files: Mapping[str, bytes]) -> None:
        self.root, self.files, self.notes, self.fails = root, dict(files), list[Hashes](), dict[str, BaseException]()
        self.loads: list[str] = []
        self.versions: dict[str, dict[int, str]] = {}
        self.put(files)
        for name in {path.partition("/")[0] for path in files}:
            self.load(name)
        self.loads.clear()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Writes a repository, whole."""
        self._fail("write")
        for old in self.root.rglob("*"):
            if old.is_file():
                old.unlink()
        for path, data in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_bytes(data)

    def update(
        self, new: Mapping[str, bytes], *, loaded: Hashes | None = None, put_back: Any = None,
        pipelines: Sequence[Sequence[str]] = (),
    ) -> Update:  # fmt: skip
        """An update of every model to `new`, each a pipeline without `pipelines`."""
        before = {p.relative_to(self.root).as_posix(): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        server: Any = self
        updater = Updater(server, hashes(self.files) if loaded is None else loaded, self.root, hashes(before))
        wanted = Wanted(new, pipelines or [[name] for name in sorted({path.partition("/")[0] for path in new})])
        return updater.run(wanted, lambda: self.put(new), put_back or (lambda: self.put(before)), self.note)

    def note(self, files: Hashes) -> None:
        self._fail("note")
        self.notes.append(files)

    def _fail(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    # As Control has them.

    def index(self) -> Any:
        return {name: dict(versions) for name, versions in self.versions.items()}

    def config(self, model: str) -> Any:
        return Wanted(self.files, []).config(model)

    def loaded(self) -> list[str]:
        return list(self.versions)

    def watch(self, name: str) -> LogSince:
        return LogSince(self.root / "no log", name)

    def load(self, name: str, *, config: str = "", files: Mapping[str, bytes] | None = None) -> None:
        if files is not None:
            return
        self.loads.append(name)
        self._fail(f"load {name}")
        there = {p.relative_to(self.root / name).as_posix(): p for p in (self.root / name).rglob("*") if p.is_file()}
        if any(file.read_bytes() == FAILS for file in there.values()):
            raise LoadFailedError([Cause(name, "it fails")])
        self.versions[name] = {v: READY for path in there if (v := version_of(path)) is not None}

    def unload(self, name: str) -> None:
        self._fail(f"unload {name}")
        self.versions.pop(name, None)


def ensemble(name: str, *steps: str) -> dict[str, bytes]:
    """The files of an ensemble."""
    words = "".join(f'step {{ model_name: "{step}" }} ' for step in steps)
    text = f'name: "{name}" platform: "ensemble" response_cache {{ enable: true }} ensemble_scheduling {{ {words}}}'
    return {f"{name}/config.pbtxt": text.encode(), f"{name}/1/.gitkeep": b""}


OLD = {**model("a", b"1"), **model("b", b"1"), **model("gone", b"1")}
NEW = {**model("a", b"2", 2), **model("b", b"1"), **model("new", b"1")}
BROKEN = {**model("a", b"2"), **model("b", FAILS)}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, OLD)


def test_all_is_noted_at_the_end_and_nothing_is_known_meanwhile(server: Server) -> None:
    done = server.update(NEW)
    assert {m.name: (m.kind, m.before, m.after) for m in done.models} == {
        "a": ("changed", [1], [1, 2]), "b": ("same", [1], [1]), "gone": ("removed", [1], []), "new": ("added", [], [1])
    }  # fmt: skip
    assert done.warnings == []
    meanwhile, end = server.notes
    assert end == hashes(NEW)
    assert changes(meanwhile, hashes(NEW)) == {"a": "changed", "b": "same", "gone": "removed", "new": "changed"}
    assert changes(meanwhile, hashes(OLD))["a"] == "changed"


def test_an_interrupt_once_all_is_loaded_is_made_up_for_by_the_next_update(server: Server) -> None:
    server.fails["unload gone"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        server.update(NEW)
    server.fails.clear()
    server.update(NEW, loaded=server.notes[-1])
    assert set(server.versions) == {"a", "b", "new"}
    assert server.loads == ["a", "new", "a", "new"]


def test_what_goes_wrong_at_the_end_is_told(server: Server) -> None:
    server.fails["unload gone"] = UserError("the server refused: no")
    assert server.update(NEW).warnings == ["gone could not be unloaded: the server refused: no"]
    server.fails.clear()
    again = server.update(NEW, loaded=server.notes[-1])
    assert {m.name: m.kind for m in again.models} == {"a": "same", "b": "same", "gone": "removed", "new": "same"}
    assert set(server.versions) == {"a", "b", "new"}
    assert server.notes[-1] == hashes(NEW)


def test_a_record_that_cannot_be_written_stops_what_has_not_begun(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fails["note"] = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        server.update(NEW)
    assert server.loads == []
    assert (server.root / "a" / "1" / "model.onnx").read_bytes() == b"1"
    server.fails.clear()
    note, notes = server.note, iter([False, True])

    def fails_at_the_end(files: Hashes) -> None:
        if next(notes):
            raise OSError(28, "No space left on device")
        note(files)

    monkeypatch.setattr(server, "note", fails_at_the_end)
    [warning] = server.update(NEW).warnings
    assert "could not be noted" in warning


def test_what_cannot_be_written_changes_nothing(server: Server) -> None:
    server.fails["write"] = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        server.update(NEW)
    assert server.loads == []
    assert server.notes[-1] == hashes(OLD)


def test_what_a_killed_trial_left_goes(server: Server) -> None:
    server.versions[f"a{SUFFIX}-0123abcd"] = {1: READY}
    server.update(NEW)
    assert set(server.versions) == {"a", "b", "new"}
    server.versions[f"a{SUFFIX}-0123abcd"] = {1: READY}
    server.fails[f"unload a{SUFFIX}-0123abcd"] = UserError("the server refused: no")
    server.files = NEW
    assert {m.kind for m in server.update(NEW).models} == {"same"}, "it takes memory, and nothing else"


def test_what_does_not_load_is_put_back_and_loaded_again(server: Server) -> None:
    with pytest.raises(LoadFailedError, match=r"^b: it fails$"):
        server.update(BROKEN)
    assert server.loads == ["a", "b", "a", "b"]
    assert (server.root / "b" / "1" / "model.onnx").read_bytes() == b"1"
    assert server.notes[-1] == hashes(OLD)


def test_files_that_cannot_be_put_back_hide_no_cause(server: Server) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(LoadFailedError, match=r"^b: it fails; the old files could not be put back: .*No space"):
        server.update(BROKEN, put_back=full)
    assert server.loads == ["a", "b", "a", "b"], "it loads what is there all the same"
    assert changes(server.notes[-1], hashes(OLD))["b"] == "changed", "what is loaded is not known"


def test_one_pipeline_that_does_not_come_back_stops_no_other(server: Server) -> None:
    server.fails["load a"] = UserError("the server refused: no")
    with pytest.raises(UserError, match=r"^the server refused: no; the old files of a could not be loaded again: "):
        server.update({**BROKEN, **model("gone", b"1")})
    assert server.loads == ["a", "a", "b"]


def test_a_model_that_was_broken_before_takes_back_no_good_change(server: Server) -> None:
    server.versions["b"] = {1: "UNAVAILABLE"}
    done = server.update(NEW)
    assert done.warnings == ["b has none instead of 1, as before the update"]
    assert server.versions["a"] == {1: READY, 2: READY}
    assert server.notes[-1] == hashes(NEW)


def test_files_that_were_overwritten_before_are_not_taken_for_those_that_are_served(server: Server) -> None:
    server.put({**OLD, **BROKEN})
    with pytest.raises(LoadFailedError, match=r"it fails; the repository did not have .* loaded of a, b, so that"):
        server.update(BROKEN)
    assert server.loads == ["a", "b"], "nothing is loaded again"
    assert changes(server.notes[-1], hashes(OLD))["b"] == "changed"


@pytest.mark.parametrize(
    ("ensembles", "pipelines"),
    [
        ({}, ["a", "b", "c"]),
        ({"pipeline": "ab"}, ["c", "pipeline a b"]),
        ({"inner": "a", "outer": ("inner", "b", "b")}, ["c", "outer inner b a"]),
        ({"one": "ab", "two": "cb"}, ["one a b", "two c b"]),
        ({"one": ("two", "a"), "two": ("one", "b")}, ["c", "one two a b"]),
        ({"itself": ("itself", "a", "missing")}, ["b", "c", "itself a"]),
    ],
)  # fmt: skip
def test_the_first_of_a_pipeline_is_a_step_of_no_other(
    ensembles: Mapping[str, tuple[str, ...]], pipelines: list[str]
) -> None:
    files = {path: data for name in "abc" for path, data in model(name, b"1").items()}
    files["a/1/config.pbtxt"] = b"of the model itself"
    for name, steps in ensembles.items():
        files |= ensemble(name, *steps)
    assert sorted(map(" ".join, called_first(files))) == pipelines


def test_only_ensembles_of_what_has_changed_may_answer_from_before(tmp_path: Path) -> None:
    """Of the two inside `outer` one runs what has changed."""
    rest = {
        **ensemble("outer", "left", "right"),
        **ensemble("left", "a"),
        **ensemble("right", "b"),
        **model("b", b"1"),
    }
    server = Server(tmp_path, {**rest, **model("a", b"1")})
    new = {**rest, **model("a", b"2")}
    done = server.update(new, pipelines=called_first(new))
    assert sorted(done.stale) == ["left", "outer"]
    assert server.loads == ["a"]


def test_what_several_pipelines_share_is_loaded_once(tmp_path: Path) -> None:
    ensembles = {**ensemble("left", "both", "one"), **ensemble("right", "both", "two")}

    def models(text: bytes) -> dict[str, bytes]:
        return {path: data for name in ("both", "one", "two") for path, data in model(name, text).items()}

    server = Server(tmp_path, {**ensembles, **models(b"1")})
    new = {**ensembles, **models(b"2")}
    server.update(new, pipelines=called_first(new))
    assert server.loads == ["left", "two"], "the first brings what it shares with the other"
