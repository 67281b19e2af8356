"""The labelled data that a spec names under `accuracy`, as requests, and how right the answers are."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.plan import Tensor
from generator.problems import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Encoding = Literal["png", "jpeg"]


@dataclass(frozen=True)
class GateSet:
    """`items` are one mapping a request item: input name → encoded bytes, or an array without the batch axis.

    `labels` [items, …] are what is right, one or more an item.
    """

    items: tuple[Mapping[str, Any], ...]
    labels: Array


def read_gate_set(file: Path, inputs: Sequence[Tensor], encoding: Encoding = "png") -> GateSet:
    """Reads an .npz with one array a pipeline input [items, …] and `labels` [items, …].

    Images (UINT8 [items, height, width] or with 1 or 3 channels last) of an input of encoded bytes are encoded as
    `encoding`. Raises UserError when the file is not such a one.
    """
    import numpy as np

    if not zipfile.is_zipfile(file):
        raise UserError(f"the gate set {file} cannot be read: it is no .npz archive", "numpy.savez writes one")
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"the gate set {file} cannot be read: {error}") from error
    wanted = [t.name for t in inputs] + ["labels"]
    if missing := [name for name in wanted if name not in arrays]:
        raise UserError(
            f"the gate set {file} has no array {', '.join(f'`{n}`' for n in missing)}; it has {', '.join(arrays)}",
            "it needs one array for each input of the pipeline, and `labels`",
        )
    if scalars := [name for name in wanted if arrays[name].ndim == 0]:
        raise UserError(f"`{scalars[0]}` of the gate set {file} is one value, and not an array of items")
    lengths = {name: len(arrays[name]) for name in wanted}
    if len(set(lengths.values())) != 1:
        raise UserError(f"the arrays of the gate set {file} differ in length: {lengths}")
    columns = {
        t.name: [encode(image, encoding) for image in arrays[t.name]] if t.dtype == "STRING" else list(arrays[t.name])
        for t in inputs
    }
    items = tuple({name: column[i] for name, column in columns.items()} for i in range(lengths["labels"]))
    return GateSet(items, arrays["labels"])


def encode(image: Array, encoding: Encoding) -> bytes:
    """A UINT8 image [height, width] or [height, width, 1 or 3 (RGB)] as a file. JPEG loses some; PNG nothing."""
    import cv2

    pixels = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    done, data = cv2.imencode(".png" if encoding == "png" else ".jpg", pixels)
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as {encoding}")
    return data.tobytes()


def top1(answers: Sequence[Array | None], labels: Array) -> float:
    """The share of labels that stand first in their answer; an item without answer counts as wrong.

    An answer is [k] for one label an item, [n, k] for n of them; values are compared as text.
    """
    right = total = 0
    for answer, label in zip(answers, labels, strict=True):
        wanted = [str(value) for value in label.reshape(-1)]
        total += len(wanted)
        if answer is not None:
            first = answer[..., 0].reshape(-1)
            right += sum(as_text(a) == b for a, b in zip(first, wanted, strict=True))
    return right / total if total else 0.0


def as_text(value: object) -> str:
    """A label as text, whether it came as bytes, text or number."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
