"""Whether work grows with the size of what is given, or faster: four times as much, about four times as long."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

MOST = 7  # linear is 4, quadratic 16
ATTEMPTS = 4  # other work on the machine makes single ones longer


def seconds(work: Callable[[], object]) -> float:
    """The processor time that something takes, without the collector's, which has everything of the tests to look at."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


def grows_linearly(small: Callable[[], object], large: Callable[[], object]) -> bool:
    small()  # what is imported and made once
    return any(seconds(large) < MOST * seconds(small) for _ in range(ATTEMPTS))
