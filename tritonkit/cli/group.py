"""The group of all commands."""

from __future__ import annotations

import click

from tritonkit.cli.lazy import LazyGroup

VERSION = "0.1.0"

# In the order of use. The short help stands here so that `-h` imports none of them.
COMMANDS = {
    "init": "Write a commented starter spec.",
    "build": "Build engines, and prove that their answers are right.",
    "engines": "List the engines, and whether each is what its spec asks for.",
    "render": "Render specs to model repositories.",
    "inspect": "Show what is in an ONNX file, and what an engine would refuse.",
    "profile": "Time an ONNX file layer by layer, and say what limits each.",
    "copies": "Show where the bytes of a request are copied.",
    "memory": "Show what a pipeline needs of memory, and the server's flags.",
    "import": "Make specs of an existing model repository.",
    "lint": "Check specs and repositories without a server.",
    "explain": "Explain the code of a problem, or list all codes.",
    "serve": "Serve a model repository until Ctrl-C.",
    "update": "Bring a running server to the specs, without losing a request.",
    "rollback": "Serve an earlier version of a model again.",
    "infer": "Send files to a pipeline and print the answers.",
    "status": "Show what a running server serves, against what was rendered.",
    "snippet": "Print a client call that works when pasted.",
    "load": "Load tests with a verdict: run, sweep, report, compare.",
    "deploy": "Bring specs to a cluster, and see to the release there.",
    "layouts": "Compare and measure the layouts of a spec on one server.",
    "demo": "Serve the digits and classify the held-out ones.",
    "doctor": "Check this machine, and say what to mend.",
    "schema": "Print the JSON Schema of specs.",
    "completion": "Print the completion script of a shell.",
}


@click.group(
    cls=LazyGroup,
    commands_by_name=COMMANDS,
    modules="tritonkit.cli.commands.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, prog_name="tritonkit")
def tritonkit() -> None:
    """One short YAML spec and an ONNX model become a Triton service.

    Standard output is data, standard error is everything else. Exit status: 0 fine, 1 yours to mend, 2 ours,
    130 interrupted.
    """
