"""Claim: what the served path adds to decoding, resizing and the network is small; by how much, in each layout.

    python benchmarks/photos.py [--rounds 5] [--output DIRECTORY]   about eight minutes on two cores
    python benchmarks/photos.py --quick --output /tmp/photos        half a minute: only whether all of it works
    python benchmarks/photos.py --profile                           where the server's CPU goes, instead

specs/photos.yaml over scikit-image's photographs in full size: (a) the bound, the same code in two processes without
a server; this project's layouts `ensemble` and `fused` on the embedded server; (b) the style of tutorials, three
Triton models by hand; (c) the same pipeline behind FastAPI and uvicorn. Every round starts all of them anew; they
then take turns of a few seconds, in a new order each time, one image a request and eight. Every answer is compared.
Writes photos.json (every turn, every latency), photos.svg and the tables in photos.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import machine, rounds
from photos_systems.bound import BATCH, Bound
from photos_systems.ours import ours
from photos_systems.profile import profile
from photos_systems.report import draw, profile_table, put_between, tables
from photos_systems.results import OURS, Measured, comparisons, counted, measured, summaries, targets
from photos_systems.served import Served, triton
from photos_systems.tutorial import pillow_pixels, tutorial_answers, write_repository
from photos_systems.web import WORKERS, fastapi
from photos_systems.work import (
    CLONE,
    EIGHT,
    MODES,
    ONE,
    Mode,
    Photos,
    Slice,
    System,
    expected_answers,
    read_photos,
)

from deploy.embedded.needs import needs_of_repository
from generator.whole_file import write_whole

HERE = Path(__file__).parent
SYSTEMS = ("bound", "ensemble", "fused", "tutorial", "fastapi")
SEED, SECONDS, SLICES = 1, 3.0, 2
QUICK_SECONDS = 0.4
LONGER = (1, 4, 16)  # times a turn that had no answer in its time
ONNX = CLONE / "models" / "photos.onnx"
CAVEATS = [
    "Client and servers share the same cores: what the client takes, no server has.",
    "A closed loop: latencies compare systems under the same pressure, and promise nothing under another.",
    "A shared machine: only what was measured within one turn is compared; absolute figures move from run to run.",
    "The tutorials' models take one image a request: files of unequal length are no rows of one UINT8 tensor.",
    "The tutorials' network runs in a Python model, as ours does: the server's wheel has no ONNX backend.",
    "The bound receives nothing: what the kernel does for 100 kB a request over loopback counts as above it.",
]


def photographs(longest: int | None) -> Photos:
    """build/photos/, made if it is not there; or the same made smaller, `longest` pixels on the longer side."""
    sys.path.append(str(CLONE / "models"))  # its scripts import each other
    from make_photos import FOLDER, encoded_photographs, write_photographs  # type: ignore[import-not-found]

    if longest is not None:
        files = encoded_photographs(longest)
        return Photos(tuple(files), tuple(files.values()))
    if not list(FOLDER.glob("*.jpg")):
        write_photographs(FOLDER)
    return read_photos(FOLDER)


def systems(names: list[str], photos: Photos, folder: Path) -> list[System]:
    """Those that are asked for, not yet started."""
    expected = expected_answers(photos, ONNX)
    made: dict[str, System] = {}
    for layout in {name for name in names if name in ("ensemble", "fused")} | {"ensemble"}:
        own = ours(layout, folder)
        made[layout] = Served(layout, triton(own.repository, own.needs, own.plan.name, photos), photos, expected)
        if layout == "ensemble":
            made["bound"] = Bound(own.plan, own.files, photos, expected)
    if "tutorial" in names:
        repository = write_repository(folder, ONNX)
        start = triton(repository, needs_of_repository(repository), "tutorial", photos, as_bytes=True)
        made["tutorial"] = Served("tutorial", start, photos, tutorial_answers(photos, ONNX), (ONE,))
    if "fastapi" in names:
        made["fastapi"] = Served("fastapi", fastapi(ONNX, photos), photos, expected)
    return [made[name] for name in names]


def check(system: System, mode: Mode, photos: Photos, part: Slice) -> None:
    """SystemExit at the first answer that is not what it must be."""
    requests, expected = photos.requests(mode), system.expected()
    for done in part.done:
        items = requests[done.request]
        if not done.answers.same_as(expected.of(items)):
            names = ", ".join(photos.names[item] for item in items)
            raise SystemExit(f"{system.name}, {mode.name}: another answer to {names} than expected: {done.answers}")


def answered(system: System, mode: Mode, photos: Photos, seconds: float, seed: int) -> Slice:
    """One turn, checked. A short one on a busy machine may have no answer in its time: then a longer one is taken.

    Raises SystemExit when that has none either.
    """
    for longer in LONGER:
        part = system.measure(mode, seconds * longer, seed)
        check(system, mode, photos, part)
        if counted(part):
            return part
        say(f"{system.name}, {mode.name}: no answer within {seconds * longer:g} s")
    raise SystemExit(f"{system.name}, {mode.name}: no answer within {seconds * LONGER[-1]:g} s; look at its log")


def run(chosen: list[System], photos: Photos, count: int, slices: int, seconds: float) -> list[Measured]:
    """All rounds."""
    found: list[Measured] = []
    order = random.Random(SEED)  # noqa: S311
    began = time.monotonic()
    for number in range(1, count + 1):
        with ExitStack() as stack:
            for system in order.sample(chosen, len(chosen)):
                say(f"round {number}/{count}: starting {system.name}")
                stack.enter_context(system)
            cases = [(system, mode) for system in chosen for mode in system.modes]
            for turn, (system, mode) in rounds(cases, slices, SEED + number):
                part = answered(system, mode, photos, seconds, SEED + turn)
                found.append(measured(system.name, mode, (number, turn), part))
                last = found[-1]
                say(
                    f"round {number}/{count}, turn {turn}/{slices}, {time.monotonic() - began:4.0f} s: "
                    f"{last.system:8} {last.mode:22} {last.images_per_s:6.0f} images/s "
                    f"{last.server_cpu_us:6.0f} + {last.client_cpu_us:3.0f} µs"
                )
    return found


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(line + "\n")


def pillow_difference(photos: Photos) -> dict[str, Any]:
    """How far the tutorials' pixels and answers are from ours: Pillow smooths while it makes an image smaller."""
    import cv2
    import numpy as np

    pixels = []
    for data in photos.files:
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        small = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
        pixels.append(float(np.abs(small.astype(np.int16) - pillow_pixels(data)).mean()))
    one, other = expected_answers(photos, ONNX), tutorial_answers(photos, ONNX)
    return {
        "mean_pixel_difference": dict(zip(photos.names, [round(value, 2) for value in pixels], strict=True)),
        "same_first_label": int((one.labels[:, 0] == other.labels[:, 0]).sum()),
        "of": len(photos.files),
        "largest_score_difference": round(one.difference(other), 3),
    }


def write_profile(layouts: list[str], photos: Photos, output: Path, seconds: float) -> None:
    """photos-profile.json, and the same on standard output."""
    expected, found = expected_answers(photos, ONNX), {}
    for layout in layouts:
        with tempfile.TemporaryDirectory() as folder:
            own = ours(layout, Path(folder))
            for mode in MODES:
                say(f"profile of {layout}, {mode.name}")
                found[f"{layout}, {mode.name}"] = profile(layout, own, photos, expected, mode=mode, seconds=seconds)
    text = json.dumps({"format": 1, "unit": "CPU in µs an image", "profile": found}, indent=1, ensure_ascii=False)
    write_whole(output / "photos-profile.json", text + "\n")
    update(output, "profile", profile_table({"profile": found}))
    print(text)


def update(output: Path, mark: str, content: str) -> None:
    """Puts figures into photos.md where there is one."""
    page = output / "photos.md"
    if page.is_file():
        write_whole(page, put_between(page.read_text(encoding="utf-8"), mark, content))


def main() -> None:
    """Measures and writes both files, or the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of one turn (default: {SECONDS:g})")
    parser.add_argument("--turns", type=int, default=SLICES, help=f"of each system and mode a round ({SLICES})")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="one round of short turns: figures mean nothing")
    parser.add_argument("--profile", action="store_true", help="write photos-profile.json instead")
    parser.add_argument("--longest", type=int, metavar="PIXELS",
                        help="make the photographs smaller, and write photos-PIXELS.json alone")  # fmt: skip
    parser.add_argument("--output", type=Path, default=HERE, help="where the files go (default: benchmarks/)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.turns, options.seconds = 1, 1, QUICK_SECONDS
    options.output.mkdir(parents=True, exist_ok=True)
    photos = photographs(options.longest)
    if options.profile:
        layouts = [name for name in OURS if name in options.systems]
        write_profile(layouts, photos, options.output, options.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        chosen = systems(options.systems, photos, Path(folder))
        found = run(chosen, photos, options.rounds, options.turns, options.seconds)
    summary, compared = summaries(found), comparisons(found)
    result: dict[str, Any] = {
        "format": 1,
        "command": "python benchmarks/" + " ".join([Path(__file__).name, *sys.argv[1:]]),
        "seed": SEED, "rounds": options.rounds, "turns_a_round": options.turns, "seconds_a_turn": options.seconds,
        "modes": [asdict(mode) for mode in MODES], "bound_batch": BATCH,
        "web_workers": WORKERS,
        "machine": machine("nvidia-pytriton", "onnxruntime", "opencv-python-headless", "numpy", "pillow", "fastapi",
                           "uvicorn", "uvloop", "httptools", "scikit-image"),
        "photographs": {name: len(data) for name, data in zip(photos.names, photos.files, strict=True)},
        "caveats": CAVEATS, "pillow": pillow_difference(photos),
        "summary": summary, "compared": compared, "targets": targets(compared, ONE, EIGHT),
        "slices": [asdict(part) for part in found],
    }  # fmt: skip
    print(tables(result))
    if options.longest is not None:
        for part in result["slices"]:
            del part["latencies_us"]  # this run is about CPU, and the percentiles stand in the summary
        write_whole(options.output / f"photos-{options.longest}.json", json.dumps(result) + "\n")
        return
    write_whole(options.output / "photos.json", json.dumps(result) + "\n")
    draw(summary, options.output / "photos.svg")
    update(options.output, "figures", tables(result))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
