"""The models of a running server of ours: what is loaded, and loading and unloading while it serves.

Over gRPC: seen on 2.51, a load over HTTP holds up every connection of the server's thread that takes it, for as
long as the load lasts; one over gRPC holds up nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deploy.embedded import log
from deploy.embedded.flags import grpc_headers
from deploy.embedded.state import ServerRecord
from generator.problems import UserError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

LOAD_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 10.0
_TURN_S = 0.1
_CLOSE_TIMEOUT_S = 2.0
_LARGEST_MESSAGE_BYTES = 2**31 - 1

READY, LOADING, UNLOADING, UNAVAILABLE = "READY", "LOADING", "UNLOADING", "UNAVAILABLE"
Index = dict[str, dict[int, str]]
"""The state of every version that the server has had, by model and version."""


def ready_versions(index: Index, model: str) -> list[int]:
    """The versions of a model that are ready, the oldest first."""
    return sorted(version for version, state in index.get(model, {}).items() if state == READY)


class LoadFailedError(UserError):
    """A model did not load. The message has the causes, each in a sentence."""

    def __init__(self, causes: Sequence[log.Cause]) -> None:
        self.causes = tuple(causes)
        first = self.causes[0]
        sentences = [f"{cause.model}: {cause.sentence}" if cause.model else cause.sentence for cause in self.causes]
        super().__init__("; ".join(sentences), first.hint)


class Control:
    """What only the owner of a server may do with it; a context manager.

    Raises UserError when the server does not answer.
    """

    def __init__(self, record: ServerRecord, *, load_timeout_s: float = LOAD_TIMEOUT_S) -> None:
        import grpc
        from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

        self._record, self._load_timeout_s = record, load_timeout_s
        self._metadata = tuple(grpc_headers(record.key).items())
        sizes = [(f"grpc.max_{way}_message_length", _LARGEST_MESSAGE_BYTES) for way in ("send", "receive")]
        # The server is on loopback: no proxy of the environment can reach it, nor shall it see the key.
        self._channel: Any = grpc.insecure_channel(
            record.grpc_address, options=[*sizes, ("grpc.enable_http_proxy", 0)]
        )
        self._stub: Any = GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an interrupt in the midst of a call gRPC may wait for that call's end for ever (seen).
        closing = threading.Thread(target=self._channel.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT_S)

    def index(self) -> Index:
        """Every model with its versions; a model that was never loaded has none."""
        from tritonclient.grpc.service_pb2 import RepositoryIndexRequest

        found: Index = {}
        for entry in self._call("RepositoryIndex", RepositoryIndexRequest()).models:
            versions = found.setdefault(entry.name, {})
            if entry.version:
                versions[int(entry.version)] = entry.state
        return found

    def config(self, model: str) -> ModelConfig:
        """The configuration that its newest version is served with."""
        from tritonclient.grpc.service_pb2 import ModelConfigRequest

        found: ModelConfig = self._call("ModelConfig", ModelConfigRequest(name=model)).config
        return found

    def loaded(self) -> list[str]:
        """The models that it can be asked for, also those that are in no repository."""
        from tritonclient.grpc.service_pb2 import ModelStatisticsRequest

        return sorted({entry.name for entry in self._call("ModelStatistics", ModelStatisticsRequest()).model_stats})

    def ready(self) -> bool:
        """Whether all models are ready, and none is being loaded or unloaded."""
        from tritonclient.grpc.service_pb2 import ServerReadyRequest

        return bool(self._call("ServerReady", ServerReadyRequest()).ready)

    def load(self, model: str, *, config: str = "", files: Mapping[str, bytes] | None = None) -> None:
        """Load a model from the repository, or from `config` (as JSON) and `files` (paths in its directory).

        What was loaded of it answers until the new one is ready. Raises LoadFailedError when the server says that
        it failed; of an ensemble it does not say so when a member failed: look at `index`.
        """
        from tritonclient.grpc.service_pb2 import RepositoryModelLoadRequest

        request = RepositoryModelLoadRequest(model_name=model)
        if config:
            request.parameters["config"].string_param = config
        for path, content in (files or {}).items():
            request.parameters[f"file:{path}"].bytes_param = content
        self._call("RepositoryModelLoad", request, self._load_timeout_s, self.watch(model))

    def unload(self, model: str) -> None:
        """Unload a model; its requests in flight are answered first. Returns before that is over."""
        from tritonclient.grpc.service_pb2 import RepositoryModelUnloadRequest

        self._call("RepositoryModelUnload", RepositoryModelUnloadRequest(model_name=model))

    def watch(self, model: str) -> LogSince:
        """What the server's log tells of failures from now on."""
        return LogSince(Path(self._record.log_path), model)

    def _call(
        self, name: str, request: Any, timeout_s: float = _ANSWER_TIMEOUT_S, since: LogSince | None = None
    ) -> Any:
        import grpc

        future = getattr(self._stub, name).future(request, metadata=self._metadata, timeout=timeout_s)
        try:
            while True:
                try:
                    return future.result(timeout=_TURN_S)
                except grpc.FutureTimeoutError:
                    if since is not None and log.hangs(since.text()):
                        nothing = f"the load of {since.model} does not end, and the log does not say why"
                        raise LoadFailedError(since.causes() or [log.Cause("", nothing)]) from None
        except grpc.RpcError as error:
            raise self._failed(error, timeout_s, since) from error
        finally:
            future.cancel()

    def _failed(self, error: Any, timeout_s: float, since: LogSince | None) -> UserError:
        status, said = error.code().name, " ".join(str(error.details()).split())
        if status == "UNAVAILABLE" and "restricted" not in said:
            return UserError(
                f"the server at {self._record.grpc_address} does not answer (gRPC): {said}",
                "`tritonkit status` tells whether it runs",
            )
        if status == "DEADLINE_EXCEEDED":
            what = f"the load of {since.model}" if since is not None else "the server"
            said = f"{what} did not answer within {timeout_s:g} s"
            hint = "look at what the model does in initialize(), and restart the server: it may still wait"
            return LoadFailedError([log.Cause("", said, hint, "slow")])
        if since is not None:
            return LoadFailedError(since.causes() or [log.Cause(since.model, said)])
        return UserError(f"the server at {self._record.grpc_address} refused: {said}")


class LogSince:
    """The part of a server's log from now on."""

    def __init__(self, path: Path, model: str) -> None:
        self.model, self.path = model, path
        try:
            self._offset = path.stat().st_size
        except OSError:
            self._offset = 0  # it was removed meanwhile: there is nothing to read then

    def text(self) -> str:
        """What was logged since."""
        return log.read(self.path, self._offset).decode(errors="replace")

    def causes(self) -> list[log.Cause]:
        """The failures that were logged since."""
        return log.causes(self.text())
