"""The server that a load test is sent to: one of its own, or one that runs already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from generator.problems import UserError

if TYPE_CHECKING:
    from generator.plan import Plan


def _not_known() -> UserError | None:
    return None


@dataclass(frozen=True)
class Serving:
    """A server that answers. `tritonkit.load_server.serve` starts one (an import from here would turn back),
    `loadtest.run.attach.attach` finds one.

    `plans` are of the pipelines under load, in the order of the mix; `root` is the project's. Addresses are
    `host:port` with a numeric host. `pids` are the server's processes, empty where it is not ours; `headers` open its
    restricted APIs over HTTP. `failure` says why it is gone, if that is known.
    """

    plans: Sequence[Plan]
    root: Path
    http_address: str
    grpc_address: str
    target: str
    pids: Sequence[int] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: Callable[[], UserError | None] = _not_known

    @property
    def models(self) -> list[str]:
        """Every model of the pipelines as the server knows it, the pipelines first."""
        names = [plan.name for plan in self.plans]
        for plan in self.plans:
            names += [step.model for step in plan.ensemble.steps] if plan.ensemble else [m.name for m in plan.models]
        return list(dict.fromkeys(names))
