from __future__ import annotations

from pathlib import Path

import detector_canvas
import detector_training
import make_detector
import numpy as np
import onnx
import onnxruntime
import pytest
import train_digits
from artifacts import constants_of, read_npz
from cnn import Array, Network

from generator.engine.validate.metrics import Boxes, score_f1
from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.nms import Nms


@pytest.fixture(scope="module")
def made() -> tuple[detector_canvas.Canvases, detector_canvas.Canvases, detector_canvas.Canvases]:
    return make_detector.data()


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def proposals(images: detector_canvas.Pixels) -> dict[str, np.ndarray]:
    canvas = images[:, None].astype(np.float32) / np.float32(255)
    names = ["boxes", "scores"]
    return dict(zip(names, session_of(make_detector.MODEL).run(names, {"canvas": canvas}), strict=True))


def trained_network() -> Network:
    """The network with the weights of the file."""
    network = detector_training.build_network(np.random.default_rng(0))
    constants = constants_of(onnx.load(make_detector.MODEL))
    weights = [array for name, array in constants.items() if name.startswith(("weight", "bias"))]
    for parameter, array in zip(network.parameters(), weights, strict=True):
        parameter.value = array.astype(np.float64)
    return network


def test_model_has_the_stated_contract() -> None:
    session = session_of(make_detector.MODEL)
    assert [(side.name, side.type, side.shape) for side in (*session.get_inputs(), *session.get_outputs())] == [
        ("canvas", "tensor(float)", ["batch", 1, 48, 48]),
        ("boxes", "tensor(float)", ["batch", 288, 4]),
        ("scores", "tensor(float)", ["batch", 288, 10]),
    ]
    model = onnx.load(make_detector.MODEL)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert make_detector.MODEL.stat().st_size < 250_000


def test_it_finds_nine_in_ten_of_the_held_out_digits() -> None:
    gate = read_npz(make_detector.GATE)
    step = Nms(
        boxes="boxes", scores="scores", max_detections=8, iou_threshold=0.3, score_threshold=0.4, per_class=False
    )
    found = step(Batch({}, (len(gate["image"]),)), proposals(gate["image"]))
    answers = [
        Boxes(found["boxes"][i], found["label"][i].tolist(), found["score"][i], int(found["count"][i, 0]))
        for i in range(len(gate["image"]))
    ]
    rows = [labels[labels[:, 4] >= 0] for labels in gate["labels"]]
    score = score_f1(answers, [Boxes(row[:, :4], row[:, 4].astype(int).tolist()) for row in rows])
    assert score.labels == train_digits.HELD_OUT
    assert score.value >= 0.95


def test_the_graph_is_the_network_and_the_boxes_are_decoded_from_its_head() -> None:
    images = read_npz(make_detector.GATE)["image"][:8]
    network = trained_network()
    assert make_detector.to_onnx(network) == onnx.load(make_detector.MODEL)
    head = network.forward(images[:, None] / 255)
    values = head.transpose(0, 2, 3, 1).reshape(8, 288, 15)
    places, powers = detector_training.anchors(), np.exp(values[..., 4:])
    middle = places[:, :2] + values[..., :2] * places[:, 2:]
    half = places[:, 2:] * np.exp(values[..., 2:4]) / 2
    found = proposals(images)
    boxes = np.clip(np.concatenate([middle - half, middle + half], axis=2), 0, 48)
    np.testing.assert_allclose(found["boxes"], boxes, rtol=0, atol=1e-3)
    shares = powers / powers.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(found["scores"], shares[..., :10], rtol=0, atol=1e-4)


def test_sets_are_those_the_script_makes_and_share_no_canvas(
    made: tuple[detector_canvas.Canvases, detector_canvas.Canvases, detector_canvas.Canvases],
) -> None:
    trained_on, gate, calibration = made
    there, calibrated = read_npz(make_detector.GATE), read_npz(make_detector.CALIBRATION)
    assert set(there) == {"image", "labels"}
    np.testing.assert_array_equal(there["image"], gate.image)
    np.testing.assert_array_equal(there["labels"], gate.labels)
    assert set(calibrated) == {"image"}
    np.testing.assert_array_equal(calibrated["image"], calibration.image)
    sets = [{image.tobytes() for image in canvas.image} for canvas in (trained_on, gate, calibration)]
    assert not any(sets[a] & sets[b] for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_gate_shows_each_held_out_digit_once_where_its_label_says() -> None:
    gate, digits = read_npz(make_detector.GATE), read_npz(train_digits.GATE)
    assert (gate["image"].dtype, gate["image"].shape[1:]) == (np.uint8, (48, 48))
    assert (gate["labels"].dtype, gate["labels"].shape[1:]) == (np.float32, (6, 5))
    seen = 0
    kinds = set()
    for image, labels in zip(gate["image"], gate["labels"], strict=True):
        left = image.copy()
        for x0, y0, x1, y1, label in labels[labels[:, 4] >= 0].astype(int).tolist():
            crop = image[y0:y1, x0:x1]
            assert any(
                np.array_equal(crop, detector_canvas.enlarged(digit, x1 - x0))
                for digit in digits["image"][digits["labels"] == label]
            )
            left[y0:y1, x0:x1] = 0
            seen += 1
            kinds.add(x1 - x0 >= 16)
        assert not left.any(), "all ink lies in a box"
    assert (seen, kinds) == (360, {False, True})
    assert (gate["labels"][:, :, 4] < 0).all(axis=1).any(), "one canvas is empty"


def test_a_digit_keeps_its_pixels_at_its_own_size_and_doubles_smoothly() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    np.testing.assert_array_equal(detector_canvas.enlarged(digit, 8), digit)
    twice = detector_canvas.enlarged(digit, 16).astype(int)
    assert (np.diff(twice, axis=0) >= 0).all()
    assert (np.diff(twice, axis=1) >= 0).all()
    assert (twice[0, 0], twice[-1, -1]) == (digit[0, 0], digit[-1, -1])


def test_every_digit_has_an_anchor_and_only_those_that_overlap_it() -> None:
    labels = read_npz(make_detector.GATE)["labels"]
    wanted = detector_training.targets(labels)
    assert wanted.classes.sum(axis=2).tolist() == np.ones((len(labels), 288)).tolist()
    for item in range(len(labels)):
        present = labels[item][labels[item, :, 4] >= 0]
        shown = wanted.classes[item, wanted.positive[item, :, 0] == 1].argmax(axis=1)
        assert set(shown.tolist()) == set(present[:, 4].astype(int).tolist())
        assert len(shown) >= len(present)
    # What the head would say if it were always right is where the digits are.
    places = detector_training.anchors()
    item = int((labels[:, :, 4] >= 0).sum(axis=1).argmax())
    chosen = np.flatnonzero(wanted.positive[item, :, 0])
    middle = places[chosen, :2] + wanted.boxes[item, chosen, :2] * places[chosen, 2:]
    half = places[chosen, 2:] * np.exp(wanted.boxes[item, chosen, 2:]) / 2
    corners = np.round(np.concatenate([middle - half, middle + half], axis=1), 6)
    assert {tuple(row) for row in corners.tolist()} == {
        tuple(row[:4]) for row in labels[item].tolist() if row[4] >= 0
    }


def test_the_loss_has_the_gradient_that_it_says() -> None:
    rng = np.random.default_rng(1)
    wanted = detector_training.targets(read_npz(make_detector.GATE)["labels"][:3])
    head: Array = rng.standard_normal((3, 30, 12, 12))
    _, gradient = detector_training.loss_of(head, wanted)
    strongest = np.argsort(-np.abs(gradient).reshape(-1))[rng.integers(0, 300, 40)]
    for flat in strongest:
        place = np.unravel_index(flat, head.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = head.copy()
            moved[place] += step
            ends.append(detector_training.loss_of(moved, wanted)[0])
        assert np.isclose((ends[0] - ends[1]) / 2e-6, gradient[place], rtol=1e-4, atol=1e-8)


def test_a_short_training_repeats_to_the_bit_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = train_digits.load()
    rng = np.random.default_rng(3)
    few = detector_canvas.canvases(digits.images, digits.labels, detector_canvas.drawn(1797, 24, rng, least=2), rng)
    monkeypatch.setattr(make_detector, "SCHEDULE", detector_training.Schedule(epochs=3, batch=8, rate=3e-3))
    first, second = (make_detector.fit(few) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, other.value)
    wanted = detector_training.targets(few.labels)
    untrained = detector_training.build_network(np.random.default_rng(make_detector.SEED))
    losses = [detector_training.loss_of(n.forward(few.image[:, None] / 255), wanted)[0] for n in (untrained, first)]
    assert losses[1] < losses[0]


def test_check_says_which_file_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = trained_network()
    monkeypatch.setattr(make_detector, "fit", lambda _canvas: network)
    assert make_detector.main(["--check"]) == 0, capsys.readouterr().err
    gate = read_npz(make_detector.GATE)
    np.savez(tmp_path / "detector-gate.npz", image=gate["image"], labels=gate["labels"][::-1])
    monkeypatch.setattr(make_detector, "GATE", tmp_path / "detector-gate.npz")
    monkeypatch.setattr(make_detector, "MODEL", tmp_path / "detector.onnx")
    capsys.readouterr()
    assert make_detector.main(["--check"]) == 1
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("trained in")] == [
        "detector.onnx does not exist",
        "detector-gate.npz: labels has other values than the script makes",
        "run python models/make_detector.py and commit what it writes",
    ]


def test_writing_gives_the_bytes_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, written = trained_network(), {}
    monkeypatch.setattr(make_detector, "fit", lambda _canvas: network)
    for name in ("MODEL", "GATE", "CALIBRATION"):
        original: Path = getattr(make_detector, name)
        written[tmp_path / original.name] = original
        monkeypatch.setattr(make_detector, name, tmp_path / original.name)
    assert make_detector.main([]) == 0
    assert (tmp_path / "detector.onnx").read_bytes() == written.pop(tmp_path / "detector.onnx").read_bytes()
    for path, original in written.items():
        assert {n: a.tobytes() for n, a in read_npz(path).items()} == {
            n: a.tobytes() for n, a in read_npz(original).items()
        }


def test_the_case_for_tensorrt_has_its_plugin_and_what_it_should_answer(tmp_path: Path) -> None:
    assert make_detector.main(["--gpu-case", str(tmp_path / "case")]) == 0
    for name, per_class in (("efficient_nms", True), ("efficient_nms_any_class", False)):
        graph = onnx.load(tmp_path / "case" / f"{name}.onnx").graph
        assert [node.op_type for node in graph.node].count("EfficientNMS_TRT") == 1
        case = read_npz(tmp_path / "case" / f"{name}.npz")
        outputs = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]] for value in graph.output
        }
        assert outputs == {key: list(array.shape[1:]) for key, array in case.items() if key != "canvas"}
        proposed = session_of(make_detector.MODEL).run(["boxes", "scores"], {"canvas": case["canvas"]})
        step = Nms(
            boxes="b", scores="s", max_detections=8, iou_threshold=0.5, score_threshold=0.3, per_class=per_class
        )
        for key, array in step(Batch({}, (16,)), dict(zip("bs", proposed, strict=True))).items():
            np.testing.assert_array_equal(case[key], array)
        assert case["count"].max() > 1
