from __future__ import annotations

import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits, ParameterError, StepSpec
from tritonkit_runtime.steps import STEPS, Chain, StepError, step_class

DECODE = ("decode", {"to": "rgb"})
RESIZE = ("resize", {"size": [4, 6], "method": "linear"})


def chain(*steps: tuple[str, dict[str, Any]], takes: str = "bytes") -> Chain:
    return Chain([StepSpec(name, arguments) for name, arguments in steps], takes, Limits(1_000_000, 1_000_000))


def test_bytes_to_an_engines_input() -> None:
    images = [np.random.default_rng(i).integers(0, 256, (9 + i, 7, 3), dtype=np.uint8) for i in range(3)]
    items = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    items[1] = b"junk"
    whole = chain(DECODE, RESIZE, ("normalize", {"mean": 3.0, "std": [1.0, 2.0, 4.0]}), ("channels_first", {}))
    batch = Batch({}, (3,))
    found = whole(batch, np.array(items, dtype=object).reshape(3, 1))
    assert found.shape == (3, 3, 4, 6)
    assert list(batch.failed) == [1]
    for index in (0, 2):
        small = cv2.resize(images[index][:, :, ::-1], (6, 4)).astype(np.float32)
        expected = (small - np.float32(3)) / np.float32([1, 2, 4])
        np.testing.assert_array_equal(found[index], expected.transpose(2, 0, 1))
    assert whole.outputs is None


def test_top_k_names_its_outputs() -> None:
    assert chain(("softmax", {}), ("top_k", {"k": 1}), takes="array").outputs == ("label", "score")


@pytest.mark.parametrize(
    ("steps", "takes", "sentence"),
    [
        ([("blur", {})], "array", r"step 1 \(blur\): there is no step 'blur'; valid are decode, resize"),
        ([("resize", {"size": [4, 4]})], "array", r"step 1 \(resize\) needs method"),
        (
            [("softmax", {"axis": 1})],
            "array",
            r"step 1 \(softmax\) has no parameter 'axis'; valid are: no parameters",
        ),
        ([("decode", {"to": "rgb", "limits": 1})], "bytes", r"has no parameter 'limits'; valid are: to"),
        ([("decode", {"to": "bgr"})], "bytes", r"step 1 \(decode\): to is 'bgr'; valid are gray, rgb"),
        ([DECODE], "array", r"step 1 \(decode\) takes encoded bytes \(a STRING tensor\), but it is given an array"),
        ([RESIZE], "bytes", r"step 1 \(resize\) takes images of unequal size or an array, but it is given encoded"),
        ([DECODE, ("softmax", {})], "bytes", r"given images of unequal size; put resize after decode"),
        ([DECODE], "bytes", r"the chain ends with images of unequal size: put resize after decode"),
        ([("top_k", {"k": 1}), ("softmax", {})], "array", r"step 2 \(softmax\) takes an array, .* several tensors"),
        (
            [DECODE, RESIZE, ("channels_first", {}), ("normalize", {"mean": [1, 2, 3], "std": 1})],
            "bytes",
            r"step 4 \(normalize\) has one number a channel: put it before channels_first",
        ),
    ],
)
def test_a_chain_that_cannot_work_is_refused(steps: list[Any], takes: str, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        chain(*steps, takes=takes)


def test_one_number_for_all_channels_is_fine_after_channels_first() -> None:
    found = chain(("channels_first", {}), ("normalize", {"mean": 1, "std": 2}), takes="array")
    assert (found(Batch({}, (1,)), np.ones((1, 2, 2, 3), np.uint8)) == 0).all()


def test_a_value_that_does_not_suit_names_the_step() -> None:
    with pytest.raises(StepError, match=r"step 2 \(top_k\): k is 9, but there are 2 classes"):
        chain(("softmax", {}), ("top_k", {"k": 9}), takes="array")(Batch({}, (1,)), np.zeros((1, 2), np.float32))


def test_every_name_has_its_class() -> None:
    assert [step_class(name).__name__ for name in STEPS] == [
        "Decode", "Resize", "Normalize", "Cast", "ChannelsFirst", "Reshape", "Softmax", "TopK",
        "Labels", "Tokenize", "Nms",
    ]  # fmt: skip


def test_opencv_is_imported_for_images_only() -> None:
    code = (
        "import sys; from tritonkit_runtime import programs; from tritonkit_runtime.steps import step_class;"
        "step_class('top_k'); print('cv2' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
