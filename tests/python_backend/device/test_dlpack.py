"""Memory lent and borrowed by DLPack: what is taken, what is refused, and when its owner may go."""

from __future__ import annotations

import ctypes
import gc
import operator
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime.device import dlpack
from tritonkit_runtime.device.dlpack import CPU, DLPackError, Lent, ManagedTensor, borrow, settle

Array = np.ndarray[Any, Any]


class Owner:
    """What memory belongs to."""


def lend(array: Array, **options: Any) -> Lent:
    return Lent(array.ctypes.data, array.shape, array.dtype, array, device_type=CPU, **options)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_numpy_and_we_read_each_others(dtype: str, shape: tuple[int, ...]) -> None:
    array: Array = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, dtype)
    taken = borrow(array.__dlpack__())
    assert (taken.shape, taken.dtype, taken.device_type, taken.on_host) == (shape, array.dtype, CPU, True)
    np.testing.assert_array_equal(taken.array(), array)
    taken.close()
    if dtype != "bool":  # numpy 1.26 takes none of those
        np.testing.assert_array_equal(np.from_dlpack(lend(array)), array)
    gc.collect()
    assert dlpack.lent() == 0


def test_what_is_borrowed_is_the_memory_itself() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    taken = borrow(array.__dlpack__())
    assert (taken.pointer, taken.nbytes) == (array.ctypes.data, 24)
    array[1, 2] = 99
    assert taken.array()[1, 2] == 99
    taken.close()


def test_bf16_is_held_as_its_bits() -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    taken = borrow(lend(bits, bfloat16=True).__dlpack__())
    address = taken._address
    assert (ManagedTensor.from_address(address).code, ManagedTensor.from_address(address).bits) == (4, 16)
    assert (taken.dtype, taken.array().tolist()) == (np.uint16, bits.tolist())
    taken.close()
    assert dlpack.lent() == 0


def test_an_offset_counts() -> None:
    array = np.arange(4, dtype=np.uint8)
    capsule = lend(array).__dlpack__()
    [(tensor, _, _)] = dlpack._lent.values()
    tensor.byte_offset = 3
    tensor.shape[0] = 1
    taken = borrow(capsule)
    assert taken.array().tolist() == [3]
    taken.close()


@pytest.mark.parametrize(
    ("view", "strides"),
    [
        (lambda a: a[:, ::2], r"\[6, 2\]"),
        (lambda a: a.T, r"\[1, 6\]"),
        (lambda a: a[:, ::-1], r"\[6, -1\]"),
    ],
)
def test_gaps_and_other_orders_are_refused_and_the_owner_frees_them(
    view: Callable[[Array], Array], strides: str
) -> None:
    array = view(np.zeros((4, 6), np.float32))
    with pytest.raises(DLPackError, match=f"with strides {strides}: it has gaps, or another order than C's; copy it"):
        borrow(array.__dlpack__())


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1)])
def test_the_stride_of_an_axis_of_one_step_counts_for_nothing(shape: tuple[int, ...]) -> None:
    array = np.arange(60, dtype=np.int64).reshape(6, 10)[2 : 2 + shape[0], 3 : 3 + shape[1]]
    if shape[0] > 1:
        with pytest.raises(DLPackError, match="gaps"):
            borrow(array.__dlpack__())
        return
    taken = borrow(array.__dlpack__())
    assert taken.array().tolist() == array.tolist()
    taken.close()


def test_numbers_that_nobody_knows_are_refused() -> None:
    with pytest.raises(DLPackError, match=r"DLPack's kind 5 with 64 bits and 1 lanes; valid are whole numbers"):
        borrow(np.zeros(2, np.complex64).__dlpack__())


def test_a_capsule_is_read_once() -> None:
    capsule = np.zeros(3).__dlpack__()
    borrow(capsule).close()
    with pytest.raises(DLPackError, match="no unused DLPack capsule: each may be read once"):
        borrow(capsule)
    with pytest.raises(DLPackError, match="no unused DLPack capsule"):
        borrow("no capsule")


def held() -> tuple[weakref.ref[Owner], Lent]:
    """An owner whom the memory that is lent alone keeps, and that memory."""
    owner, array = Owner(), np.zeros(8, np.float32)
    owner.array = array  # type: ignore[attr-defined]
    return weakref.ref(owner), Lent(array.ctypes.data, array.shape, array.dtype, owner, device_type=CPU)


def test_the_owner_lives_as_long_as_somebody_reads() -> None:
    owner, lent = held()
    taken = [borrow(lent.__dlpack__()) for _ in range(2)]
    del lent
    taken[0].close()
    assert owner() is not None
    taken[0].close()  # a second time is none
    assert (owner() is not None, dlpack.lent()) == (True, 1)
    taken[1].close()
    assert (owner(), dlpack.lent()) == (None, 0)


def test_a_capsule_that_nobody_reads_keeps_nothing() -> None:
    owner, lent = held()
    capsule = lent.__dlpack__()
    del lent
    assert owner() is not None
    del capsule
    assert (owner(), dlpack.lent()) == (None, 0)


def test_a_consumer_that_names_its_capsules_otherwise() -> None:
    """The server's stub calls what it has read `used_dlpack`, and lets go of it in a thread that Python knows not."""
    owner, lent = held()
    capsule = lent.__dlpack__()
    del lent
    address = dlpack._pointer(id(capsule), b"dltensor")
    name = ctypes.create_string_buffer(b"used_dlpack")
    assert dlpack._rename(id(capsule), name) == 0
    del capsule
    assert owner() is not None, "a capsule that was read gives nothing back by itself"
    deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ManagedTensor.from_address(address).deleter)
    thread = threading.Thread(target=deleter, args=(address,))
    thread.start()
    thread.join(10)
    assert (owner(), dlpack.lent()) == (None, 0)


def test_a_capsule_that_goes_while_an_exception_is_on_its_way_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer in C has raised it; the exception itself is printed, since nothing of Python's can put it back."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for consumer in (int, memoryview, len):
        owner, lent = held()
        with pytest.raises(SystemError):
            consumer(lent.__dlpack__())  # type: ignore[call-overload]
        del lent
        told.clear()
        assert (owner(), dlpack.lent()) == (None, 0)


def test_what_was_settled_raises_the_consumers_own_exception() -> None:
    owner, lent = held()

    def consume(capsule: object) -> None:
        try:
            operator.concat("x", capsule)  # type: ignore[arg-type]
        finally:
            settle(capsule)

    with pytest.raises(TypeError, match="can only concatenate"):
        consume(lent.__dlpack__())
    capsule = lent.__dlpack__()
    taken = borrow(capsule)
    settle(capsule)
    del lent, capsule
    assert owner() is not None, "what was taken is the consumer's"
    taken.close()
    gc.collect()
    assert (owner(), dlpack.lent()) == (None, 0)


def test_the_owners_deleter_is_called_with_the_interpreters_lock_held() -> None:
    """The server's deleter touches Python's objects without taking the lock; here it is a function that needs it."""
    code = f"""
import ctypes, sys
sys.path.insert(0, {str(Path(dlpack.__file__).parents[2])!r})
import numpy as np
from tritonkit_runtime.device import dlpack
array = np.zeros(2)
capsule = dlpack.Lent(array.ctypes.data, array.shape, array.dtype, array, device_type=dlpack.CPU).__dlpack__()
[(tensor, _, _)] = dlpack._lent.values()
tensor.deleter = ctypes.cast(ctypes.pythonapi.PyErr_Occurred, ctypes.c_void_p).value
dlpack.borrow(capsule).close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_many_threads_lend_and_borrow_at_once() -> None:
    wrong: list[object] = []

    def work(seed: int) -> None:
        lot = np.random.default_rng(seed)
        for _ in range(200):
            array = lot.integers(0, 99, int(lot.integers(1, 50)))
            taken = borrow(lend(array).__dlpack__())
            if not np.array_equal(taken.array(), array):
                wrong.append(array)
            taken.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, dlpack.lent()) == ([], 0)
