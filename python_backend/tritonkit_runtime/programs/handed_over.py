"""Steps and their engine on a GPU, in a process that all instances share: files and pixels are handed over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.engine_process.worker import RemoteEngine, RemoteSession
from tritonkit_runtime.parameters import Buffers, EngineProgram
from tritonkit_runtime.preprocess.filling import from_images, into_parcel
from tritonkit_runtime.preprocess.jpeg import Kind
from tritonkit_runtime.preprocess.parcel import Parcel
from tritonkit_runtime.preprocess.recipe import Recipe
from tritonkit_runtime.preprocess.wanted import Wanted
from tritonkit_runtime.programs.buffered import check_buckets, elsewhere
from tritonkit_runtime.programs.pairs import Pair
from tritonkit_runtime.programs.preprocessed import Fill, PreprocessedRunner
from tritonkit_runtime.programs.runners import Signature


def handed_over(
    pair: Pair, program: EngineProgram, buffers: Buffers, signature: Signature, folder: Path, *, wanted: Wanted
) -> PreprocessedRunner:
    """Checks files and decodes what the process does not, and leaves the rest to it. ParameterError."""
    check_buckets(buffers, signature)
    ready = elsewhere(program, buffers, signature, folder, wanted)
    if not isinstance(engine := ready.engine, RemoteEngine):
        raise TypeError("the engine is not in another process")
    filling = partial(_filling, wanted.recipe(), engine)
    return PreprocessedRunner(pair, ready.ring, ready.close, filling=filling, refused=_refused)


def _session(lane: Lane) -> RemoteSession:
    if not isinstance(lane.session, RemoteSession):
        raise TypeError("the lane is not another process's")
    return lane.session


def _parcel(lane: Lane) -> Parcel:
    parcel = _session(lane).parcel
    if parcel is None:
        raise TypeError("the process has no kernel for images")
    return parcel


def _refused(lane: Lane) -> Sequence[int]:
    return _session(lane).refused


def _filling(recipe: Recipe, engine: RemoteEngine, batch: Batch, given: Array) -> Fill:
    if not engine.kinds or recipe.decode is None:
        made = [recipe.images(batch, given)]  # which are made as they are taken, once

        def put(parcel: Parcel, refused: Collection[int]) -> list[int]:  # noqa: ARG001 — it is given no files
            return from_images(parcel, batch, made.pop() if made else recipe.images(batch, given))
    else:
        decode, headers = recipe.decode, recipe.headers(batch, given)
        kinds = frozenset(Kind(*kind) for kind in engine.kinds)

        def put(parcel: Parcel, refused: Collection[int]) -> list[int]:
            return into_parcel(parcel, batch, headers, decode, kinds, refused=refused)

    def fill(lane: Lane, refused: Collection[int]) -> list[int]:
        parcel = _parcel(lane)
        items = batch.size
        while True:
            parcel.clear(items)
            good = put(parcel, refused)
            # The process has room for what is handed over: none for items that have only now been found to be bad.
            if parcel.fits(items := len(good)):
                return good

    return fill
