"""A batch's images into a lane's staging or a parcel: decoded by the CPU, or by the GPU where it takes the file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.preprocess.decoder import turned
from tritonkit_runtime.preprocess.jpeg import Kind, kind_of, orientation_of
from tritonkit_runtime.preprocess.parcel import Packed, Parcel
from tritonkit_runtime.preprocess.staging import Staging
from tritonkit_runtime.steps.base import Images
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.image_file import Header, ImageError


def from_images(staging: Staging | Parcel, batch: Batch, images: Images) -> list[int]:
    """Which items have a row now, in order; the others have failed."""
    good = []
    for index, image in enumerate(images):
        if image is not None:
            staging.add(image, batch.size - index - 1)
            good.append(index)
    return good


def from_files(
    staging: Staging, batch: Batch, headers: Sequence[Header | None], decode: Decode, kinds: frozenset[Kind]
) -> list[int]:
    """The same of files: JPEGs of these `kinds` are decoded by the GPU, all others by `decode` meanwhile."""
    asked: dict[int, tuple[Header, int]] = {}
    for index, header in enumerate(headers):
        if header is not None and kind_of(header) in kinds and (said := orientation_of(header)) is not None:
            asked[index] = header, said
    answers = staging.decode([header for header, _ in asked.values()])
    decoded = dict(zip(asked, answers, strict=True))
    good = []
    for index, header in enumerate(headers):
        if header is None:
            continue
        if (image := decoded.get(index)) is not None:
            staging.point(turned(image, asked[index][1], decode.channels))
        else:
            try:
                staging.add(decode.pixels(header), batch.size - index - 1)
            except ImageError as error:
                batch.fail(index, str(error))
                continue
        good.append(index)
    return good


def into_parcel(
    parcel: Parcel, batch: Batch, headers: Sequence[Header | None], decode: Decode, kinds: frozenset[Kind], *,
    refused: Collection[int],
) -> list[int]:  # fmt: skip
    """The same for another process to decode: other files, and the items it has `refused`, go as pixels."""
    good = []
    for index, header in enumerate(headers):
        if header is None or index in batch.failed:
            continue
        left, said = batch.size - index - 1, None
        if index not in refused and kind_of(header) in kinds:
            said = orientation_of(header)
        if said is None or not parcel.add_file(header, said, left):
            try:
                parcel.add(decode.pixels(header), left)
            except ImageError as error:
                batch.fail(index, str(error))
                continue
        good.append(index)
    return good


def from_parcels(staging: Staging, parcels: Sequence[Sequence[Packed]], channels: int) -> list[list[int]]:
    """Batches of several instances, one behind the other; of each the rows whose file was not decoded, now zeros."""
    files = [
        Header(item.width, item.height, data=item.data) for parcel in parcels for item in parcel if item.orientation
    ]
    decoded = iter(staging.decode(files))
    refused = []
    for parcel in parcels:
        own = []
        for row, item in enumerate(parcel):
            if not item.orientation:
                staging.bring(item.address, item.height, item.width)
            elif (image := next(decoded)) is not None:
                staging.point(turned(image, item.orientation, channels))
            else:
                staging.skip()
                own.append(row)
        refused.append(own)
    return refused
