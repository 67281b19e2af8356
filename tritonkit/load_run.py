"""`tritonkit load run`: a server of its own or a running one, loaded directly or through Locust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.results.run import Run
    from loadtest.run.prepare import Prepared, Wanted
    from loadtest.run.serving import Serving

REPORT_FILE = "report.html"


@contextmanager
def served(prepared: Prepared, wanted: Wanted, progress: Callable[[str], None]) -> Iterator[Serving]:
    """The server to load, its own or the one that is named."""
    from loadtest.run.attach import attach
    from tritonkit.load_server import serve

    where = wanted.where
    if where.url is None:
        with serve(prepared.project, wanted.specs, where.target, progress) as serving:
            yield serving
    else:
        yield attach(
            prepared.plans, prepared.project.root, where.url, grpc=where.grpc_url, target=where.target,
            allowed=where.allowed,
        )  # fmt: skip


def run(
    wanted: Wanted, prepared: Prepared, options: Mapping[str, Any], progress: Callable[[str], None],
    judged: Callable[[Run], None],
) -> Run:  # fmt: skip
    """Serves, sends and judges; run.json and samples.bin lie in `prepared.folder`. `judged` is called with the run.

    `options` are those of the command line by name, for Locust. Raises ProblemsError or UserError for what a user can
    mend. An interrupt keeps what there is.
    """
    from loadtest.run.measure import measure
    from loadtest.run.own_folder import own_folder
    from tritonkit.load_locust import Through, through_locust

    def told(found: Run) -> None:
        _write_report(prepared.folder, progress)
        judged(found)

    with own_folder(prepared.folder), served(prepared, wanted, progress) as serving:
        if wanted.workers or wanted.web:
            through = Through(wanted.workers, wanted.web, options, told)
            return through_locust(through, prepared, serving, progress)
        found = measure(prepared.asked, serving, prepared.payloads, prepared.folder, progress, extend=wanted.extend)
    told(found)
    return found


def _write_report(folder: Path, progress: Callable[[str], None]) -> None:
    """The page beside run.json. A run without it is whole: `tritonkit load report` makes one at any time."""
    from loadtest.report.page import write_page
    from loadtest.run.writing import no_page
    from tritonkit.cli.output import show_problems

    progress("writing the report")
    try:
        write_page([folder], folder / REPORT_FILE)
    except OSError as error:
        show_problems([no_page(folder, folder / REPORT_FILE, error)])
