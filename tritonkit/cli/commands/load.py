"""`tritonkit load`: load tests that can be believed, and what is made of them."""

from __future__ import annotations

import click

from tritonkit.cli.lazy import LazyGroup

# In the order of use; each is `tritonkit.cli.commands.load_<name>`.
COMMANDS = {
    "run": "Send load to a pipeline, and judge its objective.",
    "sweep": "Find the settings that meet the objective best.",
    "report": "Make a page of runs or of a sweep.",
    "compare": "Say whether one run is better or worse than another.",
}


@click.group("load", cls=LazyGroup, commands_by_name=COMMANDS, modules="tritonkit.cli.commands.load_")
def command() -> None:
    """Load tests: open loop, latencies from when a request was due, verdicts with their confidence.

    Load goes to a server of the test's own, or to one on this machine; to another only when it is named.
    """
    import importlib.util

    from generator.extras import remedy
    from generator.problems import UserError

    if importlib.util.find_spec("scipy") is None:
        raise UserError("load tests need SciPy, which is not installed here", remedy("load"))
