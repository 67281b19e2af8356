"""What benchmarks/engines_gpu.py takes to the GPU machine: graphs, gate tensors, expected answers and ranges.

`prepare` runs where the project is installed; `unpack` where nothing but onnx and numpy is, and makes what would be
too large to carry: ResNet-50's weights from their seed, and every graph again in fp16.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engines_gpu_nms import prepare_cases

ROOT = Path(__file__).resolve().parent.parent
SEED, IMAGES, TOKENS, PART_BYTES = 50, 8, 64, 50 << 20
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # of ResNet-50: channels inside, blocks
METHODS = {"embeddings": "minmax"}  # as its spec says
Arrays = dict[str, np.ndarray[Any, Any]]


# ResNet-50, with random weights ------------------------------------------------------------------------------------


class _Resnet:
    """Nodes and weights of ResNet-50 as it is exported: normalisation folded into the convolutions."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        from onnx import numpy_helper

        values = self.random.standard_normal(shape, np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, name: str, shape: tuple[int, int, int], stride: int = 1, gain: float = 1.0) -> str:
        channels, inside, kernel = shape
        scale = gain * (2 / (inside * kernel * kernel)) ** 0.5
        inputs = [x, self.weight(f"{name}.w", (channels, inside, kernel, kernel), scale)]
        inputs.append(self.weight(f"{name}.b", (channels,), 0.02))
        pads = [kernel // 2] * 4
        return self.node("Conv", inputs, name, kernel_shape=[kernel] * 2, pads=pads, strides=[stride] * 2)

    def block(self, x: str, name: str, inside: int, channels: int, stride: int) -> str:
        out = 4 * channels
        y = self.node("Relu", [self.conv(x, f"{name}.a", (channels, inside, 1))], f"{name}.a.relu")
        y = self.node("Relu", [self.conv(y, f"{name}.b", (channels, channels, 3), stride)], f"{name}.b.relu")
        # A quarter of the gain keeps sixteen residual additions within fp16.
        y = self.conv(y, f"{name}.c", (out, channels, 1), gain=0.25)
        if inside != out:
            x = self.conv(x, f"{name}.d", (out, inside, 1), stride)
        return self.node("Relu", [self.node("Add", [y, x], f"{name}.add")], f"{name}.relu")


def resnet50(seed: int = SEED) -> Any:
    """ResNet-50 as an ONNX model with weights from a seed: images [batch, 3, 224, 224] to logits [batch, 1000]."""
    from onnx import TensorProto, helper

    net = _Resnet(seed)
    x = net.node("Relu", [net.conv("images", "stem", (64, 3, 7), 2)], "stem.relu")
    x = net.node("MaxPool", [x], "pool", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    inside = 64
    for stage, (channels, blocks) in enumerate(STAGES):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            x = net.block(x, f"s{stage}.{block}", inside, channels, stride)
            inside = 4 * channels
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x], "mean")], "flat")
    weights = [net.weight("fc.w", (inside, 1000), 0.02), net.weight("fc.b", (1000,), 0.02)]
    net.node("Gemm", [x, *weights], "logits")
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(net.nodes, "resnet50", [images], [logits], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# Where the project is installed ------------------------------------------------------------------------------------


def prepare(folder: Path, progress: Callable[[str], None]) -> None:
    """Fills `folder`. A model that is not there is left out, and said."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, make in (("digits", _digits), ("resnet50", _resnet), ("embeddings", _embeddings)):
        made = make()
        if made is None:
            progress(f"{name}: models/{name}.onnx is not here; left out")
            continue
        model, gate, calibration, carried = made
        progress(f"{name}: expected answers and ranges")
        kept = calibration if name == "digits" else {}  # for engines_gpu_int8.py
        _write_gate(folder / f"{name}.npz", model, gate, kept)
        ranges = _ranges(model, calibration, METHODS.get(name, "entropy"))
        (folder / f"{name}.ranges.json").write_text(json.dumps(ranges))
        graphs = {"fp32": model, "qdq": _quantised(model, ranges)}
        if layers := _mixed_layers(name):
            graphs["mixed"] = _quantised(model, ranges, layers)
        if carried:
            _write_weights(folder, name, model)
        sources = {weight.raw_data: weight.name for weight in _large(model)}
        for word, graph in graphs.items():
            (folder / f"{name}.{word}.graph").write_bytes(_stripped(graph, sources))
    progress("efficient_nms: the detector with two ways of suppression")
    prepare_cases(folder)
    _share_out(folder, progress)


def _share_out(folder: Path, progress: Callable[[str], None]) -> None:
    """Moves the files into part-0, part-1, …, each small enough to travel in one go."""
    sizes: list[int] = []
    for file in sorted(folder.iterdir(), key=lambda file: (-file.stat().st_size, file.name)):
        size = file.stat().st_size
        number = next((n for n, held in enumerate(sizes) if held + size <= PART_BYTES), len(sizes))
        if number == len(sizes):
            sizes.append(0)
            (folder / f"part-{number}").mkdir()
        sizes[number] += size
        file.rename(folder / f"part-{number}" / file.name)
        progress(f"part-{number}/{file.name}: {size:,} bytes")


def _digits() -> tuple[Any, Arrays, Arrays, bool]:
    import onnx
    from sklearn.datasets import load_digits

    gate = np.load(ROOT / "data/digits-gate.npz")
    held_out = {image.tobytes() for image in gate["image"]}
    # The images that the network was trained on, in its own scale: what the pipeline's resize and normalise give.
    others = list(np.rint(load_digits().images * 255 / 16).astype(np.uint8))
    calibration = np.stack([image for image in others if image.tobytes() not in held_out][:512])
    model = onnx.load(ROOT / "models/digits.onnx")
    arrays = {"pixels": _pixels(gate["image"]), "labels": gate["labels"]}
    return model, arrays, {"pixels": _pixels(calibration)}, True


def _pixels(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (images.astype(np.float32) / np.float32(255))[:, None]


def _resnet() -> tuple[Any, Arrays, Arrays, bool]:
    random = np.random.default_rng(SEED + 1)
    images = random.standard_normal((3 * IMAGES, 3, 224, 224), np.float32)
    return resnet50(), {"images": images[:IMAGES]}, {"images": images[IMAGES:]}, False


def _embeddings() -> tuple[Any, Arrays, Arrays, bool] | None:
    import onnx

    file = ROOT / "models/embeddings.onnx"
    if not file.exists():
        return None
    gate, calibration = (_tokens(ROOT / f"data/embeddings-{word}.npz") for word in ("gate", "calibration"))
    return onnx.load(file), gate, calibration, True


def _tokens(file: Path) -> Arrays:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(ROOT / "data/embeddings-tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    with np.load(file) as arrays:
        encodings = tokenizer.encode_batch([text.decode() for text in arrays["text"]])
    ids = np.array([encoding.ids for encoding in encodings], np.int32)
    return {"input_ids": ids, "attention_mask": np.array([e.attention_mask for e in encodings], np.int32)}


def _slices(arrays: Arrays, size: int) -> Iterator[Arrays]:
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def _write_gate(file: Path, model: Any, gate: Arrays, calibration: Arrays) -> None:
    from generator.engine.runner import OnnxRunner

    inputs = {name: array for name, array in gate.items() if name != "labels"}
    runner = OnnxRunner(model.SerializeToString(), threads=2)
    parts = [runner.run(batch) for batch in _slices(inputs, 8)]
    runner.close()
    answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays = {f"in|{name}": array for name, array in inputs.items()}
    arrays |= {f"out|{name}": array for name, array in answers.items()}
    arrays |= {f"cal|{name}": array for name, array in calibration.items()}
    arrays |= {"labels": gate["labels"]} if "labels" in gate else {}
    np.savez(file, **arrays)


def _ranges(model: Any, calibration: Arrays, method: str) -> dict[str, tuple[float, float]]:
    from generator.engine.calibrate import collect
    from generator.engine.runner import Samples

    samples = Samples(tuple(_slices(calibration, 8)), "")
    return dict(collect(model, samples, method, symmetric=True))


def _quantised(model: Any, ranges: dict[str, tuple[float, float]], layers: list[str] | None = None) -> Any:
    from generator.engine.precision import quantize

    return quantize(model, ranges, layers=layers)


def _mixed_layers(name: str) -> list[str]:
    """The layers that benchmarks/engines.py found to bear int8; none where it left all of them, or none."""
    file = ROOT / f"benchmarks/engines/{name}-mixed.json"
    facts = json.loads(file.read_text()) if file.exists() else {}
    some = facts.get("quantised", {}).get("stay", {})
    return list(facts["mixed"]["layers"]) if some else []


def _large(model: Any) -> list[Any]:
    return [weight for weight in model.graph.initializer if len(weight.raw_data) >= 1024]


def _write_weights(folder: Path, name: str, model: Any) -> None:
    """The large weights in parts that are small enough to travel; keys are numbers, in the graph's order."""
    parts: list[Arrays] = [{}]
    size = 0
    for number, weight in enumerate(_large(model)):
        if size and size + len(weight.raw_data) > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][str(number)] = np.frombuffer(weight.raw_data, np.uint8)
        size += len(weight.raw_data)
    names = [weight.name for weight in _large(model)]
    (folder / f"{name}.weights.json").write_text(json.dumps(names))
    for number, part in enumerate(parts):
        np.savez(folder / f"{name}.weights.{number}.npz", **part)


def _stripped(model: Any, sources: dict[bytes, str]) -> bytes:
    """The graph without its large weights; each says in doc_string whose numbers it has in the FP32 graph."""
    small = type(model).FromString(model.SerializeToString())
    for weight in _large(small):
        if weight.raw_data in sources:
            weight.doc_string = sources[weight.raw_data]
            weight.raw_data = b""
    return bytes(small.SerializeToString(deterministic=True))


# On the GPU machine ------------------------------------------------------------------------------------------------


def unpack(folder: Path, progress: Callable[[str], None]) -> None:
    """Writes NAME.fp32.onnx, NAME.qdq.onnx, NAME.mixed.onnx and NAME.fp16.onnx of what was prepared."""

    from generator.engine.precision import cast

    for file in sorted(folder.glob("*.ranges.json")):
        name = file.name.removesuffix(".ranges.json")
        weights = _resnet_weights() if name == "resnet50" else _carried_weights(folder, name)
        words = [word for word in ("fp32", "qdq", "mixed") if (folder / f"{name}.{word}.graph").exists()]
        made = {word: _filled(folder / f"{name}.{word}.graph", weights) for word in words}
        made["fp16"] = cast(made["fp32"], "fp16")
        for word, graph in made.items():
            (folder / f"{name}.{word}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        progress(f"{name}: graphs in fp32, with Q/DQ and in fp16")


def _resnet_weights() -> dict[str, bytes]:
    return {weight.name: weight.raw_data for weight in resnet50().graph.initializer}


def _carried_weights(folder: Path, name: str) -> dict[str, bytes]:
    names = json.loads((folder / f"{name}.weights.json").read_text())
    weights: dict[str, bytes] = {}
    for part in sorted(folder.glob(f"{name}.weights.*.npz")):
        with np.load(part) as arrays:
            weights |= {names[int(key)]: arrays[key].tobytes() for key in arrays.files}
    return weights


def _filled(file: Path, weights: dict[str, bytes]) -> Any:
    import onnx

    model = onnx.load_model_from_string(file.read_bytes())
    for weight in model.graph.initializer:
        if weight.doc_string:
            weight.raw_data = weights[weight.doc_string]
            weight.ClearField("doc_string")  # also its presence: the file has to be the same, byte by byte
    return model
