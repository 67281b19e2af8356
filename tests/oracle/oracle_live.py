"""The embedded server, asked about one repository after the other. It is started again when a repository ends it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from oracle_kind import PLAIN, Kind
from oracle_repository import Repository, put

from deploy.embedded import log
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

_LOAD_S = 20.0
_TURN_S = 0.02
_SETTLE_S = 20.0
_MODELS_A_SERVER = 1500  # its log and its list of what was ever loaded grow

# The flags are changed for the moment of the start, which may be that of one server at a time.
_STARTING = threading.Lock()
_MESSAGE = re.compile(r'^[EWI]\d{4} \S+\s+\d+ \S+?\] +"?(?P<text>.*?)"?\s*$')
_PARSE = re.compile(r"Error parsing text-format \S+: (?P<text>\d+:\d+: .*)")
_POLL = re.compile(
    r"(?:Poll failed for model directory|failed to poll model) '(?P<model>[^']*)': (?P<text>.*)", re.DOTALL
)


class EndedError(Exception):
    """The server ended, or waits for ever, because of what it was asked to load."""


@dataclass
class Verdict:
    """What the server said: `reasons` by folder, empty for a model that is ready. `ended`: why there is none."""

    reasons: dict[str, str] = field(default_factory=dict)
    ended: str = ""
    seconds: float = 0.0


class Live:
    """One server over two repository folders, in explicit mode; a context manager."""

    def __init__(self, kind: Kind = PLAIN) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="tritonkit-oracle-"))
        self.roots = (self._home / "A", self._home / "B")
        self.kind = kind
        self._server: EmbeddedServer | None = None
        self._channel: Any = None
        self._stub: Any = None
        self._offset = 0
        self._loaded = 0
        self.starts = 0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def ask(self, repository: Repository) -> Verdict:
        """Load every model of the repository and unload it again; what each came to."""
        began = time.monotonic()
        if self._loaded > _MODELS_A_SERVER:
            self._restart()
        self._clear()
        put(repository.files(), self.roots[0])
        if repository.has_second:
            put(repository.files(second=True), self.roots[1])
        verdict = Verdict()
        try:
            verdict.reasons = self._ask(repository)
            self._unload(repository)
        except EndedError as error:
            verdict.ended = str(error)
            self._restart()
        verdict.seconds = time.monotonic() - began
        return verdict

    # One repository -----------------------------------------------------------------------------------

    def _ask(self, repository: Repository) -> dict[str, str]:
        """Members first, so that each gives its own reason; most are ready then when the ensemble needs them."""
        names = [model.folder for key, model in repository.models.items() if key != repository.top]
        top = repository.models[repository.top].folder
        said = {name: self._load(name) for name in [*names, top]}
        states = self._states()
        unsure = [name for name, text in said.items() if not text and states.get(name) != {"READY"}]
        if unsure:
            raise EndedError(
                f"loaded, and then not ready: {unsure[0]} is {states.get(unsure[0], set())}; {self._log()[-2000:]}"
            )
        return {name: "" if states.get(name) == {"READY"} else text for name, text in said.items()}

    def _load(self, name: str) -> str:
        from tritonclient.grpc.service_pb2 import RepositoryModelLoadRequest

        self._loaded += 1
        answer = self._call("RepositoryModelLoad", RepositoryModelLoadRequest(model_name=name), _LOAD_S)
        return "" if answer is None else self._reason(name, answer)

    def _reason(self, name: str, answer: str) -> str:
        """The server's reason about a model; where the answer only says that it failed, the log has it."""
        parse = ""
        for line in self._log().splitlines():
            found = _MESSAGE.match(line)
            text = found["text"].replace('\\"', '"').replace("\\n", "\n") if found else line
            if match := _PARSE.search(text):
                parse = match["text"]
            elif (match := _POLL.search(text)) and match["model"] == name:
                return f"{match['text']}: {parse}" if parse and "text proto" in match["text"] else match["text"]
        return answer

    def _unload(self, repository: Repository) -> None:
        from tritonclient.grpc.service_pb2 import RepositoryModelUnloadRequest

        for key in reversed(list(repository.models)):
            name = repository.models[key].folder
            self._call("RepositoryModelUnload", RepositoryModelUnloadRequest(model_name=name), _LOAD_S)

    def _states(self) -> dict[str, set[str]]:
        """The states of the versions that count: those which are not gone."""
        from tritonclient.grpc.service_pb2 import RepositoryIndexRequest

        deadline = time.monotonic() + _SETTLE_S
        while True:
            found: dict[str, set[str]] = {}
            for entry in self._index(RepositoryIndexRequest()):
                if entry.version:
                    found.setdefault(entry.name, set()).add(entry.state)
            moving = {"LOADING", "UNLOADING"}
            if not any(states & moving for states in found.values()) or time.monotonic() > deadline:
                return found
            time.sleep(_TURN_S)

    def _index(self, request: Any) -> Iterator[Any]:
        import grpc

        try:
            yield from self._stub.RepositoryIndex(request, timeout=_LOAD_S).models
        except grpc.RpcError as error:
            raise EndedError(self._last_words()) from error

    def _call(self, method: str, request: Any, timeout_s: float) -> str | None:
        """None when it went well, else what the server answered."""
        import grpc

        self._offset = self._log_size()
        future = getattr(self._stub, method).future(request, timeout=timeout_s)
        while True:
            try:
                future.result(timeout=1.0)
                return None
            except grpc.FutureTimeoutError:
                if log.hangs(self._log()):
                    future.cancel()
                    raise EndedError(f"waits for ever: {self._last_words()}") from None
            except grpc.RpcError as error:
                is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                if is_late or (error.code() is grpc.StatusCode.UNAVAILABLE and self._is_gone()):
                    raise EndedError(f"{error.code().name.lower()}: {self._last_words()}") from None
                return str(error.details())

    # The server ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        import grpc
        from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

        self.starts += 1
        self._loaded = 0
        self._clear()
        needs = ServerNeeds(control_mode="explicit", restricted_apis=(), grpc_infer_pool=1, http_threads=1)
        server = EmbeddedServer(list(self.roots), needs, log_path=self._home / f"log{self.starts}")
        # Neither GPUs nor what an interpreter leaves beside the code shall change the verdicts.
        variables = {"CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        with (
            _STARTING,
            patch.dict(os.environ, variables),
            patch("deploy.embedded.server.ServerFlags", self.kind.flags()),
        ):
            server.start()
        self._server = server
        self._channel = grpc.insecure_channel(server.grpc_address, options=[("grpc.enable_http_proxy", 0)])
        self._stub = GRPCInferenceServiceStub(self._channel)

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._server is not None:
            self._server.stop(grace_s=0)
            self._server.log_path.unlink(missing_ok=True)

    def _restart(self) -> None:
        self._stop()
        self._start()

    def _clear(self) -> None:
        for root in self.roots:
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)

    def _is_gone(self) -> bool:
        """Whether the server has ended; a dying one needs a moment for its stack trace."""
        deadline = time.monotonic() + 5.0
        while self._server is not None and self._server.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_TURN_S)
        return True

    def _log_size(self) -> int:
        assert self._server is not None
        with contextlib.suppress(OSError):
            return self._server.log_path.stat().st_size
        return 0

    def _log(self) -> str:
        assert self._server is not None
        return log.read(self._server.log_path, self._offset).decode(errors="replace")

    def _last_words(self) -> str:
        """The last line of the log that is no stack frame."""
        lines = [line for line in self._log().splitlines() if line.strip() and not re.match(r"^\s*\d+# ", line)]
        return " / ".join(line[:300] for line in lines[-3:])
