"""The server of a load test's own: rendered from its specs into a temporary folder, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from generator.problems import UserError

if TYPE_CHECKING:
    from deploy.embedded.server import EmbeddedServer
    from generator.project import Project
    from loadtest.run.serving import Serving

GONE_S = 3.0  # within this a server that has closed its connections has ended, or lives


@contextmanager
def serve(project: Project, specs: Sequence[Path], target: str, progress: Callable[[str], None]) -> Iterator[Serving]:
    """An embedded server of these specs alone, ready; their plans are in the order of `specs`.

    Nothing is left behind, whatever happens. Raises ProblemsError or UserError for what a user can mend.
    """
    from deploy.embedded.needs import needs_of
    from deploy.embedded.refresh import render_specs
    from deploy.embedded.server import EmbeddedServer
    from generator.write import write
    from loadtest.cpu import family
    from loadtest.run.passing import owned_folder
    from loadtest.run.serving import Serving

    progress("rendering")
    made = render_specs(project, target, specs)
    with owned_folder("load") as folder:
        repository = folder / "repository"
        write(made.tree.files, repository, owner_of=lambda _: "load")
        progress("starting the server")
        server = EmbeddedServer(repository, needs_of(made.plans), on_progress=progress)
        try:
            server.start()
            yield Serving(
                tuple(made.plans), project.root, server.http_address, server.grpc_address, target,
                tuple(family(server.pid)), server.http_headers, lambda: _failure(server),
            )  # fmt: skip
        finally:
            server.stop(grace_s=0)  # nothing is in flight that anybody waits for


def _failure(server: EmbeddedServer) -> UserError | None:
    """Why it is gone: its own end, as soon as that is known."""
    with suppress(TimeoutError):
        server.wait(GONE_S)
    return server.failure
