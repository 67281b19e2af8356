"""Full batches in every instance: the shared memory that was derived is enough, and no more of it is taken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import tritonclient.grpc
from copies_traces import ITEMS, marked_project, payload
from story_tools import render_to

from deploy.embedded.flags import MIN_SHM_BYTES
from deploy.embedded.needs import needs_of
from deploy.embedded.server import EmbeddedServer
from generator.memory import memory_of

ITEM_BYTES = 1 << 20
IN_FLIGHT, ROUNDS = 4, 3


def regions_after_full_batches(root: Path, region_bytes: int | None = None) -> tuple[list[int], int]:
    """Sizes of both stubs' regions, largest first, after full batches (started with `region_bytes`, or with what was
    derived), and what was derived for each.
    """
    project = marked_project(root / "project", "ensemble", ITEM_BYTES)
    rendered = render_to(root / "repository", project)
    [expected] = {m.region_bytes for m in memory_of(rendered.plans["marked"], project, {}).models}
    needs = needs_of(list(rendered.plans.values()))
    needs = replace(needs, shm_default_bytes=region_bytes or expected, shm_growth_bytes=MIN_SHM_BYTES)
    server = EmbeddedServer(rendered.repository, needs)
    sent = payload(b"<limits>", ITEMS, ITEM_BYTES)

    def ask(_number: int) -> bool:
        with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
            tensor = tritonclient.grpc.InferInput("a", list(sent.shape), "UINT8")
            tensor.set_data_from_numpy(sent)
            answers = [client.infer("marked", [tensor]).as_numpy("c") for _ in range(ROUNDS)]
        return all(np.array_equal(answer, sent ^ 3) for answer in answers)

    try:
        server.start()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            assert all(pool.map(ask, range(IN_FLIGHT)))
        sizes = [path.stat().st_size for path in Path("/dev/shm").glob(f"{server.shm_prefix}*")]
    finally:
        server.stop(grace_s=0)
    return sorted(sizes, reverse=True)[:2], expected


def test_regions_of_the_derived_size_do_not_grow(tmp_path: Path) -> None:
    found, derived = regions_after_full_batches(tmp_path)
    assert found == [derived, derived]


def test_smaller_ones_grow_to_hold_a_batch_and_not_beyond_what_was_derived(tmp_path: Path) -> None:
    found, derived = regions_after_full_batches(tmp_path, MIN_SHM_BYTES)
    batch_bytes = 2 * ITEMS * ITEM_BYTES
    assert all(batch_bytes <= size <= derived for size in found)
