"""Flags of a server's pools, read back: whether what someone wrote holds what the pipelines need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from generator.memory.parts import CUDA_POOL_FLAG, PINNED_POOL_FLAG, Memory

# What is seen of a server whose pool is full: no error, and wrong data (docs/reference/memory.md).
WRONG_DATA = "a pool that is full gives wrong data with status 200"


class TooSmall(NamedTuple):
    """A flag of a pool, the bytes that it gives, and those that are needed."""

    flag: str
    said_bytes: int
    needed_bytes: int


def too_small(flags: Sequence[object], memory: Memory) -> Iterator[TooSmall]:
    """The flags of pools among `flags` that say less than is needed, in one word or in two.

    What is no flag of a pool, or is of a GPU that nothing runs on, is left alone.
    """
    for flag in in_one_word(flags):
        if flag.startswith(CUDA_POOL_FLAG):
            number, _, size = flag.removeprefix(CUDA_POOL_FLAG).partition(":")
            said, needed = _whole(size), memory.cuda_pools.get(_whole(number), 0)
        elif flag.startswith(PINNED_POOL_FLAG):
            said, needed = _whole(flag.removeprefix(PINNED_POOL_FLAG)), memory.pinned_pool_bytes
        else:
            continue
        if 0 <= said < needed:
            yield TooSmall(flag, said, needed)


def in_one_word(flags: Sequence[object]) -> Iterator[str]:
    """The texts of a command line, with `--flag` and the value in the word after it as `--flag=value`."""
    before = ""
    for word in (word for word in flags if isinstance(word, str)):
        if before and not word.startswith("--"):
            yield f"{before}={word}"
            before = ""
            continue
        if before:
            yield before
        before = word if word.startswith("--") and "=" not in word else ""
        if not before:
            yield word
    if before:
        yield before


def _whole(text: str) -> int:
    """The number that it is; -1 where it is none."""
    return int(text) if text.isascii() and text.isdigit() else -1
