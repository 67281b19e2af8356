"""The GPUs of this machine, by their driver's library; where there is none, that is known at once."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_uint, c_void_p
from dataclasses import replace
from pathlib import Path

from generator.lint.server import Gpu, Server

_NAME_BYTES = 96
_NO_DRIVER = 9  # the library is there, and the kernel has no driver
# The devices that the driver makes, also under Windows' Linux: a container may have them without the library.
_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def here(server: Server) -> Server:
    """The same server on this machine: engines are held against its GPUs."""
    return replace(server, machine=gpus())


def gpus(library: str = "libnvidia-ml.so.1") -> tuple[Gpu, ...] | None:
    """Every GPU that the driver shows here, in its order; none without a driver. None where it does not answer.

    CUDA is not started for it, which would take a second and memory of the GPU.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None if any(device.exists() for device in _DEVICES) else ()
    status = driver.nvmlInit_v2()
    if status:
        return () if status == _NO_DRIVER else None
    try:
        count = c_uint()
        if driver.nvmlDeviceGetCount_v2(byref(count)):
            return None
        found = tuple(gpu for index in range(count.value) if (gpu := _gpu(driver, index)) is not None)
        return found if found or not count.value else None
    finally:
        driver.nvmlShutdown()


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu | None:
    """One of them; None where it cannot be asked, as one that has fallen off its bus."""
    device, name, major, minor = c_void_p(), ctypes.create_string_buffer(_NAME_BYTES), c_int(), c_int()
    if (
        driver.nvmlDeviceGetHandleByIndex_v2(c_uint(index), byref(device))
        or driver.nvmlDeviceGetName(device, name, c_uint(_NAME_BYTES))
        or driver.nvmlDeviceGetCudaComputeCapability(device, byref(major), byref(minor))
    ):
        return None
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
