"""Make the photographs' network, and the sample photographs themselves as JPEG files.

    python models/make_photos.py            write models/photos.onnx, and build/photos/*.jpg, which are not checked in
    python models/make_photos.py --check    compare the network with the file that is there; exit 1 if it differs

The network is drawn from a seed and trained on nothing: its answers say nothing about a photograph, and it claims no
accuracy. It is there so that the costs of decoding, resizing and moving full-size photographs show, next to an engine
that takes UINT8 and does all arithmetic itself. SEED is one under which the answers to the sample photographs differ.

    models/photos.onnx    pixels UINT8 [batch, 224, 224, 3] (RGB) -> logits FP32 [batch, 10]: scaled to -1..1, cut
                          into 14x14 patches, 16 random contrasts of each, rectified, averaged, mixed to ten numbers

The photographs are those in colour that scikit-image's wheel carries. Their licences, as scikit-image states them:
astronaut, hubble_deep_field (NASA) and rocket (SpaceX) are in the public domain; chelsea, coffee and retina are CC0;
immunohistochemistry has no known restriction; stereo_motorcycle is of the Middlebury stereo benchmark (2014), whose
authors ask to be cited. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from artifacts import BATCH, ROOT, build_model, fp32, model_differences
from onnx import helper

MODEL = ROOT / "models" / "photos.onnx"
FOLDER = ROOT / "build" / "photos"

SEED = 106
SIDE = 224
PATCH = 16  # pixels
CELL = 4  # pixels; of one weight within a patch
CONTRASTS = 16
CLASSES = 10
SHARPNESS = 400.0  # how far apart the logits lie: softmax then gives neither even nor certain answers
QUALITY = 90  # of the JPEG files

Pixels = npt.NDArray[np.uint8]


def network() -> onnx.ModelProto:
    """Return the network, every weight drawn from SEED."""
    node = helper.make_node
    count = SIDE // PATCH
    nodes = [
        # A patch's rows are 48 bytes each: they are brought together while they are bytes, not yet numbers of four.
        node("Reshape", ["pixels", "by_row"], ["rows"]),
        node("Transpose", ["rows"], ["gathered"], perm=[0, 1, 3, 2, 4]),
        node("Reshape", ["gathered", "by_patch"], ["patches"]),
        node("Cast", ["patches"], ["numbers"], to=onnx.TensorProto.FLOAT),
        node("MatMul", ["numbers", "contrasts"], ["contrast"]),
        node("Add", ["contrast", "offset"], ["moved"]),
        node("Relu", ["moved"], ["response"]),
        node("ReduceMean", ["response"], ["features"], axes=[1], keepdims=0),
        node("Gemm", ["features", "mix", "bias"], ["logits"]),
    ]
    rng = np.random.default_rng(SEED)
    values = PATCH * PATCH * 3
    contrasts = random_contrasts(rng) / values
    mix = rng.standard_normal((CONTRASTS, CLASSES))
    mix -= mix.mean(axis=0)  # it is which contrasts are strong that counts, not how strong all are
    mix *= SHARPNESS / np.sqrt(CONTRASTS)
    # pixel / 127.5 - 1, folded into the weights.
    constants = {
        "by_row": np.array([-1, count, PATCH, count, PATCH * 3], np.int64),
        "by_patch": np.array([-1, count * count, values], np.int64),
        "contrasts": (contrasts / 127.5).astype(np.float32),
        "offset": (-contrasts.sum(axis=0)).astype(np.float32),
        "mix": mix.astype(np.float32),
        "bias": np.zeros(CLASSES, np.float32),
    }
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, [BATCH, SIDE, SIDE, 3])
    return build_model("photos", nodes, [pixels], [fp32("logits", CLASSES)], constants)


def random_contrasts(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return weights [PATCH * PATCH * 3, CONTRASTS]: random colours in cells of 4x4 pixels, each summing up to 0."""
    cells = rng.standard_normal((PATCH // CELL, PATCH // CELL, 3, CONTRASTS))
    cells -= cells.mean(axis=(0, 1, 2))
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1).reshape(-1, CONTRASTS)


def sample_photographs() -> dict[str, Pixels]:
    """Return scikit-image's photographs in colour, RGB uint8 [height, width, 3] each, by name."""
    from skimage import data

    read: Any = data  # some of its functions have no annotations
    names = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
    photographs = {name: getattr(read, name)() for name in names}
    photographs["motorcycle_left"], photographs["motorcycle_right"], _ = read.stereo_motorcycle()
    return photographs


def encoded_photographs(longest: int | None = None) -> dict[str, bytes]:
    """Return the sample photographs as JPEG files by name: in full size, or `longest` pixels on the longer side."""
    files = {}
    for name, full in sorted(sample_photographs().items()):
        pixels = full
        if longest is not None:
            scale = longest / max(full.shape[:2])
            pixels = cv2.resize(full, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(
            ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        if not done:
            raise ValueError(f"{name} of shape {pixels.shape} cannot be encoded as JPEG")
        files[name] = data.tobytes()
    return files


def write_photographs(folder: Path) -> None:
    """Write every photograph as `folder`/NAME.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in encoded_photographs().items():
        (folder / f"{name}.jpg").write_bytes(data)


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status: 0, or 1 where the file is missing or differs."""
    parser = argparse.ArgumentParser(description="Make the photographs' network and the sample photographs.")
    parser.add_argument("--check", action="store_true", help="compare with the file that is there; write nothing")
    options = parser.parse_args(arguments)
    model = network()
    if not options.check:
        MODEL.write_bytes(model.SerializeToString(deterministic=True))
        write_photographs(FOLDER)
        return 0
    found = model_differences(MODEL, model, tolerance=0)
    for difference in found:
        print(difference, file=sys.stderr)
    if found:
        print("run python models/make_photos.py and commit what it writes", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
