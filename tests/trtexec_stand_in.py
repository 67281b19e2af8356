"""Stands in for trtexec: takes its words, and writes a plan that the stand-in for TensorRT's runtime loads.

A plan has the header of a real one (of the TensorRT that `TRTEXEC_VERSION` names, as in 101501), a line of JSON with
the profile, and the graph. `TRTEXEC_FAILS` is what it says before it ends without one.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path


def plan(graph: bytes, version: tuple[int, ...], profiles: list[dict[str, list[list[int]]]]) -> bytes:
    """A plan of `version`, four numbers."""
    rest = json.dumps({"profiles": profiles}).encode() + b"\n" + graph
    return struct.pack("<4sIQQ4B", b"ftrt", 0, 1, 28 + len(rest), *version) + rest


def program(folder: Path) -> Path:
    """A program called trtexec in `folder`."""
    file = folder / "trtexec"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
    file.chmod(0o755)
    return file


def _shapes(given: dict[str, str], word: str) -> dict[str, list[int]]:
    pairs = (part.rsplit(":", 1) for part in given[f"--{word}Shapes"].split(","))
    return {name: [int(length) for length in lengths.split("x")] for name, lengths in pairs}


def main(words: list[str]) -> int:
    number = os.environ.get("TRTEXEC_VERSION", "100900")
    if words == ["--help"]:
        print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec --help")
        return 0
    if said := os.environ.get("TRTEXEC_FAILS"):
        print(f"[01/01/2026-00:00:00] [E] {said}")
        return 1
    given = {name: value for name, _, value in (word.partition("=") for word in words)}
    least, usual, most = (_shapes(given, word) for word in ("min", "opt", "max"))
    profile = {name: [least[name], usual[name], most[name]] for name in usual}
    version = (int(number) // 10000, int(number) // 100 % 100, int(number) % 100, 0)
    Path(given["--saveEngine"]).write_bytes(plan(Path(given["--onnx"]).read_bytes(), version, [profile]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
