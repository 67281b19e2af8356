"""Items to arrays, results to outputs, with every fault in one sentence."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tritonkit import Answer, Contract, ItemError, ItemFailedError, TensorContract
from tritonkit.client.values import ItemFaultError, decode, encode, infer_inputs

IMAGE = Contract("digits", (TensorContract("image", "STRING", (1,)),), (), 8)
MATRIX = TensorContract("matrix", "FP32", (2, -1))
NUMERIC = Contract("numeric", (MATRIX,), (), 4)
SEVERAL = Contract("several", (MATRIX, TensorContract("words", "STRING", (2,))), (), 0)


class Result:
    """A result as tritonclient gives it."""

    def __init__(self, **outputs: Any) -> None:
        self._outputs = outputs

    def as_numpy(self, name: str) -> Any:
        return self._outputs.get(name)


def fault(contract: Contract, item: Any) -> ItemError:
    with pytest.raises(ItemFaultError) as caught:
        encode(contract, item)
    return caught.value.error


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_content_become_one_value_of_a_batch_of_one(kind: Any) -> None:
    data = bytes(range(256)) + b"\0\0"
    array = encode(IMAGE, kind(data))["image"]
    assert (array.shape, array.dtype.kind, array[0, 0]) == ((1, 1), "O", data)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_becomes_its_bytes(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert encode(IMAGE, kind(tmp_path / "a.png"))["image"][0, 0] == b"\x89PNG"
    assert encode(IMAGE, {"image": kind(tmp_path / "a.png")})["image"][0, 0] == b"\x89PNG"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = fault(IMAGE, tmp_path / "none.png")
    assert missing.code == "unreadable_file"
    assert missing.message == f"cannot read {tmp_path / 'none.png'}: No such file or directory"
    hint = "(a str names a file; text is passed as bytes)"
    assert fault(IMAGE, "hello").message == f"cannot read hello: No such file or directory {hint}"
    assert fault(IMAGE, "hello\0").message == f"cannot read hello\0: embedded null byte {hint}"
    assert fault(NUMERIC, "none.npy").message == "cannot read none.npy: No such file or directory"
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert fault(NUMERIC, tmp_path / "bad.npy").code == "unreadable_file"
    with (tmp_path / "vast.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2, 2**58)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
    assert fault(NUMERIC, tmp_path / "vast.npy").code == "unreadable_file"
    (tmp_path / "a.csv").write_text("1,2")
    wanted = "input 'matrix' takes FP32 [2, -1]"
    assert fault(NUMERIC, tmp_path / "a.csv").message.startswith(f"{wanted}, found the file {tmp_path / 'a.csv'}; ")


@pytest.mark.parametrize("contract", [IMAGE, NUMERIC])
def test_only_regular_files_are_read(tmp_path: Path, contract: Contract) -> None:
    os.mkfifo(tmp_path / "fifo.npy")
    for path in (tmp_path, tmp_path / "fifo.npy", Path("/dev/zero")):
        error = fault(contract, path)
        assert error.code == "unreadable_file"
        assert error.message == f"cannot read {path}: it is not a regular file"


@pytest.mark.parametrize("contract", [IMAGE, NUMERIC])
def test_a_file_too_large_for_a_request_is_not_read(tmp_path: Path, contract: Contract) -> None:
    path = tmp_path / "large.npy"
    path.touch()
    os.truncate(path, 2**40)  # takes no room on the disk, and could not be read
    error = fault(contract, path)
    assert error.code == "unreadable_file"
    assert error.message == f"{path} has 1,099,511,627,776 bytes, and one request carries at most 1,073,741,824"


def test_a_npy_file_becomes_its_array(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(encode(NUMERIC, tmp_path / "a.npy")["matrix"], array[None])
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    assert fault(NUMERIC, tmp_path / "objects.npy").code == "unreadable_file"


def test_a_dict_has_a_value_for_each_input_and_no_batch_axis_where_there_is_none() -> None:
    matrix = np.zeros((2, 5), np.float32)
    for words in ([b"a", b"\xff"], np.array([b"a", b"\xff"], object), np.array([b"a", b"\xff"])):
        arrays = encode(SEVERAL, {"words": words, "matrix": matrix})
        assert arrays["words"].tolist() == [b"a", b"\xff"]
        assert arrays["matrix"].shape == (2, 5)
    arrays = encode(SEVERAL, {"words": np.array(["ä", "b"]), "matrix": matrix})
    assert arrays["words"].tolist() == ["ä".encode(), b"b"]


@pytest.mark.parametrize(
    ("contract", "item", "message"),
    [
        (NUMERIC, np.zeros((2, 3)), "input 'matrix' takes FP32 [2, -1], found FP64 [2, 3]: use .astype('float32')"),
        (NUMERIC, np.zeros((3, 3), "f4"), "input 'matrix' takes FP32 [2, -1], found FP32 [3, 3]"),
        (NUMERIC, np.zeros((1, 2, 3), "f4"), "input 'matrix' takes FP32 [2, -1], found FP32 [1, 2, 3]"),
        (NUMERIC, [1.0], "input 'matrix' takes FP32 [2, -1], found list: give a numpy array of float32"),
        (NUMERIC, b"1", "input 'matrix' takes FP32 [2, -1], found bytes: give a numpy array of float32"),
        (IMAGE, np.zeros(3), "input 'image' takes STRING [1], found FP64 [3]"),
        (IMAGE, 7, "input 'image' takes STRING [1], found int"),
        (IMAGE, [b"a", b"b"], "input 'image' takes STRING [1], found STRING [2]"),
        (IMAGE, [7], "input 'image' takes STRING [1], found a int among the values"),
        (
            SEVERAL,
            b"x",
            "found one value; 'several' takes 2: give a dict with matrix (FP32 [2, -1]), words (STRING [2])",
        ),
        (
            SEVERAL,
            {"matrx": b"x"},
            "'several' has no input 'matrx'; inputs: matrix (FP32 [2, -1]), words (STRING [2]); "
            "did you mean 'matrix'?",
        ),
        (
            SEVERAL,
            {"words": [b"a", b"b"]},
            "no value for input 'matrix'; inputs: matrix (FP32 [2, -1]), words (STRING [2])",
        ),
    ],
)
def test_a_wrong_value_says_what_was_found_and_what_is_wanted(contract: Contract, item: Any, message: str) -> None:
    error = fault(contract, item)
    assert (error.code, error.message) == ("invalid_argument", message)


@pytest.mark.parametrize("protocol", [tritonclient.grpc, tritonclient.http])
@pytest.mark.parametrize(
    ("dtype", "numpy_dtype"),
    [("BOOL", bool), ("UINT8", "u1"), ("INT64", "i8"), ("FP16", "f2"), ("FP64", "f8"), ("BF16", ml_dtypes.bfloat16)],
)
def test_every_dtype_travels(protocol: Any, dtype: str, numpy_dtype: Any) -> None:
    contract = Contract("m", (TensorContract("x", dtype, (3,)),), (), 1)
    arrays = encode(contract, np.array([0, 1, 1], dtype=numpy_dtype))
    (tensor,) = infer_inputs(protocol.InferInput, arrays)
    assert (tensor.datatype(), list(tensor.shape())) == (dtype, [1, 3])


@given(st.lists(st.binary(max_size=64), min_size=2, max_size=2))
def test_the_values_of_a_string_tensor_reach_the_wire_unchanged(words: list[bytes]) -> None:
    arrays = encode(SEVERAL, {"matrix": np.zeros((2, 1), np.float32), "words": words})
    grpc = infer_inputs(tritonclient.grpc.InferInput, arrays)[1]._get_content()
    http = infer_inputs(tritonclient.http.InferInput, arrays)[1]._get_binary_data()
    assert grpc == http == b"".join(len(word).to_bytes(4, "little") + word for word in words)


@given(hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(0, 4)), elements=st.floats(width=32)))
def test_what_is_encoded_decodes_to_itself(array: Any) -> None:
    contract = Contract("m", (), (MATRIX,), 4)
    sent = encode(NUMERIC, array)["matrix"]
    np.testing.assert_array_equal(decode(contract, Result(matrix=sent))["matrix"], array)


def test_strings_decode_to_str_and_arrays_can_be_written() -> None:
    outputs = (TensorContract("label", "STRING", (2,)), TensorContract("score", "FP32", (2,)))
    score = np.frombuffer(np.array([[0.5, 1.0]], np.float32).tobytes(), np.float32).reshape(1, 2)
    found = decode(Contract("m", (), outputs, 4), Result(label=np.array([[b"7", "ä".encode()]], object), score=score))
    assert found["label"].tolist() == ["7", "ä"]
    found["score"][0] = 2.0
    assert found["score"].tolist() == [2.0, 1.0]


def test_a_string_output_that_is_not_text_stays_bytes() -> None:
    contract = Contract("m", (), (TensorContract("png", "STRING", (1,)),), 0)
    assert decode(contract, Result(png=np.array([b"\x89PNG"], object)))["png"].tolist() == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (Result(), "the answer has no output 'matrix'"),
        (Result(matrix=np.zeros((3, 2, 2))), "output 'matrix' has the shape [3, 2, 2]: not a batch of one item"),
    ],
)
def test_an_answer_that_does_not_fit(result: Result, message: str) -> None:
    with pytest.raises(ItemFaultError) as caught:
        decode(Contract("m", (), (MATRIX,), 4), result)
    assert caught.value.error == ItemError("bad_answer", message)


def test_an_answer_gives_its_outputs_as_attributes() -> None:
    answer = Answer(3, "seven.png", {"label": np.array(["7"], object)}, None, 120)
    assert answer.ok
    assert answer.label.tolist() == ["7"]
    answer.raise_for_error()
    with pytest.raises(AttributeError, match="no output 'lable'; outputs: 'label'"):
        _ = answer.lable
    for twin in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert (twin.index, twin.source, twin.label.tolist()) == (3, "seven.png", ["7"])


def test_a_failed_answer_says_why() -> None:
    answer = Answer(3, "seven.png", error=ItemError("invalid_argument", "not an image"))
    assert not answer.ok
    assert not hasattr(answer, "label")
    with pytest.raises(AttributeError, match=r"item 3 \(seven.png\) failed: not an image"):
        _ = answer.label
    with pytest.raises(
        ItemFailedError, match=r"^item 3 \(seven.png\) failed: not an image \(invalid_argument\)$"
    ) as e:
        answer.raise_for_error()
    assert e.value.answer is answer
