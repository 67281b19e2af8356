"""The options of `tritonkit load run` on Locust's command line, or in the environment."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from loadtest.run.problem import refused

GROUP = "tritonkit"
_VARIABLE = "TRITONKIT_LOAD_"
# Option -> where it goes in the options of `load run`, its type, what it is without, and what it means.
OPTIONS: dict[str, tuple[str, Any, Any, str]] = {
    "--rate": ("rate", float, None, "Requests a second, of all workers together."),
    "--duration": ("duration", float, None, "Seconds of sending."),
    "--p99-ms": ("p99_ms", float, None, "The bound to judge, in place of the spec's."),
    "--protocol": ("protocol", str, "http", "http or grpc."),
    "--client": ("client", str, "raw", "raw or tritonclient."),
    "--arrivals": ("kind", str, None, "poisson, constant, trace, burst, ramp or diurnal."),
    "--trace": ("trace", str, None, "Arrivals from a file."),
    "--shape": ("shape", str, None, "Settings of the arrivals, such as times=5,every_s=10."),
    "--mix": ("mix", str, None, "Shares of several pipelines, such as A=0.7,B=0.3."),
    "--seed": ("seed", int, 1, "Of arrivals and payloads."),
    "--senders": ("senders", int, 1, "Processes that send, of each worker."),
    "--connections": ("connections", int, None, "At most, of each sender."),
    "--deadline-ms": ("deadline_ms", float, None, "Later is a timeout."),
    "--batch": ("sizes", str, "1", "Items a request, in turn, such as 1,4."),
    "--priority": ("priority", int, 0, "Triton's request priority."),
    "--server-timeout-us": ("server_timeout_us", int, 0, "Triton's request timeout."),
    "--cancel": ("cancel", float, 0.0, "Share of requests that are cancelled."),
    "--lag-bound-ms": ("lag_bound_ms", float, None, "How late the latest of 100 may leave."),
    "--url": ("url", str, "127.0.0.1:8000", "The server's HTTP, host:port."),
    "--grpc-url": ("grpc_url", str, None, "Its gRPC; without it the port after."),
    "--target": ("target", str, "embedded", "What should be served there."),
    "--out": ("out", str, None, "Where run.json and samples.bin go."),
    "--repeat": ("command", str, "", "The command that run.json has to repeat it."),
}
LISTS = {
    "--spec": ("specs", "A spec whose pipeline is loaded; may be given again."),
    "--allow-remote": ("allowed", "Load may go to this other machine; may be given again."),
}
FLAGS = {"--shared-memory": "shared_memory", "--streaming": "streaming"}


def add_to(parser: Any) -> None:
    """Adds all of them to Locust's parser; each may come from a variable TRITONKIT_LOAD_<NAME> as well."""
    for option, (field, _, default, text) in OPTIONS.items():
        parser.add_argument(
            option, dest=_dest(field), default=default, help=text, env_var=_variable(option), include_in_web_ui=False
        )
    for option, (field, text) in LISTS.items():
        parser.add_argument(
            option, dest=_dest(field), action="append", default=[], help=text, env_var=_variable(option),
            include_in_web_ui=False,
        )  # fmt: skip
    for option, field in FLAGS.items():
        parser.add_argument(
            option, dest=_dest(field), action="store_true", help="As in `tritonkit load run`.",
            env_var=_variable(option), include_in_web_ui=False,
        )  # fmt: skip


def read(parsed: Namespace) -> dict[str, Any]:
    """What `loadtest.run.prepare.wanted_of` takes, as JSON would have it: it goes to the workers.

    Raises ProblemsError (TK878) for what is no number where one is wanted: the parser would print how all of its
    options are used.
    """
    found = {
        field: _value(option, kind, getattr(parsed, _dest(field))) for option, (field, kind, *_) in OPTIONS.items()
    }
    fields = [*(field for field, _ in LISTS.values()), *FLAGS.values()]
    return found | {field: getattr(parsed, _dest(field)) for field in fields}


def arguments(options: dict[str, Any]) -> list[str]:
    """The words for Locust's command line that `read` would read so; what is None is left out."""
    words = []
    for option, (field, *_) in OPTIONS.items():
        value = options.get(field)
        if value is not None:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    for option, (field, _) in LISTS.items():
        words += [word for value in options.get(field, ()) for word in (option, str(value))]
    return words + [option for option, field in FLAGS.items() if options.get(field)]


def _value(option: str, kind: Any, given: Any) -> Any:
    if not isinstance(given, str):  # what it is without
        return given
    try:
        return kind(given)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise refused("TK878", option, f"`{given}` is no {what}", "give one") from None


def _dest(field: str) -> str:
    return f"{GROUP}_{field}"


def _variable(option: str) -> str:
    return _VARIABLE + option.strip("-").replace("-", "_").upper()
