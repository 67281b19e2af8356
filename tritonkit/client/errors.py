"""Errors of the client: one type for an item's fault, one exception each for what makes all calls useless.

Both protocols give the same code and message for the same fault, so a caller need not know which one is used.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from generator.problems import UserError

if TYPE_CHECKING:
    from tritonkit.client.answer import Answer

Code = Literal[
    "invalid_argument",  # the item is at fault, here or in the model's eyes
    "unreadable_file",  # the item's file cannot be read
    "not_found",  # the server has no such model
    "unavailable",  # the server answers, but does not take the request (not ready, queue full, stopping)
    "unreachable",  # no connection, or it broke
    "deadline_exceeded",  # no answer in time
    "resource_exhausted",  # too large, or too many
    "permission_denied",
    "cancelled",
    "unimplemented",
    "internal",  # the model failed
    "bad_answer",  # the answer does not fit the contract, or is not Triton's at all
]

# The server's UNKNOWN and ALREADY_EXISTS are 400 over HTTP, which is INVALID_ARGUMENT too: one code for all three.
_OF_GRPC: dict[str, Code] = {
    "INVALID_ARGUMENT": "invalid_argument",
    "UNKNOWN": "invalid_argument",
    "ALREADY_EXISTS": "invalid_argument",
    "FAILED_PRECONDITION": "invalid_argument",
    "OUT_OF_RANGE": "invalid_argument",
    "NOT_FOUND": "not_found",
    "UNAVAILABLE": "unavailable",
    "DEADLINE_EXCEEDED": "deadline_exceeded",
    "RESOURCE_EXHAUSTED": "resource_exhausted",
    "PERMISSION_DENIED": "permission_denied",
    "UNAUTHENTICATED": "permission_denied",
    "CANCELLED": "cancelled",
    "UNIMPLEMENTED": "unimplemented",
}
_OF_HTTP: dict[int, Code] = {
    401: "permission_denied",
    403: "permission_denied",
    404: "not_found",
    408: "deadline_exceeded",
    413: "resource_exhausted",
    429: "resource_exhausted",
    499: "cancelled",
    501: "unimplemented",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
}

# How gRPC itself words a connection that fails or breaks; the status is UNAVAILABLE, as for a model's own refusal.
_LOST = re.compile(
    r"failed to connect to all addresses|connections to all backends failing|Stream removed|Socket closed"
    r"|GOAWAY|Connection (refused|reset|timed out)"
    r"|(recvmsg|sendmsg|writev?|readv?):|Broken pipe|End of TCP stream|Endpoint clos|Transport closed|Channel closed"
    r"|DNS resolution failed|Name resolution failure|keepalive|Failed to connect|errors resolving|empty address list",
    re.IGNORECASE,
)
# Most telling first: what a connection failed of, in the words of gRPC, of the C library and of Python.
_REASONS = (
    (re.compile(r"refused", re.IGNORECASE), "connection refused"),
    (re.compile(r"resol|name or service|nodename|gaierror|getaddrinfo", re.IGNORECASE), "no such host"),
    (re.compile(r"unreachable|no route", re.IGNORECASE), "no route to the host"),
)
NOT_AS_TRITON = "the server answers, but not as Triton does"
_WRAPPING = re.compile(
    r"\s*(?:\[StatusCode\.\w+\]|\[\d{3}\]|\[request id: [^\]]*\]|in ensemble '[^']*',"
    r"|Failed to process the request\(s\) for model '[^']*', message:|TritonModelException:)\s*"
)
_NO_PROCESS = re.compile(r"Stub process '([^']*)' is not healthy\.?")
_TAIL = re.compile(r"\s*(?:\n\s*At:\n| NOTE: Setting a non-zero max_batch_size).*", re.DOTALL)


@dataclass(frozen=True)
class ItemError:
    """Why one item has no answer: a stable `code`, one sentence, and the text as it came (`raw`)."""

    code: Code
    message: str
    raw: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class PipelineError(UserError):
    """Nothing can be sent to the pipeline; the base of the errors below."""


class ServerUnreachableError(PipelineError):
    """No Triton server answers at the address by the protocol that was chosen."""


class UnknownPipelineError(PipelineError):
    """The server has no model of the pipeline's name."""


class UnknownVersionError(PipelineError):
    """The server has the pipeline, and does not serve the version that was asked for."""


class ContractError(PipelineError):
    """The server's model is not the one the caller expects; `differences` has a sentence for each."""

    def __init__(self, message: str, differences: tuple[str, ...]) -> None:
        self.differences = differences
        super().__init__(message)


class ItemFailedError(Exception):
    """Raised by `Answer.raise_for_error`; `answer` is the answer that has an error."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"{answer.title} failed: {answer.error}")


def clean(raw: str) -> str:
    """The sentence inside a server's message: no status, no names of inner models, no traceback."""
    text = _TAIL.sub("", raw)
    while match := _WRAPPING.match(text):
        text = text[match.end() :]
    if ended := _NO_PROCESS.fullmatch(text):  # Triton starts it again never, and says so to nobody
        return f"the Python process {ended[1]!r} of the server has ended or hangs: the server has to be restarted"
    return " ".join(text.split()) or "the server gave no reason"


def unreachable(raw: str) -> ItemError:
    """The error of a connection that failed or broke."""
    reason = next((words for pattern, words in _REASONS if pattern.search(raw)), "the connection was lost")
    return ItemError("unreachable", f"the server cannot be reached: {reason}", raw)


def too_late(deadline_s: float, raw: str = "") -> ItemError:
    """The error of an answer that did not come in time."""
    return ItemError("deadline_exceeded", f"no answer within {deadline_s:g} s", raw)


def of_grpc(status: str, message: str, deadline_s: float) -> ItemError:
    """From a gRPC status (`StatusCode.NOT_FOUND`) and its text."""
    code = _OF_GRPC.get(status.rpartition(".")[2], "internal")
    if code == "deadline_exceeded":
        return too_late(deadline_s, message)
    if code == "unavailable" and message.startswith("This protocol is restricted"):
        code = "permission_denied"  # as over HTTP; trying again would not help
    if code == "unavailable" and _LOST.search(message):
        return unreachable(message)
    return ItemError(code, clean(message), message)


def of_http(status: str, message: str, body: str | None, deadline_s: float) -> ItemError:
    """From an HTTP status (`404`) and Triton's text, or the `body` of an answer that is not Triton's."""
    number = int(status)
    code = _OF_HTTP.get(number, "invalid_argument" if 400 <= number < 500 else "internal")
    if code == "deadline_exceeded":
        return too_late(deadline_s, message)
    if body is not None:
        if code == "not_found":  # of the page, not of the model
            code = "bad_answer"
        text = clean(re.sub(r"<[^>]*>", " ", body))[:200]
        return ItemError(code, f"HTTP status {number}, not from Triton: {text}", body)
    return ItemError(code, clean(message), message)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'digits'?`, or nothing."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
