"""Before any load: the pipelines are ready, and every payload is answered once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loadtest.http_answers import NoAnswerError
from loadtest.raw_http import ClosedLoop
from loadtest.run import splits
from loadtest.run.plain_http import ask, words
from loadtest.run.problem import refused

if TYPE_CHECKING:
    from generator.problems import ProblemsError
    from loadtest.raw_http import Reply
    from loadtest.run.serving import Serving
    from loadtest.traffic.payloads import Payloads

IN_FLIGHT = 4
LONGEST_S, ANSWER_S = 3600.0, 60.0


def check(serving: Serving, payloads: Mapping[str, Payloads], progress: Callable[[str], None]) -> dict[str, Any]:
    """What the server says of itself. Raises ProblemsError where it is not there, not ready, or refuses a payload."""
    try:
        about = ask(serving.http_address, "/v2") or {}
        if not isinstance(about, dict):
            raise ValueError("it says nothing of itself")
    except (OSError, ValueError) as error:
        raise _not_there(serving, error) from error
    before: dict[str, splits.Counted] = {}
    with suppress(OSError, ValueError):  # it may show none
        before = splits.read(serving.http_address)
    for plan in serving.plans:
        try:
            ask(serving.http_address, f"/v2/models/{plan.name}/ready")
        except ValueError as error:
            raise refused(
                "TK872", serving.http_address, f"model `{plan.name}` is not ready there ({error})",
                "`tritonkit status` shows what a server serves",
            ) from error  # fmt: skip
        except OSError as error:
            raise _not_there(serving, error) from error
        progress(f"asking {plan.name} each of its payloads once")
        _answered(serving, plan.name, payloads[plan.name])
    if before:  # it counts after it has answered, and what it counts late would be the run's
        with suppress(OSError, ValueError):
            answered = {plan.name: len(payloads[plan.name]) for plan in serving.plans}
            splits.read_after(serving.http_address, before, answered)
    return about


def configs(serving: Serving) -> dict[str, Any]:
    """Each model's configuration as the server has it; a model that it does not show is left out. Raises OSError."""
    found = {}
    for name in serving.models:
        try:
            config = ask(serving.http_address, f"/v2/models/{name}/config")
            if isinstance(config, dict):
                found[name] = config
        except ValueError:  # one that is served under another name, or a server that shows none
            continue
    return found


def _answered(serving: Serving, model: str, payloads: Payloads) -> None:
    requests = payloads.http(serving.http_address, model)
    try:
        with ClosedLoop(serving.http_address, min(IN_FLIGHT, len(requests))) as loop:
            replies = loop.run(requests, range(len(requests)), LONGEST_S, timeout_s=ANSWER_S)
    except OSError as error:
        raise _not_there(serving, error) from error
    wrong = sorted((reply for reply in replies if reply.status != 200), key=lambda reply: reply.payload)
    if wrong:
        raise refused(
            "TK873", serving.http_address, f"pipeline `{model}` refuses {_which(wrong, len(requests))}: "
            f"status {wrong[0].status}, {words(wrong[0].body)}",
            f"payloads are {payloads.source}; no load was sent",
        )  # fmt: skip


def _which(wrong: Sequence[Reply], of: int) -> str:
    if len(wrong) == of:
        return f"all of its {of} payloads" if of > 1 else "its payload"
    many = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"payload {wrong[0].payload}{many} of {of}"


def _not_there(serving: Serving, error: Exception) -> ProblemsError:
    ended = serving.failure()
    why = ended.message if ended is not None else str(getattr(error, "strerror", None) or error)
    hint = (
        "" if ended is not None else "start one with `tritonkit serve`, or leave --url out: the test brings its own"
    )
    speaks = isinstance(error, (ValueError, NoAnswerError))
    what = "what answers there is not Triton" if speaks else "no server answers there"
    return refused("TK872", serving.http_address, f"{what}: {why}", hint)
