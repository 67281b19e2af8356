"""Numbers as people read them."""

from __future__ import annotations

_SIGNIFICANT = 4


def shown(value: float) -> str:
    """With up to four digits that count and never in powers of ten: 0.0123, 4.2, 12,345."""
    if abs(value) >= 10 ** (_SIGNIFICANT - 1):
        return f"{value:,.0f}"
    text = f"{value:.{_SIGNIFICANT}g}"
    return f"{value:.9f}".rstrip("0").rstrip(".") if "e" in text else text
