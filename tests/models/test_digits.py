from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import train_digits
from artifacts import constants_of, read_npz
from cnn import Schedule
from onnx import numpy_helper


@pytest.fixture(scope="module")
def digits() -> train_digits.Digits:
    return train_digits.load()


@pytest.fixture(scope="module")
def gate() -> dict[str, npt.NDArray[Any]]:
    return read_npz(train_digits.GATE)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(train_digits.MODEL, providers=["CPUExecutionProvider"])


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the script find copies of its files, which a test may spoil."""
    for name in ("MODEL", "GATE", "CALIBRATION", "LABELS"):
        original: Path = getattr(train_digits, name)
        copy = tmp_path / original.name
        copy.write_bytes(original.read_bytes())
        monkeypatch.setattr(train_digits, name, copy)
    return tmp_path


def logits_of(session: onnxruntime.InferenceSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    pixels = images[:, None].astype(np.float32) / np.float32(255)
    logits: npt.NDArray[np.float32] = session.run(["logits"], {"pixels": pixels})[0]
    return logits


def test_model_has_the_stated_contract(session: onnxruntime.InferenceSession) -> None:
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("pixels", "tensor(float)", ["batch", 1, 8, 8])
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [("logits", "tensor(float)", ["batch", 10])]
    model = onnx.load(train_digits.MODEL)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version <= 10
    assert model.producer_name == "tritonkit"
    assert train_digits.MODEL.stat().st_size < 1_000_000


def test_gate_is_the_held_out_part_and_nothing_of_it_was_trained_on(
    digits: train_digits.Digits, gate: dict[str, npt.NDArray[Any]]
) -> None:
    assert {name: (str(array.dtype), array.shape) for name, array in gate.items()} == {
        "image": ("uint8", (360, 8, 8)),
        "labels": ("int64", (360,)),
    }
    assert np.array_equal(gate["image"], digits.images[digits.held_out])
    assert np.array_equal(gate["labels"], digits.labels[digits.held_out])
    assert not set(digits.training.tolist()) & set(digits.held_out.tolist())
    assert len(digits.training) + len(digits.held_out) == len(digits.images) == 1797
    trained_on = {image.tobytes() for image in digits.images[digits.training]}
    assert not trained_on & {image.tobytes() for image in gate["image"]}


def test_split_is_stratified_and_repeats(digits: train_digits.Digits) -> None:
    shares = np.bincount(digits.labels[digits.held_out]) / np.bincount(digits.labels)
    assert np.abs(shares - 360 / 1797).max() < 0.01
    assert np.array_equal(train_digits.load().held_out, digits.held_out)


def test_images_span_eight_bits(digits: train_digits.Digits) -> None:
    assert sorted(np.unique(digits.images)) == [round(value * 255 / 16) for value in range(17)]


def test_labels_are_the_ten_digits_in_order() -> None:
    assert train_digits.LABELS.read_text().splitlines() == list("0123456789")


def test_onnxruntime_reaches_the_floor_and_agrees_with_numpy(
    session: onnxruntime.InferenceSession, gate: dict[str, npt.NDArray[Any]]
) -> None:
    logits = logits_of(session, gate["image"])
    assert (logits.argmax(axis=1) == gate["labels"]).mean() >= 0.98
    network = train_digits.from_onnx(onnx.load(train_digits.MODEL))
    assert np.allclose(logits, network.forward(train_digits.as_input(gate["image"])), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 7])
def test_any_batch_gives_each_image_its_own_logits(
    session: onnxruntime.InferenceSession, gate: dict[str, npt.NDArray[Any]], batch: int
) -> None:
    together = logits_of(session, gate["image"])[:batch]
    assert np.allclose(logits_of(session, gate["image"][:batch]), together, rtol=1e-4, atol=1e-4)


def test_export_gives_the_bytes_that_are_there() -> None:
    there = train_digits.MODEL.read_bytes()
    network = train_digits.from_onnx(onnx.load_from_string(there))
    assert train_digits.to_onnx(network).SerializeToString(deterministic=True) == there


def test_search_never_sees_the_held_out_images(
    digits: train_digits.Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = train_digits.Settings((2, 3), 8, Schedule(epochs=1, rate=5e-3))
    monkeypatch.setattr(train_digits, "CANDIDATES", (quick,))
    train_digits.search(digits)
    printed = capsys.readouterr().out
    images, labels = digits.images.copy(), digits.labels.copy()
    images[digits.held_out] = 255
    labels[digits.held_out] = 0
    train_digits.search(replace(digits, images=images, labels=labels))
    assert capsys.readouterr().out == printed
    assert printed.endswith(f"{quick}\n")


def test_below_the_floor_nothing_is_written(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = train_digits.Settings((2, 3), 8, Schedule(epochs=1, rate=5e-3))
    monkeypatch.setattr(train_digits, "CHOSEN", quick)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    assert train_digits.main([]) == 1
    assert capsys.readouterr().err.endswith("it must be 0.98 or more\n")
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_check_trains_again_and_finds_the_files_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    status = train_digits.main(["--check"])
    output = capsys.readouterr()
    assert (status, output.out[:18]) == (0, "held-out accuracy "), output.err


def test_write_gives_the_bytes_that_are_there(copies: Path, gate: dict[str, npt.NDArray[Any]]) -> None:
    model = onnx.load(train_digits.MODEL)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    for path in copies.iterdir():
        path.unlink()
    train_digits.write(model, gate)
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_no_differences_from_an_unspoilt_copy(copies: Path, gate: dict[str, npt.NDArray[Any]]) -> None:
    assert train_digits.differences(onnx.load(train_digits.MODEL), gate) == []


def test_differences_name_every_spoilt_file(copies: Path, gate: dict[str, npt.NDArray[Any]]) -> None:
    made = onnx.load(train_digits.MODEL)
    spoilt = onnx.load(train_digits.MODEL)
    name, weight = next(iter(constants_of(made).items()))
    weight = weight.copy()
    weight.flat[0] += 0.25
    spoilt.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, name))
    train_digits.MODEL.write_bytes(spoilt.SerializeToString())
    image = gate["image"].copy()
    image[0, 0, 0] ^= 1
    np.savez(train_digits.GATE, image=image, labels=gate["labels"])
    train_digits.LABELS.write_text("zero\n")
    assert train_digits.differences(made, gate) == [
        "digits-gate.npz: image has other values than the script makes",
        f"digits.onnx: {name} is off by 0.25, where 1e-06 is allowed",
        "digits.labels is not the digits 0 to 9, one a line",
    ]


def test_differences_name_missing_files_and_another_graph(copies: Path, gate: dict[str, npt.NDArray[Any]]) -> None:
    made = onnx.load(train_digits.MODEL)
    other = onnx.load(train_digits.MODEL)
    other.producer_name = "someone else"
    train_digits.MODEL.write_bytes(other.SerializeToString())
    train_digits.GATE.unlink()
    train_digits.LABELS.unlink()
    assert train_digits.differences(made, gate) == [
        "digits-gate.npz does not exist",
        "digits.onnx has another graph than the script makes",
        "digits.labels is not the digits 0 to 9, one a line",
    ]
