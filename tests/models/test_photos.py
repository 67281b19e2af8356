from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import make_photos
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from artifacts import constants_of
from onnx import numpy_helper

NAMES = {
    "astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "motorcycle_left",
    "motorcycle_right", "retina", "rocket",
}  # fmt: skip


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(make_photos.MODEL, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return make_photos.encoded_photographs()


def pixels_of(data: bytes) -> npt.NDArray[Any]:
    """RGB in full size."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def small(files: dict[str, bytes]) -> npt.NDArray[Any]:
    """All photographs as the network takes them."""
    return np.stack([cv2.resize(pixels_of(data), (224, 224)) for data in files.values()])


def logits_of(session: onnxruntime.InferenceSession, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    logits: npt.NDArray[np.float32] = session.run(["logits"], {"pixels": pixels})[0]
    return logits


def test_model_has_the_stated_contract(session: onnxruntime.InferenceSession) -> None:
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("pixels", "tensor(uint8)", ["batch", 224, 224, 3])
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [("logits", "tensor(float)", ["batch", 10])]
    model = onnx.load(make_photos.MODEL)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version <= 10
    assert make_photos.MODEL.stat().st_size < 200_000


def test_model_is_the_stated_arithmetic(session: onnxruntime.InferenceSession, small: npt.NDArray[Any]) -> None:
    weights = {name: array.astype(np.float64) for name, array in constants_of(onnx.load(make_photos.MODEL)).items()}
    contrasts = weights["contrasts"].reshape(16, 16, 3, 16) * 127.5
    scaled = small / 127.5 - 1
    expected = np.zeros((len(small), 10))
    for top in range(0, 224, 16):
        for left in range(0, 224, 16):
            patch = scaled[:, top : top + 16, left : left + 16]
            response = np.maximum(np.tensordot(patch, contrasts, axes=3), 0)
            expected += response @ weights["mix"] / 14**2
    # Sums of numbers up to 255 in FP32, then times SHARPNESS.
    assert np.allclose(logits_of(session, small), expected, atol=2e-3)


def test_a_flat_image_has_no_contrast(session: onnxruntime.InferenceSession) -> None:
    flat = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (0, 100, 255)])
    assert np.abs(logits_of(session, flat)).max() < 1e-3


def test_answers_differ_from_photograph_to_photograph_and_are_no_close_calls(
    session: onnxruntime.InferenceSession, small: npt.NDArray[Any]
) -> None:
    logits = logits_of(session, small).astype(np.float64)
    assert len(set(logits.argmax(axis=1).tolist())) >= 5
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    best = -np.sort(-scores, axis=1)[:, :4]
    assert best[:, 0].max() < 0.95, "an answer without doubt hides differences"
    # What decides the three labels and their order is far above the difference between two ways to add.
    assert (best[:, :-1] - best[:, 1:]).min() > 0.005
    distances = np.abs(scores[:, None] - scores[None]).max(axis=2) + np.eye(len(scores))
    assert distances.min() > 0.02, "no two photographs have the same answer"


@pytest.mark.parametrize("batch", [1, 4])
def test_any_batch_gives_each_image_its_own_logits(
    session: onnxruntime.InferenceSession, small: npt.NDArray[Any], batch: int
) -> None:
    together = logits_of(session, small)[:batch]
    assert np.allclose(logits_of(session, small[:batch]), together, rtol=1e-4, atol=1e-4)


def test_photographs_are_scikit_images_own_in_full_size(files: dict[str, bytes]) -> None:
    originals = make_photos.sample_photographs()
    assert set(files) == set(originals) == NAMES
    assert len({pixels.shape for pixels in originals.values()}) >= 6
    for name, original in originals.items():
        assert files[name][:3] == b"\xff\xd8\xff"
        decoded = pixels_of(files[name])
        assert decoded.shape == original.shape
        # Red and blue would be far apart if they were exchanged on the way.
        assert np.abs(decoded.astype(int) - original).mean() < 6, name


def test_a_second_run_writes_the_bytes_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    there = make_photos.MODEL.read_bytes()
    monkeypatch.setattr(make_photos, "MODEL", tmp_path / "photos.onnx")
    monkeypatch.setattr(make_photos, "FOLDER", tmp_path / "build" / "photos")
    assert make_photos.main([]) == 0
    assert make_photos.MODEL.read_bytes() == there
    assert {path.stem: path.read_bytes() for path in make_photos.FOLDER.iterdir()} == files


def test_check_finds_the_file_that_is_there_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_photos, "FOLDER", tmp_path / "photos")
    assert make_photos.main(["--check"]) == 0, capsys.readouterr().err
    assert not make_photos.FOLDER.exists()


def spoil(path: Path) -> None:
    model: Any = onnx.load(make_photos.MODEL)
    [index] = [i for i, tensor in enumerate(model.graph.initializer) if tensor.name == "mix"]
    mix = constants_of(model)["mix"].copy()
    mix[0, 0] += 0.25
    model.graph.initializer[index].CopyFrom(numpy_helper.from_array(mix, "mix"))
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (spoil, "photos.onnx: mix is off by 0.25, where 0 is allowed"),
        (lambda path: None, "photos.onnx does not exist"),
    ],
)
def test_check_says_what_differs(
    make: Any, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "photos.onnx"
    make(other)
    monkeypatch.setattr(make_photos, "MODEL", other)
    assert make_photos.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        found,
        "run python models/make_photos.py and commit what it writes",
    ]
