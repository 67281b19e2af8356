"""What the engine process does with batches, on a device whose streams run when the host waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter, sleep
from typing import Any

import pytest
from serving_kit import Client, Kit, until

from tritonkit_runtime.engine_process import serving as module

Make = Callable[..., tuple[Kit, list[Client]]]


@pytest.fixture
def made() -> Iterator[Make]:
    """A kit and its instances; at the end all leave, and nothing may be left on the device."""
    kits: list[tuple[Kit, list[Client]]] = []

    def make(instances: int, buckets: tuple[int, ...] = (1, 2, 4, 8, 16), **fields: Any) -> tuple[Kit, list[Client]]:
        kit = Kit(buckets, **fields)
        kits.append((kit, [kit.join() for _ in range(instances)]))
        return kits[-1]

    yield make
    for kit, clients in kits:
        for client in clients:
            client.leave()
        kit.close()


def waiting(kit: Kit) -> int:
    return len(kit.serving._waiting)


def times(kit: Kit, took_s: float) -> None:
    """Every bucket takes this."""
    for size in kit.ring.buckets.sizes:
        kit.serving._times._known_s[size] = took_s


def test_every_bucket_was_tried_before_the_first_batch(made: Make) -> None:
    kit, _ = made(1)
    assert all(kit.serving._times.of(size) is not None for size in kit.ring.buckets.sizes)
    assert 0 < kit.serving._times.bytes_a_second < 1e12
    assert kit.ring.free == 2


def test_rows_come_from_the_members_memory_and_from_nowhere_else(made: Make) -> None:
    kit, [one] = made(1)
    before = kit.fake.counts.copy()
    one.ask(3, 5)
    kit.pass_batches()
    assert one.is_right(3, 5)
    after = kit.fake.counts - before
    assert (after["copy_in"], after["copy_within"]) == (2, 0), "one an input: no staging, no padding"
    assert after["copy_out"] == 2
    assert after["launch"] == 1


def test_what_waits_while_the_slots_are_full_becomes_one_batch(made: Make) -> None:
    kit, clients = made(6)
    times(kit, 1e-6)
    for k, client in enumerate(clients[:2]):
        client.ask(2, k)
        until(partial(lambda count: len(kit.runs) == count, k + 1))
    for k, client in enumerate(clients[2:], start=2):
        client.ask(2, k)
        until(partial(lambda count: waiting(kit) == count, k - 1))
    assert kit.runs == [2, 2]
    assert kit.ring.free == 0
    before = kit.fake.counts["copy_in"]
    kit.pass_batches(3)
    for k, client in enumerate(clients):
        assert client.is_right(2, k)
    assert kit.runs == [2, 2, 8]
    assert kit.fake.counts["copy_in"] - before == 8, "two inputs of four instances"


def test_a_batch_holds_no_more_than_the_largest_bucket(made: Make) -> None:
    kit, clients = made(5)
    times(kit, 1.0)
    clients[0].ask(1, 0)
    until(lambda: kit.runs == [1])
    kit.serving._done_at = perf_counter() + 600
    for k, client in enumerate(clients[1:], start=1):
        client.ask(8, k)
    until(lambda: kit.runs == [1, 16] and waiting(kit) == 2)
    kit.pass_batches(3)
    for k, client in enumerate(clients):
        assert client.is_right(1 if k == 0 else 8, k)
    assert kit.runs == [1, 16, 16]


def test_what_waits_is_held_while_the_device_is_busy_and_no_longer(made: Make) -> None:
    kit, clients = made(3)
    times(kit, 1.0)
    clients[0].ask(2, 0)
    until(lambda: kit.runs == [2])
    began = perf_counter()
    clients[1].ask(2, 1)
    clients[2].ask(2, 2)
    until(lambda: len(kit.runs) == 2)
    assert perf_counter() - began > 0.5, "it has a slot, and waits for company"
    assert kit.runs == [2, 4], "until what is under way should be done, not until it is"
    kit.pass_batches(2)
    assert all(client.is_right(2, k) for k, client in enumerate(clients))


def test_nothing_waits_for_company_when_nothing_is_under_way(made: Make) -> None:
    kit, [one] = made(1)
    times(kit, 600.0)
    began = perf_counter()
    one.ask(1, 3)
    kit.pass_batches()
    assert one.is_right(1, 3)
    assert perf_counter() - began < 300


def test_a_full_bucket_is_not_held(made: Make) -> None:
    kit, clients = made(3)
    times(kit, 600.0)
    clients[0].ask(1, 0)
    until(lambda: kit.runs == [1])
    began = perf_counter()
    clients[1].ask(8, 1)
    clients[2].ask(8, 2)
    until(lambda: kit.runs == [1, 16])
    assert perf_counter() - began < 300
    kit.pass_batches(2)
    assert [clients[0].is_right(1, 0), clients[1].is_right(8, 1), clients[2].is_right(8, 2)] == [True] * 3


def test_no_more_batches_are_under_way_than_there_are_slots(made: Make) -> None:
    kit, clients = made(5, buckets=(1,), slots=3)
    times(kit, 1e-6)
    for k, client in enumerate(clients):
        client.ask(1, k)
    until(lambda: len(kit.runs) == 3 and waiting(kit) == 2)
    sleep(0.05)
    assert len(kit.runs) == 3
    kit.pass_batches(5)
    assert all(client.is_right(1, k) for k, client in enumerate(clients))


def test_an_engine_without_a_batch_axis_runs_one_after_the_other(made: Make) -> None:
    kit, clients = made(3, buckets=(1,), batched=False)
    for k, client in enumerate(clients):
        client.ask(1, k)
    kit.pass_batches(3)
    assert all(client.is_right(1, k) for k, client in enumerate(clients))
    assert kit.runs == [1, 1, 1]


def test_a_batch_that_is_refused_costs_its_instances_alone(made: Make) -> None:
    kit, clients = made(3)
    kit.fake.fail("launch", 1)
    clients[0].ask(2, 0)
    assert clients[0].answer(2) == "launch failed with 1: made up", "the ring of the instance says what became of it"
    kit.pass_batches(3)
    for k, client in enumerate(clients):
        client.ask(2, k)
        assert client.is_right(2, k)
    assert kit.ring.free == 2


def merging(kit: Kit, clients: list[Client], items: tuple[int, ...]) -> None:
    """The first two clients fill both slots, the others wait in order; `k` is a client's place."""
    times(kit, 1e-6)
    for place, client in enumerate(clients):
        client.ask(items[place], place)
        started = min(place + 1, 2)
        until(partial(lambda *counts: (len(kit.runs), waiting(kit)) == counts, started, place + 1 - started))


def test_when_several_instances_batch_is_refused_each_is_run_again_alone(made: Make) -> None:
    kit, clients = made(5)
    items = (2, 2, 4, 2, 2)
    merging(kit, clients, items)
    kit.fake.fail("launch", 1)  # when the batch is started
    kit.pass_batches(20)
    for place, client in enumerate(clients):
        assert client.is_right(items[place], place)
    assert kit.runs == [2, 2, 8, 4, 2, 2]
    assert (kit.serving.batches, kit.serving.jobs) == (5, 5), "those that were run"
    assert kit.ring.free == 2


def failed(client: Client, items: int) -> bool:
    """Whether it was told that its batch failed."""
    said = client.answer(items)
    return isinstance(said, str) and said.endswith(": made up")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("bad", [{2}, {3}, {4}, {2, 4}, {2, 3, 4}])
def test_a_bad_batch_of_several_costs_its_own_instance_alone(made: Make, bad: set[int], late: bool) -> None:
    """It fails when it is started or while all wait for it, and again when it is run alone."""
    kit, clients = made(5)
    kit.late = late
    items = (2, 2, 4, 2, 2)
    merging(kit, clients, items)
    kit.bad = frozenset(bad)
    kit.pass_batches(20)
    for place, client in enumerate(clients):
        if place in bad:
            assert failed(client, items[place])
        else:
            assert client.is_right(items[place], place)
    assert kit.runs == [2, 2, 8, 4, 2, 2]
    for place, client in enumerate(clients, start=10):
        client.ask(2, place)
        assert client.is_right(2, place), "and nothing is held against anybody"
    assert kit.ring.free == 2


def test_what_comes_later_waits_behind_those_alone_and_is_merged_again(made: Make) -> None:
    kit, clients = made(7, buckets=(1, 2, 4, 8))
    items = (2, 2, 4, 2, 2, 4, 4)
    merging(kit, clients, items)
    kit.fake.fail("launch", 1)
    kit.pass_batches(20)
    for place, client in enumerate(clients):
        assert client.is_right(items[place], place)
    assert kit.runs == [2, 2, 8, 4, 2, 2, 8]


def test_one_that_is_to_run_alone_does_so_whatever_waits_with_it(made: Make) -> None:
    """The merged batch fails on the device, when others wait already that would fit into a batch with its jobs."""
    kit, clients = made(7)
    merging(kit, clients[:4], (2, 2, 4, 4))
    kit.bad, kit.late = frozenset({2}), True
    kit.pass_batches(2)
    assert [clients[0].is_right(2, 0), clients[1].is_right(2, 1)] == [True, True]
    until(lambda: kit.runs == [2, 2, 8])
    clients[0].ask(2, 10)  # so that there is no slot
    until(lambda: kit.runs == [2, 2, 8, 2])
    for place in (4, 5, 6):
        clients[place].ask(2, place)
        until(partial(lambda count: waiting(kit) == count, place - 3))
    kit.pass_batches(20)
    assert failed(clients[2], 4)
    assert clients[3].is_right(4, 3)
    assert clients[0].is_right(2, 10)
    assert all(clients[place].is_right(2, place) for place in (4, 5, 6))
    assert kit.runs[4:6] == [4, 4]
    assert sum(kit.runs[6:]) == 6


def test_an_instance_that_leaves_before_it_is_run_again(made: Make) -> None:
    kit, clients = made(4)
    leaving = kit.join()
    merging(kit, [*clients, leaving], (2, 2, 4, 2, 2))
    kit.bad, kit.late = frozenset({2}), True
    kit.pass_batches()
    until(lambda: kit.runs == [2, 2, 8])
    leaving.leave()
    kit.pass_batches(20)
    assert failed(clients[2], 4)
    assert clients[3].is_right(2, 3)
    until(lambda: kit.fake.counts["unregister"] == 1)
    assert [clients[0].is_right(2, 0), clients[1].is_right(2, 1)] == [True, True]


def test_what_fails_while_it_ends_is_not_run_again() -> None:
    kit = Kit()
    clients = [kit.join() for _ in range(5)]
    merging(kit, clients, (2, 2, 4, 2, 2))
    kit.bad, kit.late = frozenset({3}), True
    kit.pass_batches()
    until(lambda: kit.runs == [2, 2, 8])
    for client in clients:
        client.leave()
    until(lambda: kit.serving._ended)
    kit.pass_batches(100)
    assert kit.ended() == ""
    assert kit.runs == [2, 2, 8]
    assert waiting(kit) == 0
    assert kit.fake.counts["unregister"] == 5
    kit.close()


def test_a_member_that_leaves_while_its_batch_is_under_way(made: Make) -> None:
    kit, clients = made(2)
    leaving = kit.join()
    assert kit.fake.counts["register"] == 3
    times(kit, 1e-6)
    leaving.ask(2, 1)
    until(lambda: kit.runs == [2])
    clients[0].ask(3, 2)
    until(lambda: len(kit.runs) == 2)
    leaving.leave()
    sleep(0.05)
    assert kit.fake.counts["unregister"] == 0, "its memory is still copied from"
    kit.pass_batches(2)
    assert clients[0].is_right(3, 2)
    until(lambda: kit.fake.counts["unregister"] == 1)


def test_the_last_member_leaves_while_its_batches_are_under_way_and_wait() -> None:
    kit = Kit()
    clients = [kit.join() for _ in range(5)]
    times(kit, 1e-6)
    for k, client in enumerate(clients):
        client.ask(8, k)
    until(lambda: len(kit.runs) == 2)
    for client in clients:
        client.leave()
    kit.pass_batches(100)
    assert kit.ended() == ""
    assert kit.fake.counts["unregister"] == 5
    kit.close()


def test_a_lost_context_is_told_to_everyone_and_ends_it() -> None:
    kit = Kit()
    clients = [kit.join() for _ in range(4)]
    times(kit, 1e-6)
    kit.engine.crashes, kit.engine.status = 1, 700
    for k, client in enumerate(clients):
        client.ask(8, k)
    until(lambda: len(kit.runs) == 2)
    kit.pass_batches(100)
    lost = kit.ended()
    assert lost == "the engine process lost its GPU and is started again: the kernel failed with 700"
    for client in clients:  # this process goes on, where a real one's end tells those who were not told
        said = client.answer(8)
        assert isinstance(said, str)
        assert said.startswith("the engine process lost its GPU and is started again: ")
        client.leave()
    assert kit.ring.free == 2
    kit.close()


def test_a_defect_is_told_and_ends_it_for_nobody_may_wait_for_good(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kit = Kit()
    clients = [kit.join() for _ in range(2)]

    def broken(*_: object, **__: object) -> int:
        raise IndexError("made up")

    monkeypatch.setattr(module, "chosen", broken)
    clients[0].ask(1, 0)
    lost = kit.ended()
    assert lost == "the engine process has a defect and is started again: IndexError('made up')"
    assert clients[0].answer(1) == lost
    assert "Traceback" in capfd.readouterr().err
    for client in clients:
        client.leave()
    kit.close()


def test_it_ends_when_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving_kit.PATIENCE_S", 0.05)
    kit = Kit()
    monkeypatch.undo()
    assert kit.ended() == ""
    kit.close()


def test_under_load_nothing_starves_and_everyone_gets_the_own_answer(made: Make) -> None:
    kit, clients = made(6, slots=3)
    kit.pass_batches(10_000)
    under_way = dict.fromkeys(clients, 0)
    for turn in range(60):
        for place, client in enumerate(clients):
            if turn:
                assert client.is_right(1 + (place + turn - 1) % 8, under_way[client])
            under_way[client] = 100 * turn + place
            client.ask(1 + (place + turn) % 8, under_way[client])
    for place, client in enumerate(clients):
        assert client.is_right(1 + (place + 59) % 8, under_way[client])
    assert sum(kit.runs) == sum(1 + (place + turn) % 8 for place in range(6) for turn in range(60))
    assert kit.serving.jobs == 360 > kit.serving.batches
