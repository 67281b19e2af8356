"""Server texts and statuses to codes and sentences, the same for both protocols."""

from __future__ import annotations

import pytest

from tritonkit.client.errors import ItemError, clean, did_you_mean, of_grpc, of_http

TRACE = "\n\nAt:\n  /models/digits/1/model.py(17): decode\n  /models/digits/1/model.py(12): execute\n"
SHAPE = "unexpected shape for input 'x' for model 'm'. Expected [-1,4], got [1,5]."


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("cannot decode item 0", "cannot decode item 0"),
        ("[StatusCode.INVALID_ARGUMENT] cannot decode", "cannot decode"),
        ("[400] cannot decode", "cannot decode"),
        ("in ensemble 'digits', cannot decode", "cannot decode"),
        ("in ensemble 'outer', in ensemble 'digits', cannot decode", "cannot decode"),
        (
            "in ensemble 'digits', Failed to process the request(s) for model 'digits_preprocess_0_1', "
            "message: TritonModelException: no such image" + TRACE,
            "no such image",
        ),
        (f"Failed to process the request(s) for model 'a_0', message: KeyError: 'x'{TRACE}", "KeyError: 'x'"),
        (f"[request id: <id_unknown>] {SHAPE} NOTE: Setting a non-zero max_batch_size in the model ...", SHAPE),
        (
            "in ensemble 'digits', Stub process 'digits_engine_0_0' is not healthy.",
            "the Python process 'digits_engine_0_0' of the server has ended or hangs: the server has to be restarted",
        ),
        ("two\n lines", "two lines"),
        ("in ensemble 'digits', ", "the server gave no reason"),
        ("", "the server gave no reason"),
        ("the model 'in ensemble 'x', y' stays", "the model 'in ensemble 'x', y' stays"),
    ],
)
def test_clean_leaves_the_sentence(raw: str, sentence: str) -> None:
    assert clean(raw) == sentence


@pytest.mark.parametrize(
    ("grpc", "http", "code"),
    [
        ("INVALID_ARGUMENT", "400", "invalid_argument"),
        ("UNKNOWN", "400", "invalid_argument"),
        ("ALREADY_EXISTS", "400", "invalid_argument"),
        ("NOT_FOUND", "404", "not_found"),
        ("UNAVAILABLE", "503", "unavailable"),
        ("INTERNAL", "500", "internal"),
        ("UNIMPLEMENTED", "501", "unimplemented"),
        ("CANCELLED", "499", "cancelled"),
        ("DEADLINE_EXCEEDED", "504", "deadline_exceeded"),
        ("RESOURCE_EXHAUSTED", "413", "resource_exhausted"),
        ("PERMISSION_DENIED", "403", "permission_denied"),
    ],
)
def test_the_same_fault_is_the_same_error_by_both_protocols(grpc: str, http: str, code: str) -> None:
    raw = "in ensemble 'digits', something is wrong"
    ours = of_grpc(f"StatusCode.{grpc}", raw, 2.5), of_http(http, raw, None, 2.5)
    assert ours[0] == ours[1]
    assert ours[0].code == code
    assert ours[0].raw == ours[1].raw == raw
    expected = "no answer within 2.5 s" if code == "deadline_exceeded" else "something is wrong"
    assert ours[0].message == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to "
            "remote host: Connection refused",
            "connection refused",
        ),
        ("Stream removed (Socket closed)", "the connection was lost"),
        ("recvmsg:Connection reset by peer", "the connection was lost"),
        ("DNS resolution failed for nowhere:8001: C-ares status is not ARES_SUCCESS", "no such host"),
    ],
)
def test_a_lost_connection_is_not_a_refusal_of_the_server(raw: str, reason: str) -> None:
    error = of_grpc("StatusCode.UNAVAILABLE", raw, 1.0)
    assert (error.code, error.message) == ("unreachable", f"the server cannot be reached: {reason}")


def test_what_the_server_itself_refuses_is_unavailable() -> None:
    assert of_grpc("StatusCode.UNAVAILABLE", "Exceeds maximum queue size", 1.0).code == "unavailable"


def test_an_answer_that_is_not_tritons_says_so() -> None:
    error = of_http("502", "an exception occurred ...", "<html><h1>Bad Gateway</h1></html>", 1.0)
    assert error == ItemError("unavailable", "HTTP status 502, not from Triton: Bad Gateway")


def test_a_page_that_is_missing_is_no_missing_model() -> None:
    error = of_http("404", "an exception occurred ...", "<h1>Not Found</h1>", 1.0)
    assert error == ItemError("bad_answer", "HTTP status 404, not from Triton: Not Found")


def test_did_you_mean() -> None:
    assert did_you_mean("digit", ["digits", "faces"]) == "; did you mean 'digits'?"
    assert did_you_mean("zebra", ["digits", "faces"]) == ""


def test_what_needs_a_key_is_no_matter_of_time() -> None:
    words = "This protocol is restricted, expecting header 'triton-grpc-protocol-tritonkit-key'"
    assert of_grpc("StatusCode.UNAVAILABLE", words, 1.0).code == "permission_denied"
