"""The labelled data that a spec names under `accuracy`, as requests, and how right the answers are."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator import lfs
from generator.plan import Tensor
from generator.problems import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Encoding = Literal["png", "jpeg"]


@dataclass(frozen=True)
class GateSet:
    """`items` are one mapping a request item: input name → encoded bytes, or an array without the batch axis.

    `labels` [items, …] are what is right, one or more an item. Boxes are [items, most, 5] as x0, y0, x1, y1 in pixels
    and the class, with class -1 where an item has fewer. Without labels it is empty.
    """

    items: tuple[Mapping[str, Any], ...]
    labels: Array


def read_gate_set(
    file: Path, inputs: Sequence[Tensor], encoding: Encoding = "png", *, labelled: bool = True
) -> GateSet:
    """Reads an .npz with one array a pipeline input [items, …] and `labels` [items, …].

    Images (UINT8 [items, height, width] or with 1 or 3 channels last) of an input of encoded bytes are encoded as
    `encoding`; texts are an array of texts. Without `labelled`, labels may be missing. Raises UserError when the file
    is not such a one.
    """
    import numpy as np

    if not file.is_file():
        raise UserError(f"the gate set {file} cannot be read: there is no such file", "paths count from the root")
    if not zipfile.is_zipfile(file):
        if lfs.is_pointer(file.read_bytes()[: lfs.HEAD_BYTES]):
            raise UserError(f"the gate set {file} {lfs.WHAT}", lfs.MEND)
        raise UserError(f"the gate set {file} cannot be read: it is no .npz archive", "numpy.savez writes one")
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"the gate set {file} cannot be read: {error}") from error
    wanted = [*(t.name for t in inputs), *(["labels"] if labelled or "labels" in arrays else [])]
    if missing := [name for name in wanted if name not in arrays]:
        raise UserError(
            f"the gate set {file} has no array {', '.join(f'`{n}`' for n in missing)}; it has {', '.join(arrays)}",
            "it needs one array for each input of the pipeline" + (", and `labels`" if labelled else ""),
        )
    if scalars := [name for name in wanted if arrays[name].ndim == 0]:
        raise UserError(f"`{scalars[0]}` of the gate set {file} is one value, and not an array of items")
    lengths = {name: len(arrays[name]) for name in wanted}
    if len(set(lengths.values())) != 1:
        raise UserError(f"the arrays of the gate set {file} differ in length: {lengths}")
    columns = {t.name: _column(t, arrays[t.name], encoding, file) for t in inputs}
    count = lengths[wanted[0]]
    items = tuple({name: column[i] for name, column in columns.items()} for i in range(count))
    labels = arrays.get("labels", np.zeros((count, 0)))
    if labels.dtype.kind == "f" and labels.ndim < 3 and bool((labels == np.round(labels)).all()):
        labels = labels.astype(np.int64)  # class numbers, compared as text: 1.0 would not be 1
    return GateSet(items, labels)


def _column(tensor: Tensor, array: Array, encoding: Encoding, file: Path) -> list[Any]:
    """The items of one input, as a client would send them."""
    if tensor.dtype != "STRING":
        same_length = all(dim in {-1, length} for dim, length in zip(tensor.dims, array.shape[1:], strict=False))
        if array.ndim != len(tensor.dims) + 1 or not same_length or array.dtype.name != _numpy(tensor.dtype):
            found = f"{array.dtype} {list(array.shape)}"
            raise UserError(f"`{tensor.name}` of {file} is {found}; items of it are {tensor.describe()}")
        return list(array)
    if array.dtype.kind in "US":
        texts = array.reshape(len(array), -1)[:, 0]
        return [text.encode() if isinstance(text, str) else bytes(text) for text in texts]
    of_images = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in {1, 3})
    if not tensor.encoded or array.dtype != "uint8" or not of_images or 0 in array.shape[1:]:
        wanted = "images, UINT8 [items, height, width] or with 1 or 3 channels last" if tensor.encoded else "texts"
        raise UserError(f"`{tensor.name}` of {file} is {array.dtype} {list(array.shape)}; it takes {wanted}")
    try:
        return [encode(image, encoding) for image in array]
    except ValueError as error:
        raise UserError(f"`{tensor.name}` of {file}: {error}") from error


def _numpy(dtype: str) -> str:
    """NumPy's name of a type in Triton's words: FP32 is float32."""
    return dtype.replace("FP", "float").lower()


def encode(image: Array, encoding: Encoding) -> bytes:
    """A UINT8 image [height, width] or [height, width, 1 or 3 (RGB)] as a file. JPEG loses some; PNG nothing.

    Raises ValueError for one that the format cannot hold.
    """
    import cv2

    pixels = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    try:
        done, data = cv2.imencode(".png" if encoding == "png" else ".jpg", pixels)
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"an image of shape {list(image.shape)} cannot be encoded as {encoding}")
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
