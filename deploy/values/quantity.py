"""Kubernetes' quantities of memory."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:[eE](\d+)|(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)")
_POWERS = {"k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def bytes_of(quantity: Any) -> int | None:
    """`4Gi`, `500M`, `1e9` or a number in bytes, rounded up; None for anything else."""
    if isinstance(quantity, bool) or not isinstance(quantity, int | float | str):
        return None
    found = _QUANTITY.fullmatch(str(quantity).strip())
    if found is None:
        return None
    number, exponent, unit = found.groups()
    factor = Decimal(1)
    if exponent:
        factor = Decimal(10) ** int(exponent)
    elif unit == "m":
        factor = Decimal(1) / 1000
    elif unit:
        factor = Decimal(1024 if unit.endswith("i") else 1000) ** _POWERS[unit.removesuffix("i").replace("K", "k")]
    return math.ceil(Decimal(number) * factor)
