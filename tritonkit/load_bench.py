"""The server of a sweep's own: brought from setting to setting by load calls, restarted only where it must be.

Seen on Triton 2.51, in explicit mode: a load call with a configuration replaces the model's whole configuration and
keeps its files; what the configuration leaves out is not kept. The ensembles above are loaded again by the server,
requests to them go on meanwhile, and the old instances end after that. A load call without a configuration does not
go back to the repository's: an override stays until another one comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from generator.problems import UserError
from loadtest.run.passing import owned_folder
from loadtest.run.plain_http import ask
from loadtest.run.problem import refused

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from deploy.embedded.server import EmbeddedServer
    from generator.config.served import Difference
    from generator.plan import Plan
    from loadtest.results.run import Run
    from loadtest.run.asked import Asked
    from loadtest.run.serving import Serving
    from loadtest.sweep.rendered import Rendered, Renderer
    from loadtest.sweep.setting import Setting
    from loadtest.traffic.payloads import Payloads

Progress = Callable[[str], None]
GONE_S = 3.0  # within this a server that has closed its connections has ended, or lives
DRAINED_S = 30.0  # the old instances end within this, or something holds them


@dataclass
class ServedBench:
    """A `loadtest.sweep.bench.Bench` on an embedded server; a context manager. Nothing is left behind.

    `asked` is what every turn has in common, `first` the settings that the sweep begins with: the server is made for
    the largest of them.
    """

    renderer: Renderer
    asked: Asked
    first: Sequence[Setting]
    payload_seed: int
    starts: int = 0
    _server: EmbeddedServer | None = None
    _running: Rendered | None = None
    _loaded: Mapping[str, ModelConfig] = field(default_factory=dict)
    _folder: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _payloads: Mapping[str, Payloads] | None = None
    _checked: bool = False

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(owned_folder("sweep"))
        self._stack.callback(self._stop)  # before the folder goes: it serves from there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def group(self, setting: Setting) -> str:
        """What a running server cannot be brought to without its files being other ones."""
        return self.renderer.of(setting).base

    def apply(self, setting: Setting, progress: Progress) -> int:
        """Loads what differs, or starts the server with it; then compares what it serves with what was rendered."""
        from deploy.embedded.control import Control
        from loadtest.sweep.rendered import as_json, differing

        rendered = self.renderer.of(setting)
        try:
            if self._server is None or self._running is None or self._running.base != rendered.base:
                self._restart(rendered, progress)
            else:
                models = differing(self._loaded, rendered.configs)
                progress(f"loading {', '.join(models)}" if models else "nothing to load")
                with Control(self._live().record()) as control:
                    for name in models:
                        control.load(name, config=as_json(rendered.configs[name]))
                self._drained(models, rendered)
            self._running, self._loaded = rendered, rendered.configs
            self._compare(rendered)
        except (OSError, UserError) as error:
            ended = self._failure() if self._server is not None and self._checked else None
            if ended is None and isinstance(error, UserError):
                raise
            raise ended or UserError(f"the server does not answer any more: {error}") from error
        return self.starts

    def measure(self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Progress) -> Run:
        """One turn of open-loop load; the payloads are asked once before the first of a start."""
        from loadtest.run import measure as running

        assert self._running is not None  # noqa: S101  (it was brought to a setting)
        plan = self._running.plan
        asked = replace(self.asked, rate_rps=rate_rps, duration_s=seconds, seed=seed)
        found = running.measure(asked, self._serving(plan), self._payloads_of(plan), folder, progress,
                                checked=self._checked)  # fmt: skip
        self._checked = True
        return found

    # The server --------------------------------------------------------------------------------------------

    def _restart(self, rendered: Rendered, progress: Progress) -> None:
        from deploy.embedded.needs import for_updates
        from deploy.embedded.server import EmbeddedServer
        from generator.write import write

        assert self._folder is not None  # noqa: S101  (within `with`)
        self._stop()
        self.starts += 1
        repository = self._folder / f"repository-{self.starts}"
        write(rendered.files, repository, owner_of=lambda _: "sweep")
        progress("starting the server")
        self._checked = False
        self._server = EmbeddedServer(repository, for_updates(self._needs(rendered.plan)), on_progress=progress)
        self._server.start()

    def _needs(self, plan: Plan) -> Any:
        """Of the largest setting. While a model is loaded again both of its kind have instances."""
        from deploy.embedded.needs import needs_of

        plans = [plan, *(self.renderer.of(setting).plan for setting in self.first)]
        needs = max((needs_of([one]) for one in plans), key=lambda needs: needs.shm_bytes)
        return replace(needs, python_instances=2 * needs.python_instances)

    def _drained(self, models: Sequence[str], rendered: Rendered) -> None:
        """Waits until the instances that were there before have ended: they would share the cores."""
        from deploy.embedded import stubs

        counts = {model.name: model.instance_count() for model in rendered.plan.models}
        deadline, pause_s = time.monotonic() + DRAINED_S, 0.02
        while True:
            running = [stub.model for stub in stubs.running(self._live().pid)]
            left = [name for name in models if running.count(name) > counts[name]]
            if not left:
                return
            if time.monotonic() > deadline:
                raise refused("TK886", left[0], f"the old instances of {left[0]} have not ended in {DRAINED_S:.0f} s",
                              "look at what the model does in finalize()")  # fmt: skip
            time.sleep(pause_s)

    def _compare(self, rendered: Rendered) -> None:
        """Raises ProblemsError (TK886) where the server serves another configuration than the setting's."""
        from generator.config.served import compare, swept_differences

        address = self._live().http_address
        for name, config in rendered.configs.items():
            served = ask(address, f"/v2/models/{name}/config")
            differences = [*swept_differences(config, served), *compare(config, served)]
            if differences:
                raise self._differs(name, differences[0], rendered)

    def _differs(self, model: str, difference: Difference, rendered: Rendered) -> Exception:
        return refused(
            "TK886", model,
            f"{rendered.setting.words()}: the server reports {difference.served} in {difference.field}, and "
            f"{difference.rendered} was asked for; nothing was measured with it",
            "this is not your doing: please report it with the server's version",
        )  # fmt: skip

    def _live(self) -> EmbeddedServer:
        assert self._server is not None  # noqa: S101  (it was started)
        return self._server

    def _serving(self, plan: Plan) -> Serving:
        """Its processes change with every load."""
        from loadtest.cpu import family
        from loadtest.run.serving import Serving

        server = self._live()
        return Serving(
            (plan,), self.renderer.project.root, server.http_address, server.grpc_address, self.renderer.target,
            tuple(family(server.pid)), server.http_headers, self._failure,
        )  # fmt: skip

    def _payloads_of(self, plan: Plan) -> Mapping[str, Payloads]:
        from loadtest.traffic.payloads import payloads_of

        if self._payloads is None:
            made = payloads_of(plan, self.renderer.project.root, self.payload_seed, self.asked.sizes)
            self._payloads = {plan.name: made}
        return self._payloads

    def _failure(self) -> UserError | None:
        with suppress(TimeoutError):
            self._live().wait(GONE_S)
        return self._live().failure

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace_s=0)  # nothing is in flight that anybody waits for
            self._server = None
