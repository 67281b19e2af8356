"""Texts that parsers of the text format disagree on, and what the server says of each: seen on 24.10."""

from __future__ import annotations

ACCEPTED, REFUSED = True, False

_TEXT = "parameters {{ key: 'a' value {{ string_value: {} }} }}"
_REAL = "sequence_batching {{ direct {{ minimum_slot_utilization: {} }} }}"
_DELAY = "dynamic_batching {{ max_queue_delay_microseconds: {} }}"

# text → what the server says, what Python's text_format says
SPELLINGS: dict[str, tuple[bool, bool]] = {
    "": (ACCEPTED, ACCEPTED),
    " # only a comment": (ACCEPTED, ACCEPTED),
    "# a carriage return ends no comment\rname = 4": (ACCEPTED, ACCEPTED),
    "name:'a'backend:'b'": (ACCEPTED, ACCEPTED),
    "name\v\f\r: 'm'": (ACCEPTED, ACCEPTED),
    # What counts as given: default values of scalars do not, but those in a map's entry do.
    "max_batch_size: 0 max_batch_size: 4": (ACCEPTED, ACCEPTED),
    "max_batch_size: 4 max_batch_size: 0": (REFUSED, REFUSED),
    "name: '' name: 'm'": (ACCEPTED, ACCEPTED),
    "dynamic_batching {} dynamic_batching {}": (REFUSED, REFUSED),
    "dynamic_batching {} sequence_batching {}": (REFUSED, REFUSED),
    "model_warmup { inputs { value { zero_data: false zero_data: false } } }": (REFUSED, REFUSED),
    "metric_tags { key: '' key: 'a' }": (REFUSED, ACCEPTED),
    "metric_tags { key: 'a' value: '' value: 'b' }": (REFUSED, ACCEPTED),
    "metric_tags { key: 'a' } metric_tags { key: 'a' value: 'b' }": (ACCEPTED, ACCEPTED),
    "metric_tags {} metric_tags []": (ACCEPTED, ACCEPTED),
    _REAL.format("-0.0 minimum_slot_utilization: 1"): (REFUSED, REFUSED),
    # Separators and brackets.
    "input []": (ACCEPTED, ACCEPTED),
    "input: [ <>, {} ]": (ACCEPTED, ACCEPTED),
    "input { dims: [] }": (ACCEPTED, ACCEPTED),
    "input { dims: [1,] }": (REFUSED, REFUSED),
    "input { dims [1] }": (REFUSED, REFUSED),
    "input { dims: [[1]] }": (REFUSED, REFUSED),
    "input [{} {}]": (REFUSED, REFUSED),
    "input { >": (REFUSED, REFUSED),
    "input {},;": (REFUSED, REFUSED),
    "[a.b]: 1": (REFUSED, REFUSED),
    "[type.googleapis.com/a.B] {}": (REFUSED, REFUSED),
    "1: 'm'": (REFUSED, REFUSED),
    "Name: 'm'": (REFUSED, REFUSED),
    "name: 'm' // comment": (REFUSED, REFUSED),
    "x{" * 3000 + "}" * 3000: (REFUSED, REFUSED),
    # Whole numbers.
    "max_batch_size: 010": (ACCEPTED, ACCEPTED),
    "max_batch_size: 08": (REFUSED, REFUSED),
    "max_batch_size: 0X1F": (ACCEPTED, ACCEPTED),
    "max_batch_size: - 5": (ACCEPTED, REFUSED),
    "max_batch_size: -\n# why\n5": (ACCEPTED, REFUSED),
    "max_batch_size: +5": (REFUSED, ACCEPTED),
    "max_batch_size: 1_0": (REFUSED, ACCEPTED),
    "max_batch_size: 0b1": (REFUSED, ACCEPTED),
    "max_batch_size: 0o7": (REFUSED, ACCEPTED),
    "max_batch_size: 4f": (REFUSED, REFUSED),
    "max_batch_size: 4name: 'x'": (REFUSED, REFUSED),
    "max_batch_size: " + "0" * 30 + "1": (ACCEPTED, ACCEPTED),
    "max_batch_size: 2147483648": (REFUSED, REFUSED),
    "max_batch_size: -2147483648": (ACCEPTED, ACCEPTED),
    "max_batch_size: -2147483649": (REFUSED, REFUSED),
    _DELAY.format("18446744073709551615"): (ACCEPTED, ACCEPTED),
    _DELAY.format("18446744073709551616"): (REFUSED, REFUSED),
    _DELAY.format("01777777777777777777777"): (ACCEPTED, ACCEPTED),
    _DELAY.format("-0"): (REFUSED, ACCEPTED),
    # Enums and booleans.
    "input { data_type: 99 }": (ACCEPTED, ACCEPTED),
    "input { data_type: 05 }": (ACCEPTED, REFUSED),
    "input { data_type: 'TYPE_FP32' }": (REFUSED, REFUSED),
    "input { data_type: 2147483648 }": (REFUSED, REFUSED),
    "input { optional: True is_shape_tensor: f }": (ACCEPTED, ACCEPTED),
    "input { optional: 0x1 }": (ACCEPTED, REFUSED),
    "input { optional: 01 }": (ACCEPTED, REFUSED),
    "input { optional: 2 }": (REFUSED, REFUSED),
    "input { optional: TRUE }": (REFUSED, REFUSED),
    # Other numbers.
    **{_REAL.format(number): (ACCEPTED, ACCEPTED) for number in (
        "1.", ".5", "1E+3", "1.5f", "1F", "INF", "-Infinity", "-nan", "1e40", "1e400", "9" * 25, "0f", "0e5", "1.f")},
    **{_REAL.format(number): (REFUSED, REFUSED) for number in ("1e", "0x10", "010", "00", "1.5.2", "..5", "'1'", ".e5")},
    **{_REAL.format(number): (REFUSED, ACCEPTED) for number in ("inff", "nanf", "+1", "1_0", "1ff")},
    _REAL.format("- inf"): (ACCEPTED, REFUSED),
    # Texts.
    _TEXT.format("'a' # and\n \"b\"'c'"): (ACCEPTED, ACCEPTED),
    _TEXT.format(r"'\a\b\f\n\r\t\v\\\?\'\" \1\12\123\0 \x4\x41 \u00e9 \U0001F600'"): (ACCEPTED, ACCEPTED),
    _TEXT.format("'a\tb\rc\x01\x7fé'"): (ACCEPTED, ACCEPTED),
    _TEXT.format(r"'\400'"): (ACCEPTED, REFUSED),
    _TEXT.format(r"'\U0011FFFF'"): (ACCEPTED, REFUSED),
    _TEXT.format(r"'\ud83d\ude00'"): (ACCEPTED, REFUSED),
    _TEXT.format(r"'\U00200000'"): (REFUSED, REFUSED),
    _TEXT.format(r"'\u41'"): (REFUSED, REFUSED),
    _TEXT.format(r"'\x'"): (REFUSED, REFUSED),
    _TEXT.format(r"'\X41'"): (REFUSED, ACCEPTED),
    _TEXT.format(r"'\q'"): (REFUSED, ACCEPTED),
    _TEXT.format(r"'\8'"): (REFUSED, ACCEPTED),
    _TEXT.format(r"'\N{SPACE}'"): (REFUSED, ACCEPTED),
    _TEXT.format("'a\nb'"): (REFUSED, REFUSED),
    _TEXT.format("'a\\\nb'"): (REFUSED, REFUSED),
    _TEXT.format("'a"): (REFUSED, REFUSED),
    _TEXT.format("a"): (REFUSED, REFUSED),
    # Characters.
    "\ufeffname: 'm'": (REFUSED, REFUSED),
    "name\u00a0: 'm'": (REFUSED, ACCEPTED),
    "name\x1c: 'm'": (REFUSED, ACCEPTED),
    "name: 'm'\0": (REFUSED, REFUSED),
    "# \0": (REFUSED, ACCEPTED),
    "name: '\0'": (REFUSED, ACCEPTED),
}  # fmt: skip

# What the server makes of texts: seen in the configuration that it reports.
TEXTS = {
    r"'\?\'\"\\'": "?'\"\\",
    r"'\1234\x414\0'": "S4A4\0",
    r"'\400\501'": "\0A",
    r"'\U0011FFFF'": "\\U0011ffff",
    r"'\ud83d\ude00'": "😀",
    r"'\U0000d83d\ude00'": "😀",
    r"'\303' '\251'": "é",
    "'\t\r\x01é'": "\t\r\x01é",
    "'a' # and\n \"b\"'c'": "abc",
}
# Bytes that are not UTF-8. The server's parser takes them, and what it then reports is cut off at the first.
NOT_UTF8 = {
    r"'\377'": "",
    r"'\777'": "",
    r"'\ud83d'": "",
    r"'\ud83d\U0000de00'": "",
    r"'a' '\xc3' 'b'": "a",
}
