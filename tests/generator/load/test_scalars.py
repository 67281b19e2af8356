from __future__ import annotations

import math

import pytest

from generator.load.scalars import NumberRefusedError, Scalar, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        *((word, word) for word in ("yes", "no", "on", "off", "Yes", "NO", "y", "n")),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0xg", "0xg"),
        ("-0x1F", "-0x1F"),
        ("0b101", "0b101"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T00:00:00Z", "2024-01-31T00:00:00Z"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e-3", 0.001),
        ("1e6", 1e6),
        ("1E+6", 1e6),
        ("1.5e3", 1500.0),
        ("01.5", 1.5),
        ("1e", "1e"),
        (".", "."),
        ("-", "-"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
        (".inf", math.inf),
        ("+.inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("1 2", "1 2"),
        ("١٢", "١٢"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_plain_scalar(text: str, value: Scalar) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_nan() -> None:
    value = resolve(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("017", "`017` starts with a zero", "write 17 for the number"),
        ("-08", "`-08` starts with a zero", "write -8 for the number"),
        ("0o17", "`0o17` is octal", "write 15 for the number"),
        ("18446744073709551616", "does not fit 64 bits", "quote it"),
        ("-9223372036854775809", "does not fit 64 bits", "quote it"),
        ("9" * 100_000, "does not fit 64 bits", "quote it"),
        ("0x" + "f" * 17, "does not fit 64 bits", "quote it"),
        ("1e400", "too large", "quote it"),
        ("-1e400", "too large", "quote it"),
    ],
)
def test_refused_number(text: str, message: str, hint: str) -> None:
    with pytest.raises(NumberRefusedError) as refused:
        resolve(text)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert len(refused.value.message) < 120
