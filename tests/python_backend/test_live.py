"""The runtime inside the real server: good and bad images at once, over gRPC and HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deploy.embedded.server import ServerFailedError
from tritonkit_runtime.self_contained import sources

pytestmark = pytest.mark.server

Document = Callable[..., dict[str, Any]]

USER_CODE = """
import numpy as np

class Lengths:
    def __init__(self, parameters):
        self.limit = parameters["limit"]
    def run(self, tensors, fail):
        lengths = np.array([len(text) for text in tensors["texts"]], np.int64)
        if lengths.max(initial=0) > self.limit:
            fail(0, f"a text of {lengths.max()} bytes, more than {self.limit}")
        if lengths.min(initial=1) == 0:
            raise RuntimeError("an empty text")
        if b"long" in tensors["texts"]:
            raise RuntimeError("字" * 100_000)
        if b"longest" in tensors["texts"]:
            fail(0, "x" * 100_000)
        return {"lengths": lengths, "shouted": np.array([text.decode().upper() for text in tensors["texts"]])}
"""


def put(repository: Path, document: dict[str, Any], files: dict[str, bytes], config: str = "") -> None:
    """A model as it would be rendered: config.pbtxt, model.py, tritonkit.json and `files`."""
    folder = repository / document["model"] / "1"
    own_package = any(path.startswith("tritonkit_runtime/") for path in files)
    first = "import sys, os; sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n" if own_package else ""
    model = f"{first}from tritonkit_runtime.adapter import TritonPythonModel\n"
    files = {"model.py": model.encode(), "tritonkit.json": json.dumps(document).encode(), **files}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    tensors = "\n".join(
        f'{kind} {{ name: "{tensor["name"]}" data_type: TYPE_{tensor["dtype"]} dims: {tensor["dims"]} }}'
        for kind in ("input", "output")
        for tensor in document[f"{kind}s"]
    )
    text = (
        f'name: "{document["model"]}"\nbackend: "python"\nmax_batch_size: {document["max_batch_size"]}\n{tensors}\n'
    )
    (folder.parent / "config.pbtxt").write_text(f"{text}instance_group {{ kind: KIND_CPU count: 1 }}\n{config}\n")


@pytest.fixture(scope="module")
def server(
    serve: Callable[..., Any], document: Document, sums: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    repository = tmp_path_factory.mktemp("repository")
    # So long that requests sent together are certain to meet in one batch.
    put(repository, document(), {}, "dynamic_batching { max_queue_delay_microseconds: 300000 }")
    engine = {"kind": "engine", "engine": "onnxruntime", "file": "sums.onnx", "intra_op_threads": 1}
    x = {"name": "x", "dtype": "FP32", "dims": [4]}
    outputs = [{"name": "total", "dtype": "FP32", "dims": [1]}, {**x, "name": "doubled"}]
    put(
        repository,
        document(model="sums", inputs=[x], outputs=outputs, program=engine),
        {"sums.onnx": sums.read_bytes(), **sources({"onnxruntime"})},
    )
    python = {"kind": "python", "class": "Lengths", "file": "lengths.py", "parameters": {"limit": 9}}
    texts = {"name": "texts", "dtype": "STRING", "dims": [-1]}
    outputs = [{"name": "lengths", "dtype": "INT64", "dims": [-1]}, {**texts, "name": "shouted"}]
    put(
        repository,
        document(model="lengths", max_batch_size=0, inputs=[texts], outputs=outputs, program=python),
        {"lengths.py": USER_CODE.encode()},
    )
    with serve(repository) as running:
        yield running


def infer(client: Any, module: Any, model: str, **tensors: np.ndarray) -> Any:
    inputs = []
    for name, array in tensors.items():
        dtype = {"O": "BYTES", "f": "FP32"}[array.dtype.kind]
        inputs.append(module.InferInput(name, list(array.shape), dtype))
        inputs[-1].set_data_from_numpy(array)
    return client.infer(model, inputs)


def item(data: bytes) -> np.ndarray:
    return np.array([[data]], dtype=object)


def logged(server: Any, text: str) -> bool:
    """Whether it stands in the server's log, within the time: the server writes after it has answered, in parts."""
    deadline = time.monotonic() + 10
    while not (found := text.encode() in server.log.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_good_and_bad_images_of_one_batch_over_grpc(server: Any) -> None:
    import tritonclient.grpc as triton

    images = [np.random.default_rng(i).integers(0, 256, (10 + i, 12), dtype=np.uint8) for i in range(8)]
    items = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    items[2], items[5] = b"GIF89a", b""
    with triton.InferenceServerClient(server.grpc) as client, ThreadPoolExecutor(8) as pool:

        def one(data: bytes) -> Any:
            try:
                return infer(client, triton, "digits_preprocess", image=item(data)).as_numpy("pixels")
            except triton.InferenceServerException as error:
                return error

        answers = list(pool.map(one, items))
        (statistics,) = client.get_inference_statistics("digits_preprocess").model_stats
    for index, (image, answer) in enumerate(zip(images, answers, strict=True)):
        if index in (2, 5):
            assert answer.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            expected = cv2.resize(image, (8, 8)).astype(np.float32)[np.newaxis, :, :, np.newaxis] / np.float32(255)
            np.testing.assert_array_equal(answer, expected)
    assert answers[2].message() == "not a PNG or JPEG image but a GIF: convert it to PNG or JPEG"
    assert answers[5].message() == "empty (0 bytes)"
    assert statistics.execution_count < 8, "good and bad images were to meet in one execution"


def test_all_bad_items_of_a_request_are_named_over_http(server: Any) -> None:
    import tritonclient.http as triton

    good = cv2.imencode(".png", np.full((8, 8), 51, np.uint8))[1].tobytes()
    client = triton.InferenceServerClient(server.http)
    try:
        found = infer(client, triton, "digits_preprocess", image=np.repeat(item(good), 3, axis=0))
        np.testing.assert_array_equal(found.as_numpy("pixels"), np.full((3, 8, 8, 1), 51 / 255, np.float32))
        mixed = np.concatenate([item(good), item(b"junk"), item(good), item(b"")])
        with pytest.raises(triton.InferenceServerException) as caught:
            infer(client, triton, "digits_preprocess", image=mixed)
    finally:
        client.close()
    assert caught.value.status() == "400"
    expected = (
        'item 1: not a PNG or JPEG image but text ("junk"): send the image\'s own bytes; item 3: empty (0 bytes)'
    )
    assert caught.value.message() == expected


def test_an_engine_with_the_package_beside_it(server: Any) -> None:
    import tritonclient.grpc as triton

    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with triton.InferenceServerClient(server.grpc) as client:
        both = infer(client, triton, "sums", x=x)
        tensor = triton.InferInput("x", [2, 4], "FP32").set_data_from_numpy(x)
        one = client.infer("sums", [tensor], outputs=[triton.InferRequestedOutput("total")])
    np.testing.assert_array_equal(both.as_numpy("doubled"), 2 * x)
    np.testing.assert_array_equal(one.as_numpy("total"), [[6], [22]])
    assert one.as_numpy("doubled") is None


def test_a_users_class_without_a_batch_axis(server: Any) -> None:
    import tritonclient.grpc as triton

    def texts(*values: str) -> np.ndarray:
        return np.array([value.encode() for value in values], dtype=object)

    with triton.InferenceServerClient(server.grpc) as client:
        found = infer(client, triton, "lengths", texts=texts("a", "öl"))
        assert found.as_numpy("lengths").tolist() == [1, 3]
        assert found.as_numpy("shouted").tolist() == [b"A", "ÖL".encode()]
        with pytest.raises(triton.InferenceServerException, match="a text of 10 bytes, more than 9"):
            infer(client, triton, "lengths", texts=texts("a", "abcdefghij"))
        with pytest.raises(triton.InferenceServerException) as caught:
            infer(client, triton, "lengths", texts=texts("a", ""))
    assert caught.value.status() == "StatusCode.INTERNAL"
    assert caught.value.message() == "model lengths failed: RuntimeError: an empty text"
    assert logged(server, "Traceback")


def test_a_long_message_reaches_the_client_cut(server: Any) -> None:
    import tritonclient.grpc as triton

    found = []
    with triton.InferenceServerClient(server.grpc) as client:
        for text in (b"long", b"longest"):
            with pytest.raises(triton.InferenceServerException) as caught:
                infer(client, triton, "lengths", texts=np.array([text], dtype=object))
            found.append((caught.value.status(), caught.value.message()))
    assert [status for status, _ in found] == ["StatusCode.INTERNAL", "StatusCode.INVALID_ARGUMENT"]
    assert found[0][1].startswith("model lengths failed: RuntimeError: 字字")
    assert found[0][1].endswith("字 … (100,036 characters)")
    assert found[1][1] == "x" * 1000 + " … (100,000 characters)"
    assert logged(server, "字" * 100_000)


def test_a_mistake_in_the_parameters_is_one_sentence_in_the_log(
    serve: Callable[..., Any], document: Document, tmp_path: Path
) -> None:
    steps = {"kind": "steps", "steps": [{"step": "decode", "to": "gray"}, {"step": "softmax"}]}
    put(tmp_path, document(program=steps), {})
    with pytest.raises(ServerFailedError) as caught, serve(tmp_path):
        pass
    lines = caught.value.log_path.read_text().splitlines()
    sentence = "step 2 (softmax) takes an array, but it is given images of unequal size; put resize after decode"
    assert sentence in str(caught.value)
    assert any(sentence in line for line in lines)
    assert not any("Traceback" in line for line in lines)
