"""A batch's images into a lane's staging: decoded by the CPU, or by the GPU where it takes the file."""

from __future__ import annotations

from collections.abc import Sequence

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.preprocess.decoder import turned
from tritonkit_runtime.preprocess.jpeg import Kind, kind_of, orientation_of
from tritonkit_runtime.preprocess.staging import Staging
from tritonkit_runtime.steps.base import Images
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.image_file import Header, ImageError


def from_images(staging: Staging, batch: Batch, images: Images) -> list[int]:
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
