"""Whatever comes as input gets a clear error or a right answer, alike over both protocols, and harms nobody else."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile_table
import numpy as np
import pytest
from hostile_files import bad_files, digit, enlarged, fine_files, turned_file
from hostile_requests import ask, bad_requests, images
from hostile_servers import SERVER_CASES
from hostile_stream import good_requests, right_labels
from story_tools import PROTOCOLS, Protocol, Rendered, Running, running

from loadtest.server_statistics import mean_batches, read_counts, read_counts_after
from tritonkit import Pipeline, UnknownPipelineError
from tritonkit.client.values import Item

pytestmark = pytest.mark.server

ANSWERED_S = 10.0  # a case takes some ms, and 0.2 s for 20 MB; this says that nothing hangs
ODD_DIGIT = 2  # a 6 that is a 7 when it is turned


@pytest.fixture(scope="module")
def server(rendered: Rendered) -> Iterator[Running]:
    """A server of these tests' own, so that no other suffers from it."""
    with running(rendered) as started:
        yield started


@pytest.fixture(autouse=True)
def meanwhile(server: Running) -> Iterator[None]:
    """Good requests over both protocols go on during each test."""
    with good_requests(server):
        yield


def both(server: Running, ask_over: Any) -> Any:
    """What happened over gRPC, after it was seen to be the same over HTTP, within the time."""
    found = {}
    for protocol in PROTOCOLS:
        start = time.monotonic()
        found[protocol] = ask_over(server.address(protocol), protocol)
        assert time.monotonic() - start < ANSWERED_S, protocol
    assert found["grpc"] == found["http"]
    return found["grpc"]


def by_pipeline(item: Item) -> Any:
    """Code and message of what `tritonkit.Pipeline` says of one item."""

    def call(address: str, protocol: Protocol) -> tuple[str, str]:
        with Pipeline("digits", address, protocol=protocol) as pipeline:
            error = pipeline.infer_one(item).error
        assert error is not None
        assert "Traceback" not in error.raw
        return error.code, error.message

    return call


# Images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", bad_files())
def test_a_bad_file(server: Running, kind: str) -> None:
    data = bad_files()[kind]
    hostile_table.check(kind, *both(server, by_pipeline(data)))
    outcome = both(server, lambda address, protocol: ask(address, protocol, images([data])))
    hostile_table.check(kind, outcome.code, outcome.message)


def test_odd_files_are_read_aright(server: Running, protocol: Protocol) -> None:
    files = fine_files(ODD_DIGIT)
    with Pipeline("digits", server.address(protocol), protocol=protocol) as pipeline:
        turned, plain, *answers = pipeline.infer([turned_file(ODD_DIGIT), enlarged(ODD_DIGIT), *files.values()])
    assert turned.label[0] != plain.label[0], "a digit that is not turned back was to be seen by its label"
    assert plain.label[0] == right_labels(server.rendered, [digit(ODD_DIGIT)])[0][0]
    for kind, answer in zip(files, answers, strict=True):
        assert answer.error is None, kind
        assert answer.label[0] == plain.label[0], kind
        tolerance = 0.01 if "JPEG" in kind else 1e-6
        np.testing.assert_allclose(answer.score, plain.score, rtol=0, atol=tolerance, err_msg=kind)


# Requests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", bad_requests())
def test_a_request_that_does_not_fit(server: Running, fault: str) -> None:
    request = bad_requests()[fault]
    outcome = both(server, lambda address, protocol: ask(address, protocol, request))
    hostile_table.check(fault, outcome.code, outcome.message)


def bad_items(folder: Path) -> dict[str, Item]:
    """What `tritonkit.Pipeline` finds by itself; the page has a row for each."""
    return {
        "`Pipeline`: an array of another type": np.zeros(64, np.uint8),
        "`Pipeline`: an array of another shape": np.array([[b"1", b"2"]], np.object_),
        "`Pipeline`: a list of several values for one item": [digit(), digit()],
        "`Pipeline`: something that is neither bytes nor an array": 7,  # type: ignore[dict-item]
        "`Pipeline`: an input of another name": {"picture": digit()},
        "`Pipeline`: no value for an input": {},
        "`Pipeline`: a file that does not exist": folder / "none.png",
        "`Pipeline`: a folder": folder,
    }


@pytest.mark.parametrize("fault", bad_items(Path()))
def test_an_item_that_does_not_fit(server: Running, fault: str, tmp_path: Path) -> None:
    hostile_table.check(fault, *both(server, by_pipeline(bad_items(tmp_path)[fault])))


def test_a_pipeline_that_is_not_there(server: Running) -> None:
    def call(address: str, protocol: Protocol) -> str:
        with (
            Pipeline("digitz", address, protocol=protocol) as pipeline,
            pytest.raises(UnknownPipelineError) as caught,
        ):
            pipeline.infer([digit()])
        return str(caught.value).replace(address, "ADDRESS")

    message = both(server, call)
    hostile_table.check("`Pipeline`: a pipeline that the server does not have", "UnknownPipelineError", message)


def test_a_thousand_images_are_answered_one_by_one(server: Running, protocol: Protocol) -> None:
    items = [digit(index % 40) for index in range(1000)]
    right = right_labels(server.rendered, items[:32]) + right_labels(server.rendered, items[32:40])
    with Pipeline("digits", server.address(protocol), protocol=protocol) as pipeline:
        answers = pipeline.infer(items)
    assert [answer.error for answer in answers] == [None] * 1000
    assert [answer.label.tolist() for answer in answers] == right * 25


def test_good_and_bad_items_come_back_in_their_order(server: Running, protocol: Protocol) -> None:
    bad = bad_files()
    items = [data for file in bad.values() if len(file) < 1_000_000 for data in (digit(), file)]
    [right] = right_labels(server.rendered, [digit()])
    with Pipeline("digits", server.address(protocol), protocol=protocol) as pipeline:
        answers = pipeline.infer(items)
    assert [answer.index for answer in answers] == list(range(len(items)))
    assert [answer.ok for answer in answers] == [True, False] * (len(items) // 2)
    assert all(answer.label.tolist() == right for answer in answers[::2])


# Batches ---------------------------------------------------------------------------------------------------


def test_the_request_is_what_fails_and_not_its_batch(gathering: Running, protocol: Protocol) -> None:
    # The server waits up to 0.3 s for a batch of 32 items: these requests of 4 have to meet in one.
    good = [digit(index) for index in range(28)]
    spoiled = [digit(), b"", digit(), b"a text"]
    requests = [images(good[start : start + 4]) for start in range(0, 28, 4)]
    requests.insert(3, images(spoiled))
    address = gathering.address(protocol)
    start = read_counts(gathering.server.http_address)
    with ThreadPoolExecutor(len(requests)) as pool:
        outcomes = list(pool.map(lambda request: ask(address, protocol, request), requests))
    after = read_counts_after(gathering.server.http_address, start, {"digits_preprocess": len(good)})
    batches = mean_batches(start, after)
    failed = outcomes.pop(3)
    assert failed.code == "invalid_argument"
    assert re.fullmatch(r"item 1: empty \(0 bytes\); item 3: not a PNG or JPEG image.*", failed.message)
    assert [label for outcome in outcomes for label in outcome.labels] == right_labels(gathering.rendered, good)
    assert batches["digits_preprocess"] > 8, "the requests were to meet in one batch"


# The page --------------------------------------------------------------------------------------------------


def test_the_page_of_errors_has_no_row_that_no_test_has_seen(tmp_path: Path) -> None:
    unknown = {"`Pipeline`: a pipeline that the server does not have"}
    seen = {*bad_files(), *bad_requests(), *bad_items(tmp_path), *SERVER_CASES, *unknown}
    assert set(hostile_table.rows()) == seen
    assert all(row.remedy for row in hostile_table.rows().values())
