"""Each mistake: its code, its place, what is said, and that nothing else is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.pbtxt.codes import CODES
from generator.pbtxt.complaints import MAX_PROBLEMS
from generator.pbtxt.reader import read
from generator.pbtxt.tokens import Source
from generator.problems import Severity

WHOLE = "a whole number from -2147483648 to 2147483647"
LONG = "a whole number from -9223372036854775808 to 9223372036854775807"

# text → code, line:column, field, what is said (its start), the hint
ONE = [
    # Unknown fields
    ("max_batchsize: 4", "TK511", "1:1", "max_batchsize", "ModelConfig has no field `max_batchsize`", "did you mean `max_batch_size`?"),
    ("max-batch-size: 4", "TK511", "1:1", "max-batch-size", "ModelConfig has no field `max-batch-size`", "did you mean `max_batch_size`?"),
    ("Name: 'm'", "TK511", "1:1", "Name", "ModelConfig has no field `Name`", "did you mean `name`?"),
    ("input [\n  { nmae: 'x' }\n]", "TK511", "2:5", "input[0].nmae", "ModelInput has no field `nmae`", "did you mean `name`?"),
    ("input { colour: 1 }", "TK511", "1:9", "input[0].colour", "ModelInput has no field `colour`; valid: `name`, `data_type`, `format`", "remove it"),
    ("preferred_batch_size: [4]", "TK511", "1:1", "preferred_batch_size", "ModelConfig has no field `preferred_batch_size`", "it is a field of `dynamic_batching`, `sequence_batching.oldest`"),
    ("input { max_batch_size: 4 }", "TK511", "1:9", "input[0].max_batch_size", "ModelInput has no field `max_batch_size`", "it is a field of the whole configuration: move it out of this block"),
    ("foo { bar { name: [ 1, {a: 2}] } x: 'y' }", "TK511", "1:1", "foo", "ModelConfig has no field `foo`; valid: `name`, ", "remove it"),
    ("name: 'm' garbage backend: 'python'", "TK511", "1:11", "garbage", "ModelConfig has no field `garbage`", "remove it"),
    # Given twice, and both of two that exclude each other
    ("max_batch_size: 4\nmax_batch_size: 8", "TK512", "2:1", "max_batch_size", "`max_batch_size` takes one value, and is given already: it stands in line 1", "keep one of the two"),
    ("dynamic_batching {}\n\ndynamic_batching { }", "TK512", "3:1", "dynamic_batching", "`dynamic_batching` takes one value", "keep one of the two"),
    ("metric_tags { key: '' key: '' }", "TK512", "1:23", "metric_tags[].key", "`key` takes one value", "keep one of the two"),
    ("dynamic_batching { }\nsequence_batching { }", "TK513", "2:1", "sequence_batching", "`sequence_batching` and `dynamic_batching` (line 1) exclude each other; valid: one of `sequence_batching`, `dynamic_batching`, `ensemble_scheduling`", "keep one of the two"),
    ("version_policy: { latest { } all { } }", "TK513", "1:30", "version_policy.all", "`all` and `latest` (line 1) exclude each other", "keep one of the two"),
    # Wrong types
    ("name: my-model/v1", "TK514", "1:7", "name", "found the word `my-model/v1`; valid: text in quotes", 'write "my-model/v1"'),
    ("name: m\"\nbackend: 'x'", "TK514", "1:7", "name", "found the word `m`; valid: text in quotes", 'write "m"'),
    ("name: 4", "TK514", "1:7", "name", "found the number `4`; valid: text in quotes", 'write "4"'),
    ("name: [ 'a' ]", "TK514", "1:7", "name", "found a list (`[`); valid: text in quotes", ""),
    ("name { backend: 'x' }", "TK514", "1:6", "name", "found a block (`{`); valid: text in quotes", ""),
    ("max_batch_size: '4'", "TK514", "1:17", "max_batch_size", f"found the text `'4'`; valid: {WHOLE}", "write 4 without quotes"),
    ("max_batch_size: four", "TK514", "1:17", "max_batch_size", f"found the word `four`; valid: {WHOLE}", ""),
    ("max_batch_size: -4.0", "TK514", "1:17", "max_batch_size", f"found the number `-4.0`; valid: {WHOLE}", "write -4"),
    ("max_batch_size: 4.5", "TK514", "1:17", "max_batch_size", f"found the number `4.5`; valid: {WHOLE}", ""),
    ("max_batch_size: +4", "TK514", "1:17", "max_batch_size", f"found the number `+4`; valid: {WHOLE}", "write it without `+`"),
    ("max_batch_size: 08", "TK514", "1:17", "max_batch_size", f"found the number `08`; valid: {WHOLE}", "a number that begins with 0 is octal: write 8"),
    ("max_batch_size: 1_000", "TK514", "1:17", "max_batch_size", f"found the number `1_000`; valid: {WHOLE}", "write 1000"),
    ("max_batch_size: 4name: 'x'", "TK514", "1:17", "max_batch_size", f"found the number `4name`; valid: {WHOLE}", ""),
    ("max_batch_size: [4]", "TK514", "1:17", "max_batch_size", f"found a list (`[`); valid: {WHOLE}", "`max_batch_size` takes one value"),
    ("input { optional: yes }", "TK514", "1:19", "input[0].optional", "found the word `yes`; valid: `true` or `false`", "did you mean `true`?"),
    ("input { optional: 'true' }", "TK514", "1:19", "input[0].optional", "found the text `'true'`; valid: `true` or `false`", "write true without quotes"),
    ("input { dims: [ 1, x, 3 ] }", "TK514", "1:20", "input[0].dims[1]", f"found the word `x`; valid: {LONG}", ""),
    ("sequence_batching { direct { minimum_slot_utilization: 0x10 } }", "TK514", "1:56", "sequence_batching.direct.minimum_slot_utilization", "found the number `0x10`; valid: a number", ""),
    ("dynamic_batching: 4", "TK514", "1:19", "dynamic_batching", "found the number `4`; valid: a block: `{ … }`", "write `dynamic_batching { … }`"),
    ("dynamic_batching [ { } ]", "TK514", "1:18", "dynamic_batching", "found a list (`[`); valid: a block: `{ … }`", "write `dynamic_batching { … }`"),
    ("parameters { key: 'a' value: 'b' }", "TK514", "1:30", "parameters[a].value", "found the text `'b'`; valid: a block: `{ … }`", "write `value { … }`"),
    ("parameters { key: 'a' value { string_value: 4 } }", "TK514", "1:45", "parameters[a].value.string_value", "found the number `4`; valid: text in quotes", 'write "4"'),
    # Choices and ranges
    ("input { data_type: FP32 }", "TK515", "1:20", "input[0].data_type", "found the word `FP32`, which is no value of `data_type`", "did you mean `TYPE_FP32`?"),
    ("input { format: nhwc }", "TK515", "1:17", "input[0].format", "found the word `nhwc`; valid: `FORMAT_NONE`, `FORMAT_NHWC`, `FORMAT_NCHW`", "did you mean `FORMAT_NHWC`?"),
    ("input { data_type: 'TYPE_FP32' }", "TK514", "1:20", "input[0].data_type", "found the text `'TYPE_FP32'`, which is no value of `data_type`", "write TYPE_FP32 without quotes"),
    ("max_batch_size: 4294967296", "TK516", "1:17", "max_batch_size", "`4294967296` is out of range; valid: from -2147483648 to 2147483647", ""),
    ("max_batch_size: -2147483649", "TK516", "1:17", "max_batch_size", "`-2147483649` is out of range", ""),
    ("dynamic_batching { max_queue_delay_microseconds: -1 }", "TK516", "1:50", "dynamic_batching.max_queue_delay_microseconds", "`-1` is out of range; valid: from 0 to 18446744073709551615", ""),
    ("optimization { gather_kernel_buffer_threshold: 0x100000000 }", "TK516", "1:48", "optimization.gather_kernel_buffer_threshold", "`0x100000000` is out of range; valid: from 0 to 4294967295", ""),
    # Texts
    ('name: "m\nbackend: "python"', "TK517", "1:7", "name", 'the text `"m` has no closing quote in its line', 'add `"` at its end'),
    ("input { name: 'm }\nbackend: 'python'", "TK517", "1:15", "input[0].name", "the text `'m }` has no closing quote in its line", "add `'` at its end"),
    ("name: 'a\0b'\nbackend: 'x'", "TK517", "1:7", "name", "the text `'a` is cut off by a NUL character", "remove it, or write it as `\\0`"),
    (r"name: 'C:\models'", "TK518", "1:10", "name", r"`\m` is no escape; valid: `\n`, ", r"write `\\` for a backslash"),
    (r"name: 'a' '\u41'", "TK518", "1:12", "name", r"`\u` is no escape; valid: `\n`, ", "give all of its digits"),
    (r"name: '\377'", "TK519", "1:7", "name", "the bytes of this text are not UTF-8: the server cuts it off", "write it in UTF-8"),
    # Brackets
    ("instance_group { kind: KIND_CPU\n", "TK510", "1:16", "instance_group", "the `{` of `instance_group` is not closed", "add `}`"),
    ("input { dims: [ 1, 2 }", "TK510", "1:22", "input[0].dims", "found `}`; the `[` of `dims` in line 1 is not closed", "add `]` before it"),
    ("input { dims: [ 1, 2\n  name: 'x' }", "TK510", "2:3", "input[0].dims", "the `[` of `dims` in line 1 is not closed before `name`", "add `]` before it"),
    ("dynamic_batching {\n  preferred_batch_size: 4\nname: 'x'", "TK510", "3:1", "dynamic_batching", "the `{` of `dynamic_batching` in line 1 is not closed before `name`", "add `}` before it"),
    ("input [\n  {\n    dims: [ 1 ]\n]\noutput [ { name: 'y' } ]", "TK510", "4:1", "input", "found `]`; the `{` of `input` in line 2 is not closed", "add `}` before it"),
    ("input { name: 'x' >\nbackend: 'x'", "TK510", "1:19", "input", "found `>`; the `{` of `input` in line 1 is not closed", "write `}`"),
    ("dynamic_batching\n  preferred_batch_size: 4\n}\nname: 'x'", "TK510", "2:3", "dynamic_batching", "there is no `{` before the fields of `dynamic_batching`", "add `{`"),
    ("input { name: 'x' } }\nname: 'x'", "TK510", "1:21", "", "`}` closes nothing", "remove it, or open it above"),
    # All else
    ("name = 'm'", "TK501", "1:6", "name", "found `=`; valid: `:`", "write `name: …`"),
    ("input = { name: 'x' }", "TK501", "1:7", "input[0]", "found `=`; valid: `{`", "write `input { … }`"),
    ("name 'm'", "TK501", "1:6", "name", "there is no `:` behind `name`", "write `name: …`"),
    ("name:\nbackend: 'x'", "TK501", "1:1", "name", "`name` has no value; valid: text in quotes", ""),
    ("input", "TK501", "1:1", "input[0]", "`input` has no value; valid: a block: `{ … }`", ""),
    ("max_batch_size: = 4", "TK501", "1:17", "max_batch_size", f"found `=`; valid: {WHOLE}", ""),
    ("'name': 'm'", "TK501", "1:1", "", "found the text `'name'`; valid: the name of a field", "write `name` without quotes"),
    ("1: 2", "TK501", "1:1", "", "found the number `1`; valid: the name of a field", ""),
    ("{ name: 'x' }", "TK501", "1:1", "", "found a block (`{`); valid: the name of a field", ""),
    ("name: 'm', ; backend: 'x'", "TK501", "1:12", "", "found `;` with nothing before it", "remove it"),
    ("input { dims: [ 1 2 ] }", "TK501", "1:19", "input[0].dims[1]", "there is no `,` before the number `2`", "add `,`"),
    ("input { dims: [ 1; 2 ] }", "TK501", "1:18", "input[0].dims[1]", "found `;`; valid in a list: `,` or `]`", ""),
    ("input { dims: [ 1, ] }", "TK501", "1:18", "input[0].dims[1]", "found `,` before `]`; valid: only between two values", "remove it"),
    ("input { dims: [ 1, name: 'x' ] }", "TK501", "1:20", "input[0].dims[1]", "found the word `name`; valid: a whole number", ""),
    ("input [ name: 'x' ]", "TK510", "1:9", "input[0]", "there is no `{` before the fields of `input`", "add `{`"),
    ("[a.b]: 1", "TK501", "1:1", "", "a name in brackets is an extension, and ModelConfig has none", "write the name of a field, or remove it"),
    ("[type.googleapis.com/a.B] { name: 1 }", "TK501", "1:1", "", "a name in brackets is an extension", "write the name of a field, or remove it"),
    ("// name: 4\nname: 'x'", "TK501", "1:1", "", "`//` begins no comment here", "begin it with `#`"),
    ("\ufeffname: 'x'", "TK501", "1:1", "", "the file begins with a byte order mark", "save it as UTF-8 without one"),
    ("name: “x”\nbackend: 'x'", "TK501", "1:7", "", "found the character U+201C (left double quotation mark)", 'write plain quotes: "'),
    ("name\u00a0: 'x'", "TK501", "1:5", "", "found the character U+00A0 (no-break space)", "remove it"),
    ("# a\0 comment: 4\nname: 'x'", "TK501", "1:4", "", "found the character U+0000", "remove it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "at", "field", "message", "hint"), ONE)
def test_one_mistake_is_one_problem(text: str, code: str, at: str, field: str, message: str, hint: str) -> None:
    found = read(text, "config.pbtxt")
    assert found.message is None
    [problem] = found.problems
    assert (problem.code, str(problem.place)) == (code, f"config.pbtxt:{at}")
    assert (problem.field, problem.hint) == (field, hint)
    assert problem.message.startswith(message)


def codes_of(text: str) -> list[tuple[str, str]]:
    return [(problem.code, str(problem.place)) for problem in read(text, "f").problems]


def test_all_mistakes_of_a_file_are_told() -> None:
    text = """name: resnet
max_batchsize: 8
input [
  {
    name: "x"
    data_type: TYPE_FLOAT32
    dims: [ 3, "224" 224 ]
  },
  { name: "y", dims: [ -1, 99999999999999999999 ] nmae: "z" }
]
dynamic_batching { preferred_batch_size: 4.0 }
sequence_batching { }
instance_group { kind: KIND_GPU count: two }
instance_group { count: 1 count: 2
"""
    assert codes_of(text) == [
        ("TK514", "f:1:7"), ("TK511", "f:2:1"), ("TK515", "f:6:16"), ("TK514", "f:7:16"), ("TK501", "f:7:22"),
        ("TK516", "f:9:28"), ("TK511", "f:9:51"), ("TK514", "f:11:42"), ("TK513", "f:12:1"), ("TK514", "f:13:40"),
        ("TK512", "f:14:27"), ("TK510", "f:14:16"),
    ]  # fmt: skip


def test_brackets_that_are_missing_do_not_hide_what_follows() -> None:
    # The bracket around the open one is told with it: both lack their ends at the same place.
    found = codes_of("input [ {\n name: 'x'\noutput [ { nam: 'y' } ]\nbackend: 4")
    assert found == [("TK510", "f:3:1"), ("TK511", "f:3:12"), ("TK514", "f:4:10")]
    assert codes_of("foo { bar {\n} \nname: 4") == [("TK511", "f:1:1"), ("TK510", "f:1:5"), ("TK514", "f:3:7")]


def test_a_key_that_is_given_twice_is_a_warning() -> None:
    found = read("metric_tags [ { key: 'a' value: 'x' },\n { key: 'a' value: 'y' } ]", "f")
    [problem] = found.problems
    assert (problem.code, problem.severity, str(problem.place)) == ("TK520", Severity.WARNING, "f:2:9")
    assert problem.field == "metric_tags[a]"
    assert found.message is not None
    assert dict(found.message.metric_tags) == {"a": "y"}


@pytest.mark.parametrize(("piece", "accepted"), [("x: 1\n", False), ("metric_tags { key: 'a' }\n", True)])
def test_no_more_problems_than_anybody_reads(piece: str, accepted: bool) -> None:
    found = read(piece * 3000, "f")
    assert len(found.problems) == MAX_PROBLEMS + 1
    assert (found.problems[-1].code, found.problems[-1].severity) == ("TK521", Severity.NOTE)
    assert (found.message is not None) == accepted
    assert read(piece * 3000 + "=", "f").message is None


def test_every_code_is_reached() -> None:
    reached = {code for _, code, *_ in ONE} | {"TK520", "TK521"}
    assert set(CODES) <= reached


CONFIGS = sorted((Path(__file__).parents[1] / "render" / "golden").glob("*/*/*/config.pbtxt"))


@pytest.mark.parametrize("doubled", [False, True])
def test_a_token_that_is_missing_or_doubled_is_one_problem(doubled: bool) -> None:
    """Of every token of rendered configurations, one at a time: nearly always one problem, never more than three."""
    counts: list[int] = []
    for file in CONFIGS:
        source = Source(file.read_bytes(), "")
        for offset, token in zip(source.offsets, source.tokens, strict=True):
            put = f"{token} {token} " if doubled else " "
            text = source.text[:offset] + put + source.text[offset + len(token) :]
            counts.append(len(read(text, "").problems))
    assert len(CONFIGS) > 10
    assert max(counts) <= 3
    assert sum(count > 1 for count in counts) / len(counts) < 0.1
