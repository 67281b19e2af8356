"""Percentiles, mean batches, gate sets and accuracy."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.gate_set import encode, read_gate_set, top1
from generator.plan import Tensor
from generator.problems import UserError
from loadtest.server_statistics import Counts, mean_batches, read_counts
from loadtest.statistics import percentiles

IMAGE = Tensor("image", "STRING", (1,))


def test_percentiles_are_observed_values() -> None:
    found = percentiles(list(range(1000, 101_000, 1000)))
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (50, 95, 99)


@given(st.lists(st.integers(1, 10**9), min_size=1))
def test_percentiles_rise_and_stand_in_the_data(latencies_us: list[int]) -> None:
    found = percentiles(latencies_us)
    assert found.p50_ms <= found.p95_ms <= found.p99_ms <= max(latencies_us) / 1000
    assert all(round(v * 1000) in latencies_us for v in (found.p50_ms, found.p95_ms, found.p99_ms))


def test_no_latency_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no latency"):
        percentiles([])


def test_mean_batch_counts_from_the_first_reading() -> None:
    before = {"a": Counts(100, 100), "b": Counts(5, 5)}
    after = {"a": Counts(164, 104), "b": Counts(5, 5), "new": Counts(9, 3)}
    assert mean_batches(before, after) == {"a": 16.0, "new": 3.0}


def test_counts_of_all_versions_are_added() -> None:
    statistics = {
        "model_stats": [
            {"name": "m", "version": "1", "inference_count": 10, "execution_count": 4},
            {"name": "m", "version": "2", "inference_count": 5, "execution_count": 1},
        ]
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(statistics).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert read_counts(f"127.0.0.1:{server.server_port}") == {"m": Counts(15, 5)}


def test_png_keeps_every_value() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    back = cv2.imdecode(np.frombuffer(encode(image, "png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(back, image)


def test_colours_are_written_as_rgb() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 255
    back = cv2.imdecode(np.frombuffer(encode(image, "png"), np.uint8), cv2.IMREAD_COLOR)
    assert back[0, 0].tolist() == [0, 0, 255]  # OpenCV reads blue, green, red


def test_top1_of_one_and_of_several_labels_an_item() -> None:
    assert top1([np.array([b"3", b"1"]), None, np.array(["2", "3"])], np.array([3, 1, 3])) == pytest.approx(1 / 3)
    assert top1([np.array([["1"], ["2"]])], np.array([[1, 3]])) == 0.5


def test_a_gate_set_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "gate.npz"
    np.savez(file, other=np.zeros((2, 8, 8), np.uint8), labels=np.zeros(2))
    with pytest.raises(UserError, match="has no array `image`; it has other, labels"):
        read_gate_set(file, [IMAGE])
    np.savez(file, image=np.zeros((3, 8, 8), np.uint8), labels=np.zeros(2))
    with pytest.raises(UserError, match="differ in length"):
        read_gate_set(file, [IMAGE])
    file.write_bytes(b"not an archive")
    with pytest.raises(UserError, match="cannot be read"):
        read_gate_set(file, [IMAGE])
