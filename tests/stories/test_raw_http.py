"""The raw closed loop gets the answers that tritonclient gets, and the errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from story_tools import Running, encoded, gate

from loadtest.raw_http import ClosedLoop, triton_answer, triton_request

pytestmark = pytest.mark.server


def by_tritonclient(address: str, column: Any) -> dict[str, Any]:
    tensor = triton.InferInput("image", list(column.shape), "BYTES").set_data_from_numpy(column)
    client = triton.InferenceServerClient(address)
    try:
        answer = client.infer("digits", [tensor])
        return {name: answer.as_numpy(name) for name in ("label", "score")}
    finally:
        client.close()


@pytest.mark.parametrize("items", [1, 8])
def test_answers_are_those_of_tritonclient(served: Running, items: int) -> None:
    address = served.server.http_address
    images = [item["image"] for item in gate("digits").items[:40]]
    columns = [encoded(images[start : start + items]) for start in range(0, len(images), items)]
    payloads = [triton_request(address, "digits", {"image": ("BYTES", column)}) for column in columns]
    with ClosedLoop(address, 6) as loop:
        replies = loop.run(payloads, [*range(len(payloads))] * 2, 60)
    assert sorted(reply.payload for reply in replies) == sorted([*range(len(payloads))] * 2)
    expected = [by_tritonclient(address, column) for column in columns]
    for reply in replies:
        found, wanted = triton_answer(reply), expected[reply.payload]
        assert set(found) == {"label", "score"}
        assert np.array_equal(found["label"], wanted["label"])
        np.testing.assert_allclose(found["score"], wanted["score"], rtol=0, atol=1e-6)
        assert found["score"].shape == (items, 3)


def test_an_error_is_the_servers_own(served: Running) -> None:
    address = served.server.http_address
    bad = triton_request(address, "digits", {"image": ("BYTES", encoded([b"no image"]))})
    with ClosedLoop(address, 1) as loop:
        [reply] = loop.run([bad], [0], 60)
    with pytest.raises(ValueError, match=r"status 400: .*not a PNG or JPEG image"):
        triton_answer(reply)
