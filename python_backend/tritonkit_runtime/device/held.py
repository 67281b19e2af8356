"""What has to be given back in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tritonkit_runtime.device.errors import CudaError


class Held:
    """Calls that give things back, the last first."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def handle(self, handle: int, free: Callable[[int], None]) -> int:
        """`free(handle)` gives it back; gives the handle."""
        self._calls.append(lambda: free(handle))
        return handle

    def add(self, call: Callable[[], None]) -> None:
        """`call` gives something back."""
        self._calls.append(call)

    def close(self) -> None:
        """Gives everything back, then raises the first CudaError; on a lost context there is nothing to give."""
        first: CudaError | None = None
        while self._calls:
            try:
                self._calls.pop()()
            except CudaError as error:
                if first is None and not error.lasting:
                    first = error
        if first is not None:
            raise first

    @contextmanager
    def or_nothing(self) -> Iterator[None]:
        """Gives everything back when what is inside fails; its error is the one that counts."""
        try:
            yield
        except BaseException:
            with suppress(CudaError):
                self.close()
            raise
