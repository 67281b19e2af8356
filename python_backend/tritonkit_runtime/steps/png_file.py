"""A PNG's chunks: its size, whether it is whole, and the file without what decoding does not need."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from tritonkit_runtime.steps.image_file import Header, broken, check_size, damaged, truncated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # the signature and the IHDR chunk
_LONGEST = 1_000_000  # pixels of a side, as libpng has it
# Encoders write pixels in chunks of 8 kB or more: a file of 20 MB has 2,500 of them.
_MAX_CHUNKS = 50_000
# Deflate's shortest code: two bits for a repetition of 258 bytes.
_MAX_RATIO = 1032
# libpng inflates what stands behind the last row too, to no end, at about 500 MB a second: so many compressed bytes
# make it busy for two seconds at the most. Longer data is inflated to see whether it ends with the pixels.
_HARMLESS_BYTES = 1_000_000
_INFLATE_BYTES = 4096  # become 4 MB at the most
# Colour type -> samples a pixel, and the bits that a sample may have.
_SAMPLES = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
_OPTIONAL = 0x20  # this bit of a chunk's first letter (a small letter): it can be decoded without

_chunk = struct.Struct(">I4s").unpack_from
_ihdr = struct.Struct(">IIBB").unpack_from


def read_png(data: bytes) -> Header:
    """The header of a whole PNG; raises ImageError."""
    if len(data) < _HEADER_BYTES:
        raise truncated("PNG", len(data), "within its header")
    if data[8:16] != b"\0\0\0\rIHDR":
        if data[12:16] == b"CgBI":
            raise broken("this PNG is one that Xcode has rewritten for iOS (CgBI): send the original")
        raise broken("this PNG does not begin with an IHDR chunk")
    width, height, bits, colour = _ihdr(data, 16)
    samples, valid = _SAMPLES.get(colour, (0, ()))
    if bits not in valid:
        raise broken(f"this PNG has colour type {colour} with {bits} bits, which PNG does not know")
    check_size(width, height, _LONGEST)
    idat_bytes, wanted = _wanted(data)
    room = idat_bytes * _MAX_RATIO * 8 // (bits * samples)
    inflated_bytes = height * (1 + (width * bits * samples + 7) // 8) if idat_bytes > _HARMLESS_BYTES else 0
    return Header(width, height, room=room, data=wanted, inflated_bytes=inflated_bytes)


def check_inflated(header: Header) -> None:
    """Raises ImageError when the PNG's compressed data does not end near its last row; as slow as inflating it."""
    most = 2 * header.inflated_bytes + 1_000_000  # interlacing adds a little, and a little more does no harm
    inflate, found = zlib.decompressobj(), 0
    view = memoryview(header.data)
    for name, begin, end in _chunks(header.data):
        if name != b"IDAT":
            continue
        for start in range(begin, end, _INFLATE_BYTES):
            try:
                found += len(inflate.decompress(view[start : min(start + _INFLATE_BYTES, end)]))
            except zlib.error as error:
                raise broken("its data is damaged") from error
            if found > most:
                raise broken("this PNG holds far more data than its pixels take")
            if inflate.eof:
                return  # libpng inflates nothing behind the end; asked again, zlib would copy all that is left


def _wanted(data: bytes) -> tuple[int, bytes]:
    """Bytes of compressed pixels, and the file with critical chunks and eXIf (the orientation) alone.

    OpenCV 4.11 trusts a chunk's length: a wrong one crashes it or costs 4 GB. It trusts the rectangles of an
    animation (acTL, fcTL) too and writes outside of its buffers; without those chunks it decodes the default
    image, as viewers do that know no animation. Compressed texts and profiles would only cost time, and with
    gAMA or sRGB libpng weighs colours otherwise when it makes them gray.
    """
    idat_bytes, keep_from = 0, 0
    kept: list[bytes] = []
    for name, begin, end in _chunks(data):
        if name == b"IDAT":
            idat_bytes += end - begin
        elif name[0] & _OPTIONAL and name != b"eXIf":
            kept.append(data[keep_from : begin - 8])
            keep_from = end + 4
    return idat_bytes, b"".join((*kept, data[keep_from:])) if kept else data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each chunk behind IHDR, up to IEND; ImageError when one is not whole."""
    position, size = _HEADER_BYTES, len(data)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > size:
            break
        length, name = _chunk(data, position)
        if not name.isalpha():
            raise damaged("PNG", position)
        end = position + 8 + length
        if end + 4 > size:
            break
        if name == b"IEND":
            return
        yield name, position + 8, end
        position = end + 4
    else:
        raise broken(f"this PNG has more than {_MAX_CHUNKS} chunks")
    raise truncated("PNG", size, "before its end chunk")
