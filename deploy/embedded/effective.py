"""What a running server really serves, compared with what was rendered."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.embedded import stubs
from generator.config.served import Difference, compare
from generator.problems import ProblemsError, UserError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

PROCESS_ENDED = "a Python process of it has ended"

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server itself, whatever the proxy


@dataclass(frozen=True)
class ModelStatus:
    """One rendered model on the server. Counts are of its whole life; an ensemble counts requests.

    `versions` are those that are ready.

    `problem` says why a model that the server calls ready is not.
    """

    name: str
    ready: bool
    inferences: int = 0
    executions: int = 0
    differences: list[Difference] = field(default_factory=list)
    problem: str = ""
    versions: list[int] = field(default_factory=list)


def status(
    http_address: str, repository: Path, *, server_pid: int | None = None, timeout_s: float = 5.0
) -> list[ModelStatus]:
    """The state of every model of `repository` on the server at `http_address`, by name.

    With `server_pid`, its process on this machine, models whose Python processes ended are found too.
    Raises UserError when no Triton server answers or the repository is not there.
    """
    configs = rendered_configs(repository)
    reader = _Reader(http_address, timeout_s)
    reader.expect_triton()
    statistics = (reader.get("/v2/models/stats") or {}).get("model_stats", ())
    found = []
    for name, rendered in configs.items():
        served = reader.get(f"/v2/models/{name}/config")
        if served is None:
            found.append(ModelStatus(name, ready=False))
            continue
        ready = reader.get(f"/v2/models/{name}/ready") is not None
        ended = server_pid is not None and served.get("backend") == "python" and _has_ended(server_pid, name, served)
        counted = [entry for entry in statistics if entry["name"] == name]  # one a version
        found.append(
            ModelStatus(
                name,
                ready and not ended,
                sum(int(entry.get("inference_count", 0)) for entry in counted),
                sum(int(entry.get("execution_count", 0)) for entry in counted),
                compare(rendered, served),
                PROCESS_ENDED if ended else "",
                sorted(map(int, (reader.get(f"/v2/models/{name}") or {}).get("versions", ()))),
            )
        )
    return found


def _has_ended(server_pid: int, model: str, served: Mapping[str, Any]) -> bool:
    """Whether a Python process of the model is missing, by the instances in its configuration."""
    groups = served.get("instance_group") or [{}]
    return stubs.lacks(server_pid, model, sum(max(1, int(group.get("count", 1))) for group in groups))


def rendered_configs(repository: Path) -> dict[str, ModelConfig]:
    """Every model's config.pbtxt in `repository`, parsed, by name.

    Raises UserError when there is none, ProblemsError when one cannot be parsed.
    """
    from generator.lint.run import lint_config
    from generator.pbtxt.reader import read

    configs = {}
    for file in sorted(repository.glob("*/config.pbtxt")):
        try:
            config = read(file.read_bytes(), str(file)).message
        except OSError:
            config = None
        if config is None:
            raise ProblemsError(lint_config(file))
        configs[config.name or file.parent.name] = config
    if not configs:
        raise UserError(f"there are no rendered models in {repository}", "`tritonkit render` makes them")
    return configs


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it answers, and not as Triton does")
    return value


class _Reader:
    """GET requests of one server; a model that is not there is None."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s

    def expect_triton(self) -> None:
        """Raises UserError when what answers is no Triton server."""
        if "extensions" not in (self.get("/v2") or {}):
            raise self._silent("what answers is something else")

    def get(self, path: str) -> Any:
        """The answer, {} for an empty one, None where it is not there. Raises UserError."""
        try:
            with _DIRECT.open(f"http://{self._address}{path}", timeout=self._timeout_s) as reply:
                body = reply.read()
                return _mapping(json.loads(body)) if body else {}
        except urllib.error.HTTPError as error:
            if error.code in {400, 404, 503}:
                return None
            raise UserError(f"the server at {self._address} refuses {path}: HTTP {error.code}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            reason = str(getattr(cause, "strerror", None) or cause).lower()
            raise self._silent(reason) from error

    def _silent(self, reason: str) -> UserError:
        return UserError(
            f"no Triton server answers at {self._address} (HTTP): {reason}",
            "start one with `tritonkit serve`, or give its HTTP address",
        )
