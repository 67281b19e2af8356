"""The inputs of a run in one region of system shared memory, known to the server while the run lasts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from loadtest.owner import abandoned, owner
from loadtest.sender.codes import mistake
from loadtest.sender.orders import Orders

_ALIGNED_BYTES = 64
_GRPC_PREFIX = "triton-grpc-protocol-"
_FOLDER = Path("/dev/shm")  # noqa: S108  (where shm_open looks on Linux)
_PREFIX = "tritonkit-load-"
_IN_USE = "it is currently in use"  # what Triton 2.51 says, over either protocol
_TRIES, _BETWEEN_TRIES_S = 20, 0.05
_UNREGISTER_S = 2.0  # a server that is silent for longer is not waited for: the region goes all the same


class Region:
    """Tensors are placed first; `publish` makes the region and tells the server, `remove` undoes both."""

    def __init__(self, orders: Orders, number: int) -> None:
        self.name = f"{_PREFIX}{owner()}-{number}"
        self._orders = orders
        self._content = bytearray()
        self._file = _FOLDER / self.name
        self._registered = False

    def place(self, tensor: bytes) -> tuple[str, int]:
        """The region's name and the offset at which the tensor will lie."""
        self._content += bytes(-len(self._content) % _ALIGNED_BYTES)
        offset = len(self._content)
        self._content += tensor
        return self.name, offset

    def publish(self) -> None:
        """Raises ProblemsError when there is no memory for it, or the server cannot use it.

        What processes that were killed have left of such memory is given back before.
        """
        for left in abandoned(_FOLDER, _PREFIX):
            with contextlib.suppress(OSError):
                left.unlink()
        try:
            # Made anew: what another process may have put there under this name is not followed.
            self._file.unlink(missing_ok=True)
            with self._file.open("xb") as file:
                file.write(self._content)
        except OSError as error:
            hint = "send without shared memory, or with fewer payloads"
            raise mistake(
                "TK863", "shared_memory", f"no region of {len(self._content)} bytes: {error}", hint
            ) from error
        try:
            with self._client() as client:
                client.register_system_shared_memory(
                    self.name, f"/{self.name}", len(self._content), headers=self._headers
                )
            self._registered = True
        except Exception as error:
            self.remove()
            hint = "the server has to run on this machine, in the same /dev/shm, and allow shared memory"
            raise mistake("TK863", "shared_memory", f"the server cannot use a region: {error}", hint) from error

    def remove(self, *, tell_server: bool = True) -> None:
        """Unregisters and unlinks, also when the server is gone or silent by now."""
        if self._registered and tell_server:
            with contextlib.suppress(Exception), self._client(_UNREGISTER_S) as client:
                self._unregister(client)
        self._registered = False
        self._file.unlink(missing_ok=True)

    def _unregister(self, client: Any) -> None:
        """The server answers a request before it lets go of the region, so the first tries may come too early."""
        within = {} if self._orders.protocol == "http" else {"client_timeout": _UNREGISTER_S}
        for left in reversed(range(_TRIES)):
            try:
                client.unregister_system_shared_memory(self.name, headers=self._headers, **within)
                return
            except Exception as error:
                if not left or _IN_USE not in str(error):
                    raise
                time.sleep(_BETWEEN_TRIES_S)

    @property
    def _headers(self) -> dict[str, str]:
        """What opens a restricted API over HTTP is wanted with a prefix over gRPC."""
        headers = self._orders.headers
        if self._orders.protocol == "http":
            return headers
        return {**headers, **{f"{_GRPC_PREFIX}{name}": value for name, value in headers.items()}}

    def _client(self, timeout_s: float = 60.0) -> Any:
        """Over gRPC each call says for itself how long it may take."""
        if self._orders.protocol == "http":
            import tritonclient.http as triton_http

            return triton_http.InferenceServerClient(
                self._orders.address, connection_timeout=timeout_s, network_timeout=timeout_s
            )
        import tritonclient.grpc as triton_grpc

        return triton_grpc.InferenceServerClient(self._orders.address, channel_args=[("grpc.enable_http_proxy", 0)])
