"""Strategies for files that are nearly images: bytes, lengths, sizes, chunks and segments changed."""

from __future__ import annotations

import struct
import zlib

from hypothesis import strategies as st
from image_files import PNG_SIGNATURE, chunk, corpus, frame_header, scan_header, segment

CORPUS = corpus()
FILES = tuple(CORPUS.values())
PNGS = tuple(file for file in FILES if file.startswith(PNG_SIGNATURE))
JPEGS = tuple(file for file in FILES if file.startswith(b"\xff\xd8"))

LENGTHS = (0, 1, 2, 3, 12, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF4, 0xFFFFFFF5, 0xFFFFFFF8, 0xFFFFFFFF)
SIZES = (0, 1, 2, 7, 8, 9, 100, 141, 200, 1000, 20_000, 65_535, 1_000_001, 0x7FFFFFFF, 0xFFFFFFFF)
PNG_NAMES = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"tRNS",
    b"bKGD",
    b"eXIf",
    b"iCCP",
    b"gAMA",
)
JPEG_MARKERS = (*range(0xC0, 0xD0), 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE, 0x00, 0x01, 0x02, 0xFF)


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """One to three changes to a file of the corpus, mostly within its structure."""
    file = draw(st.sampled_from(PNGS) | st.sampled_from(JPEGS) | st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 3))):
        within = draw(st.integers(0, 3))
        if within and file.startswith(PNG_SIGNATURE):
            file = change_chunks(draw, file)
        elif within and file.startswith(b"\xff\xd8"):
            file = change_segments(draw, file)
        else:
            file = draw(st.sampled_from(_ANYWHERE))(draw, file)
    return file[:100_000]


# Bytes -----------------------------------------------------------------------------------------------------


def _position(draw: st.DrawFn, file: bytes) -> int:
    return draw(st.integers(0, len(file)))


def change_bytes(draw: st.DrawFn, file: bytes) -> bytes:
    changed = bytearray(file)
    for _ in range(draw(st.integers(1, 6))):
        if changed:
            changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def overwrite(draw: st.DrawFn, file: bytes) -> bytes:
    at = _position(draw, file)
    value = draw(st.sampled_from(LENGTHS)).to_bytes(4, "big")[-draw(st.sampled_from((1, 2, 4))) :]
    return file[:at] + value + file[at + len(value) :]


def cut(draw: st.DrawFn, file: bytes) -> bytes:
    return file[: _position(draw, file)]


def remove(draw: st.DrawFn, file: bytes) -> bytes:
    at = _position(draw, file)
    return file[:at] + file[at + draw(st.integers(1, 40)) :]


def insert(draw: st.DrawFn, file: bytes) -> bytes:
    at = _position(draw, file)
    return file[:at] + draw(st.binary(min_size=1, max_size=20)) * draw(st.sampled_from((1, 1, 2, 50))) + file[at:]


def splice(draw: st.DrawFn, file: bytes) -> bytes:
    other = draw(st.sampled_from(FILES))
    return file[: _position(draw, file)] + other[_position(draw, other) :]


_ANYWHERE = (change_bytes, change_bytes, overwrite, cut, remove, insert, splice)


# PNG chunks, with right checksums --------------------------------------------------------------------------


def chunks_of(file: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk, as far as the file goes."""
    found, position = [], 8
    while position + 12 <= len(file):
        (length,) = struct.unpack_from(">I", file, position)
        found.append((file[position + 4 : position + 8], file[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def change_chunks(draw: st.DrawFn, file: bytes) -> bytes:
    parts = chunks_of(file)
    if not parts:
        return file
    at = draw(st.integers(0, len(parts) - 1))
    how = draw(
        st.sampled_from(("size", "content", "repeat", "drop", "swap", "new", "other", "pixels", "repack", "length"))
    )
    name, content = parts[at]
    if how == "size" and len(parts[0][1]) == 13:
        parts[0] = (parts[0][0], _sized(draw, parts[0][1], ">I", (0, 4)))
    elif how == "content":
        parts[at] = (name, change_bytes(draw, content))
    elif how == "repeat":
        parts[at:at] = [parts[at]] * draw(st.sampled_from((1, 2, 100)))
    elif how == "drop":
        del parts[at]
    elif how == "swap":
        other = draw(st.integers(0, len(parts) - 1))
        parts[at], parts[other] = parts[other], parts[at]
    elif how == "new":
        parts.insert(at, (draw(st.sampled_from(PNG_NAMES)), draw(st.binary(max_size=40))))
    elif how == "other":
        parts.insert(at, draw(st.sampled_from(chunks_of(draw(st.sampled_from(PNGS))))))
    elif how == "pixels":
        parts[at] = (b"IDAT", zlib.compress(draw(st.binary(max_size=30)) * draw(st.sampled_from((1, 100, 3000)))))
    elif how == "repack":
        parts[at] = (name, _repacked(draw, content))
    whole = [chunk(name, content) for name, content in parts]
    if how == "length":
        whole[at] = draw(st.sampled_from(LENGTHS)).to_bytes(4, "big") + whole[at][4:]
    return PNG_SIGNATURE + b"".join(whole)


def _repacked(draw: st.DrawFn, content: bytes) -> bytes:
    """Compressed pixels whose filters and values are changed, if it is those."""
    try:
        return zlib.compress(change_bytes(draw, zlib.decompress(content)))
    except zlib.error:
        return content


def _sized(draw: st.DrawFn, content: bytes, form: str, places: tuple[int, ...]) -> bytes:
    changed = bytearray(content)
    for place in places:
        if draw(st.booleans()):
            value = draw(st.sampled_from(SIZES) | st.integers(1, 300))
            struct.pack_into(form, changed, place, value & (0xFFFF if form == ">H" else 0xFFFFFFFF))
    return bytes(changed)


# JPEG segments ---------------------------------------------------------------------------------------------


def segments_of(file: bytes) -> list[bytes]:
    """The start marker, each segment whole, and the rest from the pixels on."""
    found, position = [file[:2]], 2
    while position + 4 <= len(file) and file[position] == 0xFF and file[position + 1] not in {0xD9, 0xDA}:
        (length,) = struct.unpack_from(">H", file, position + 2)
        found.append(file[position : position + 2 + length])
        position += 2 + max(length, 2)
    return [*found, file[position:]]


def change_segments(draw: st.DrawFn, file: bytes) -> bytes:
    parts = segments_of(file)
    at = draw(st.integers(1, len(parts) - 1))
    how = draw(
        st.sampled_from(("size", "content", "repeat", "drop", "swap", "new", "other", "scan", "frame", "length"))
    )
    if how == "size":
        frames = [i for i, part in enumerate(parts) if part[1:2] in {b"\xc0", b"\xc2"} and len(part) >= 9]
        for i in frames:
            parts[i] = _sized(draw, parts[i], ">H", (5, 7))
    elif how == "content":
        parts[at] = parts[at][:4] + change_bytes(draw, parts[at][4:])
    elif how == "repeat":
        parts[at:at] = [parts[at]] * draw(st.sampled_from((1, 2, 100)))
    elif how == "drop":
        del parts[at]
    elif how == "swap":
        other = draw(st.integers(1, len(parts) - 1))
        parts[at], parts[other] = parts[other], parts[at]
    elif how == "new":
        parts.insert(at, segment(draw(st.sampled_from(JPEG_MARKERS)), draw(st.binary(max_size=40))))
    elif how == "other":
        parts.insert(at, draw(st.sampled_from(segments_of(draw(st.sampled_from(JPEGS)))[1:])))
    elif how == "scan":
        first, last, bits = draw(st.tuples(st.integers(0, 64), st.integers(0, 64), st.integers(0, 255)))
        components = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
        scan = scan_header(components, first, last, bits) + draw(st.binary(max_size=10))
        end = parts[-1].rfind(b"\xff\xd9")
        parts[-1] = parts[-1][:end] + scan * draw(st.sampled_from((1, 3, 200))) + parts[-1][end:]
    elif how == "frame":
        width, height = draw(st.tuples(st.integers(0, 300), st.integers(0, 300)))
        marker = draw(st.sampled_from((0xC0, 0xC1, 0xC2, 0xC3, 0xC9)))
        parts.insert(at, frame_header(width, height, draw(st.integers(0, 5)), marker=marker))
    elif how == "length" and len(parts[at]) >= 4:
        parts[at] = parts[at][:2] + (draw(st.sampled_from(LENGTHS)) & 0xFFFF).to_bytes(2, "big") + parts[at][4:]
    return b"".join(parts)
