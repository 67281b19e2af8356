from __future__ import annotations

import base64

import pytest
from image_files import corpus, encoded, picture, png_of, segment

from tritonkit_runtime.steps.header import ImageError, read_header
from tritonkit_runtime.steps.quiet import Quiet

CORPUS = corpus()
PNG, JPEG = encoded(picture()), encoded(picture(), ".jpg")
CONVERT = "convert it to PNG or JPEG"
OWN_BYTES = "send the image's own bytes"
DECODE = "decode it and send the image's own bytes"
BINARY = "read the file in binary mode"


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_header(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (CORPUS["gif"], f"a GIF: {CONVERT}"),
        (CORPUS["webp"], f"a WebP: {CONVERT}"),
        (CORPUS["bmp"], f"a BMP: {CONVERT}"),
        (CORPUS["tiff"], f"a TIFF: {CONVERT}"),
        (b"MM\0*\0\0\0\x08", f"a TIFF: {CONVERT}"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", f"a HEIC: {CONVERT}"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", f"a HEIC: {CONVERT}"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", f"an AVIF: {CONVERT}"),
        (b"\0\0\0\x1cftypisom\0\0\2\0", f"a video (MP4): {CONVERT}"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", f"a JPEG 2000: {CONVERT}"),
        (b"\xff\x4f\xff\x51\0\x2f", f"a JPEG 2000: {CONVERT}"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", f"a JPEG XL: {CONVERT}"),
        (b"\xff\x0a\xfa\x1f", f"a JPEG XL: {CONVERT}"),
        (b"8BPS\0\1", f"a Photoshop file: {CONVERT}"),
        (b"\0\0\1\0\1\0", f"an icon (ICO): {CONVERT}"),
        (b"P6\n4 4 255\n", f"a PNM: {CONVERT}"),
        (b"%PDF-1.7\n", f"a PDF: {CONVERT}"),
        (b"\x93NUMPY\1\0", f"a NumPy file: {CONVERT}"),
        (b"\x1f\x8b\x08\0", "gzip data: unpack it first"),
        (b"PK\3\4\x14\0", "a ZIP archive: unpack it first"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', f"an SVG: {CONVERT}"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg/>', f"an SVG: {CONVERT}"),
        (b'<?xml version="1.0"?><page/>', f"XML: {OWN_BYTES}"),
        (b"<!DOCTYPE html><title>404</title>", f"HTML: {OWN_BYTES}"),
        (b"\n<html>", f"HTML: {OWN_BYTES}"),
        (b'{"image": "iVBORw0KGgo"}', f"JSON: {OWN_BYTES}"),
        (b"[137, 80, 78, 71]", f"JSON: {OWN_BYTES}"),
        (b"data:image/png;base64," + base64.b64encode(PNG), f"a data: URL: {DECODE}"),
        (base64.b64encode(PNG), f"a PNG's base64 text: {DECODE}"),
        (base64.b64encode(JPEG), f"a JPEG's base64 text: {DECODE}"),
        (b'"' + base64.b64encode(JPEG) + b'"', f"a JPEG's base64 text: {DECODE}"),
        (repr(base64.b64encode(PNG)).encode(), f"a PNG's base64 text: {DECODE}"),
        (base64.b64encode(CORPUS["gif"]), f"base64 text: {DECODE}"),
        (b"https://example.org/cat.jpg", f"a URL: nothing is fetched, {OWN_BYTES}"),
        (b"/home/me/cat.jpg", f'text ("/home/me/cat.jpg"): {OWN_BYTES}'),
        (b"\xef\xbb\xbfHello,\r\n\tworld" + b"!" * 50, f'text ("Hello, world!!!!!!!!..."): {OWN_BYTES}'),
        (PNG.decode("utf-8", "replace").encode(), f"a file that was read as text: {BINARY}"),
        (PNG.decode("latin-1").encode(), f"a file that was read as text: {BINARY}"),
        (JPEG.decode("latin-1").encode(), f"a file that was read as text: {BINARY}"),
        (PNG.replace(b"\r\n", b"\n"), f"a file that was read as text: {BINARY}"),
        (
            len(PNG).to_bytes(4, "little") + PNG,
            f"one behind 4 other bytes: {OWN_BYTES}, without a length before them",
        ),
        (
            len(JPEG).to_bytes(4, "little") + JPEG,
            f"one behind 4 other bytes: {OWN_BYTES}, without a length before them",
        ),
    ],
)
def test_what_came_instead_is_named(data: bytes, what: str) -> None:
    assert refused(data) == f"not a PNG or JPEG image but {what}"


@pytest.mark.parametrize(
    ("data", "first"),
    [(b"\x89", "89"), (b"\xff\xd8", "ff d8"), (bytes(40), "00 00 00 00"), (b" \n\t ", "20 0a 09 20"), (b"BM1 caf\xe9", "42 4d 31 20")],
)  # fmt: skip
def test_of_anything_else_the_first_bytes_are_told(data: bytes, first: str) -> None:
    assert refused(data) == f"not a PNG or JPEG image (first bytes {first})"


@pytest.mark.parametrize(
    "name", ["png rgb", "png animated", "png interlaced", "jpeg", "jpeg progressive", "jpeg thumbnail"]
)
def test_a_file_that_ends_anywhere_too_early_is_refused(name: str) -> None:
    whole = CORPUS[name]
    assert read_header(whole).width == 23
    for length in range(len(whole)):
        message = refused(whole[:length])
        if length >= 8:
            assert message.startswith("the image cannot be decoded: this ")
            assert message.endswith("(truncated)")
        else:
            assert message.startswith(
                ("empty", "not a PNG or JPEG image (first bytes", "the image cannot be decoded")
            )


def test_nothing_of_a_hostile_file_is_in_a_message_but_printable_ascii() -> None:
    for data in (
        b"a\x1b[31mred",
        b"a\0b\nc",
        png_of(b"\0\0\0\1\n\x1b[m" + bytes(9)),
        b"\xff\xd8" + segment(0xC5, bytes(9)),
    ):
        message = refused(data)
        assert message.isascii()
        assert message.isprintable()


def test_quiet_nests_and_gives_stderr_back(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    quiet = Quiet()
    with quiet:
        with quiet:
            os.write(2, b"lost ")
        os.write(2, b"lost too ")
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_quiet_does_without_a_stderr() -> None:
    import subprocess
    import sys

    script = (
        "import os; from tritonkit_runtime.steps.quiet import Quiet; quiet = Quiet(); os.close(2)\n"
        "with quiet: pass\n"
        "print(len(os.listdir('/proc/self/fd')))\n"
        "with quiet: pass\n"
        "print(len(os.listdir('/proc/self/fd')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    before, after = done.stdout.split()
    assert before == after
