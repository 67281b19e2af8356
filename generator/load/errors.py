"""What a validator of a spec's model raises when it knows more than "this value is wrong"."""

from __future__ import annotations

from collections.abc import Iterable

from generator.load import codes

PathKey = str | int


class FieldError(ValueError):
    """A sentence about one field, with its own code and hint.

    `path` is relative to what the validator checks: in a model's validator `("batching", "preferred", 1)`
    points at a sub-field. `at_key` points at the key instead of its value.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        path: Iterable[PathKey] = (),
        *,
        at_key: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.path: tuple[PathKey, ...] = tuple(path)
        self.at_key = at_key


class FieldsError(ValueError):
    """Several `FieldError`s of one validator, so that none of them hides another."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors: tuple[FieldError, ...] = tuple(errors)
        super().__init__("; ".join(e.message for e in self.errors))


def broken_rule(error: ValueError | AssertionError) -> tuple[FieldError, ...]:
    """Whatever a validator raised, as field errors; a plain ValueError keeps its own sentence."""
    if isinstance(error, FieldsError):
        return error.errors
    if isinstance(error, FieldError):
        return (error,)
    return (FieldError(codes.BROKEN_RULE, str(error) or "the value breaks a rule of this field"),)
