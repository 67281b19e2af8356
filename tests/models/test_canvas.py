from __future__ import annotations

from pathlib import Path
from typing import Any

import make_canvas
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from artifacts import read_npz

from steps.crops import Crops

Gate = dict[str, npt.NDArray[Any]]


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def contract_of(session: onnxruntime.InferenceSession) -> dict[str, tuple[str, list[Any]]]:
    return {side.name: (side.type, side.shape) for side in (*session.get_inputs(), *session.get_outputs())}


@pytest.fixture(scope="module")
def gate() -> Gate:
    return read_npz(make_canvas.CANVAS_GATE)


@pytest.fixture(scope="module")
def detector() -> onnxruntime.InferenceSession:
    return session_of(make_canvas.DETECTOR)


@pytest.fixture(scope="module")
def classifier() -> onnxruntime.InferenceSession:
    return session_of(make_canvas.CLASSIFIER)


def test_models_have_the_stated_contracts(
    detector: onnxruntime.InferenceSession, classifier: onnxruntime.InferenceSession
) -> None:
    assert contract_of(detector) == {
        "canvas": ("tensor(float)", ["batch", 1, 32, 32]),
        "boxes": ("tensor(float)", ["batch", 4, 4]),
        "strength": ("tensor(float)", ["batch", 4]),
    }
    assert contract_of(classifier) == {
        "crops": ("tensor(float)", ["batch", 4, 1, 8, 8]),
        "logits": ("tensor(float)", ["batch", 4, 10]),
    }
    for path in (make_canvas.DETECTOR, make_canvas.CLASSIFIER):
        model = onnx.load(path)
        assert (model.ir_version <= 10, model.opset_import[0].version) == (True, 17)


def test_gate_has_every_held_out_digit_once_in_reading_order(gate: Gate) -> None:
    assert {name: (str(array.dtype), array.shape) for name, array in gate.items()} == {
        "image": ("uint8", (90, 32, 32)),
        "labels": ("int64", (90, 4)),
    }
    held_out = read_npz(make_canvas.DIGITS_GATE)
    label_of = {
        image.tobytes(): label for image, label in zip(held_out["image"], held_out["labels"].tolist(), strict=True)
    }
    seen = []
    for canvas, labels in zip(gate["image"], gate["labels"].tolist(), strict=True):
        cells = [canvas[y : y + 8, x : x + 8] for y in range(0, 32, 8) for x in range(0, 32, 8)]
        digits = [cell.tobytes() for cell in cells if cell.any()]
        assert [label_of[digit] for digit in digits] == labels
        seen += digits
    assert sorted(seen) == sorted(label_of)


def test_gate_uses_every_cell_of_the_grid(gate: Gate) -> None:
    used = gate["image"].reshape(-1, 4, 8, 4, 8).any(axis=(0, 2, 4))
    assert used.all()


def test_detector_orders_by_place_and_gives_each_its_own_strength(detector: onnxruntime.InferenceSession) -> None:
    canvas = np.full((2, 1, 32, 32), 0.01, np.float32)
    for strength, (row, column) in [(0.3, (0, 3)), (0.9, (3, 3)), (0.5, (0, 1)), (0.7, (2, 0))]:
        canvas[0, 0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = strength
    canvas[1, 0, :, 8:16] = 1
    boxes, strength = detector.run(["boxes", "strength"], {"canvas": canvas})
    assert boxes[0].tolist() == [[8, 0, 16, 8], [24, 0, 32, 8], [0, 16, 8, 24], [24, 24, 32, 32]]
    assert np.allclose(strength[0], [0.5, 0.3, 0.7, 0.9])
    assert boxes[1].tolist() == [[8, top, 16, top + 8] for top in (0, 8, 16, 24)]


def test_classifier_gives_each_crop_the_digits_networks_logits(classifier: onnxruntime.InferenceSession) -> None:
    crops = np.random.default_rng(2).random((3, 4, 1, 8, 8), np.float32)
    together = classifier.run(["logits"], {"crops": crops})[0]
    alone = session_of(make_canvas.DIGITS).run(["logits"], {"pixels": crops.reshape(12, 1, 8, 8)})[0]
    assert together.shape == (3, 4, 10)
    assert np.allclose(together.reshape(12, 10), alone, rtol=1e-4, atol=1e-4)


def test_canvas_flow_finds_and_reads_the_digits(
    gate: Gate, detector: onnxruntime.InferenceSession, classifier: onnxruntime.InferenceSession
) -> None:
    canvas = gate["image"][:, None].astype(np.float32) / np.float32(255)
    failures: list[tuple[int, str]] = []
    boxes = detector.run(["boxes"], {"canvas": canvas})[0]
    cut = Crops({}).run({"canvas": canvas, "boxes": boxes}, lambda index, why: failures.append((index, why)))
    logits = classifier.run(["logits"], {"crops": cut["crops"]})[0]
    assert failures == []
    # All that is not black lies in the crops: no digit was missed.
    assert np.allclose(cut["crops"].sum(axis=(1, 2, 3, 4)), canvas.sum(axis=(1, 2, 3)), rtol=1e-5)
    assert (logits.argmax(axis=-1) == gate["labels"]).mean() >= 0.95


def test_check_finds_the_files_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_canvas.main(["--check"]) == 0, capsys.readouterr().err


def test_a_second_run_writes_the_bytes_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}
    for name in ("DETECTOR", "CLASSIFIER", "CANVAS_GATE"):
        original: Path = getattr(make_canvas, name)
        written[tmp_path / original.name] = original.read_bytes()
        monkeypatch.setattr(make_canvas, name, tmp_path / original.name)
    assert make_canvas.main([]) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_check_says_which_file_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gate: Gate
) -> None:
    spoilt = tmp_path / "canvas-gate.npz"
    np.savez(spoilt, image=gate["image"], labels=gate["labels"][::-1])
    monkeypatch.setattr(make_canvas, "CANVAS_GATE", spoilt)
    monkeypatch.setattr(make_canvas, "DETECTOR", tmp_path / "canvas_detector.onnx")
    assert make_canvas.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "canvas-gate.npz: labels has other values than the script makes",
        "canvas_detector.onnx does not exist",
        "run python models/make_canvas.py and commit what it writes",
    ]


def test_without_the_digits_it_says_what_to_run_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_canvas, "DIGITS", tmp_path / "digits.onnx")
    assert make_canvas.main([]) == 1
    assert "digits.onnx does not exist: run python models/train_digits.py first" in capsys.readouterr().err
