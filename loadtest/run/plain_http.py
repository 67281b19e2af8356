"""Questions to a Triton server over HTTP, never through a proxy."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from loadtest.http_answers import no_answer

_SHOWN, _DEEPEST = 60, 64


def ask(address: str, path: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0) -> Any:
    """The JSON at a path (None where the answer is empty).

    Raises OSError (NoAnswerError for what does not speak HTTP), or ValueError with the server's words.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        reply = connection.getresponse()
        body = reply.read()
    except http.client.HTTPException as error:
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
            raise no_answer(str(error).encode("latin-1")) from error
        raise ConnectionError(f"{address} does not speak HTTP: {type(error).__name__} {error}") from error
    finally:
        connection.close()
    if reply.status != 200:
        raise ValueError(f"status {reply.status}: {words(body)}")
    try:
        return _kept(json.loads(body)) if body else None
    except (ValueError, RecursionError):
        raise ValueError(f"no JSON, {' '.join(words(body)[:_SHOWN].split())}") from None


def _kept(found: Any, depth: int = 0) -> Any:
    """The same, so that it can be written again: half of a character becomes `?`, what is no number null.

    Raises ValueError for what is nested deeper than anything that Triton says.
    """
    if depth > _DEEPEST:
        raise ValueError
    if isinstance(found, dict):
        return {text(name): _kept(value, depth + 1) for name, value in found.items()}
    if isinstance(found, list):
        return [_kept(value, depth + 1) for value in found]
    if isinstance(found, str):
        return text(found)
    return None if isinstance(found, float) and not math.isfinite(found) else found


def text(found: str) -> str:
    """Without halves of characters, which JSON can hold and no file."""
    return found.encode(errors="replace").decode()


def words(body: bytes) -> str:
    """What the server says in an error's body, at most 500 characters."""
    said = body.decode(errors="replace").strip()
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        said = text(str(json.loads(said)["error"]))
    return said[:500]
