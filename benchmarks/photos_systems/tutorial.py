"""The style of tutorials: three Triton models by hand, Pillow and numpy, FP32 between them, a request at a time."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from photos_systems.work import SIDE, Answers, Array, Photos, session, top3

SOURCE = Path(__file__).parents[1] / "photos_tutorial"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's, as in most tutorials


def write_repository(folder: Path, photos_onnx: Path) -> Path:
    """The hand-written models, and the network in the form they want. The repository's path."""
    repository = folder / "tutorial_repository"
    shutil.copytree(SOURCE, repository, ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "tutorial" / "1").mkdir(exist_ok=True)
    network = normalised_network(onnx.load(photos_onnx))
    (repository / "tutorial_engine" / "1" / "model.onnx").write_bytes(network.SerializeToString())
    return repository


def normalised_network(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for normalised FP32 [batch, 3, 224, 224]: the inverse goes into its weights.

    It costs what the other one costs: the patches are cut from another order of axes, and the cast is missing.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    by_row = weights["by_row"].tolist()  # -1, patches, pixels, patches, pixels * 3
    count, pixels = by_row[1], by_row[2]
    contrasts = weights["contrasts"].astype(np.float64).reshape(pixels, pixels, 3, -1)
    offset = weights["offset"] + (contrasts * 255 * MEAN[:, None]).sum(axis=(0, 1, 2))
    moved = (contrasts * 255 * STD[:, None]).transpose(2, 0, 1, 3).reshape(pixels * pixels * 3, -1)
    weights |= {
        "by_row": np.array([-1, 3, count, pixels, count, pixels], np.int64),
        "contrasts": moved.astype(np.float32),
        "offset": offset.astype(np.float32),
    }
    nodes = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type == "Transpose":
            node.ClearField("attribute")
            node.attribute.append(helper.make_attribute("perm", [0, 2, 4, 1, 3, 5]))
        if node.op_type != "Cast":
            node.input[:] = ["patches" if name == "numbers" else name for name in node.input]
            nodes.append(node)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.ClearField("node")
    made.graph.ClearField("initializer")
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    made.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def pillow_pixels(data: bytes) -> Array:
    """UINT8 [224, 224, 3]: Pillow smooths before it makes an image smaller, which OpenCV's `linear` does not."""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def tutorial_answers(photos: Photos, photos_onnx: Path) -> Answers:
    """What the models by hand must answer: the same steps without a server."""
    engine = session(normalised_network(onnx.load(photos_onnx)).SerializeToString())
    rows = []
    for data in photos.files:
        pixels = (pillow_pixels(data).astype(np.float32) / 255 - MEAN.astype(np.float32)) / STD.astype(np.float32)
        rows.append(engine.run(None, {"pixels": np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis])})[0][0])
    return top3(np.stack(rows))
