"""One mistake each: its code, its place, its field, what is said and how to mend it."""

from __future__ import annotations

import pytest

from validated_models import problems_of

TABLE: list[tuple[str, str, str, str, str, str]] = [
    # unknown and missing fields
    ("nmae: x", "TK121", "1:1", "nmae", "unknown field `nmae`; fields here: `name`, ", "did you mean `name`?"),
    ("a: 1", "TK121", "1:1", "a", "unknown field `a`; fields here", "remove it"),
    (
        "batching: {queue: {maxSize: 1}}",
        "TK121",
        "1:20",
        "batching.queue.maxSize",
        "unknown field `maxSize`; fields of `batching.queue`: `max_size`, `timeout_us`",
        "did you mean `max_size`?",
    ),
    (
        "batching: {max-batch-size: 1}",
        "TK121",
        "1:12",
        "batching.max-batch-size",
        "",
        "did you mean `max_batch_size`?",
    ),
    ("ab c: 1", "TK121", "1:1", '["ab c"]', "unknown field `ab c`", "remove it"),
    ("x" * 200 + ": 1", "TK121", "1:1", "x" * 200, "unknown field `" + "x" * 59 + "…`; ", "remove it"),
    ("name: x\nmodel: {}", "TK122", "2:8", "model.onnx", "the field `onnx` is missing; valid: text", "add `onnx`"),
    ("models:\n  a:\n    short: b", "TK122", "3:5", "models.a.onnx", "the field `onnx` is missing", "add `onnx`"),
    ("steps:\n- decode: {}", "TK122", "2:11", "steps[0].decode.to", "; valid: `gray`, `rgb`", "add `to`"),
    # types
    (
        "server: 24.10",
        "TK123",
        "1:9",
        "server",
        "found the number `24.10`; valid: text",
        'quote it: `server: "24.10"`; unquoted, 24.10 is the number 24.1',
    ),
    ("server: 24", "TK123", "1:9", "server", "found the number `24`; valid: text", 'quote it: `server: "24"`'),
    ("server: True", "TK123", "1:9", "server", "found `true`; valid: text", 'quote it: `server: "True"`'),
    ("server:", "TK123", "1:8", "server", "found nothing; valid: text", "write a value, or remove the line"),
    ("server: ~", "TK123", "1:9", "server", "found `~`; valid: text", "write a value, or remove the line"),
    ("server: [a]", "TK123", "1:9", "server", "found a list of 1 item; valid: text", ""),
    ("server: {a: 1, b: 2}", "TK123", "1:9", "server", "found a mapping with `a`, `b`; valid: text", ""),
    ("path: 3", "TK123", "1:7", "path", "found the number `3`; valid: text", 'quote it: `path: "3"`'),
    ("count: '8'", "TK123", "1:8", "count", "found the text `8`; valid: a whole number", "write `count: 8`"),
    ("count: 1_000", "TK123", "1:8", "count", "found the text `1_000`; valid: a whole", "write `count: 1000`"),
    ("count: 1e6", "TK123", "1:8", "count", "found the number `1e6`; valid: a whole", "write `count: 1000000`"),
    ("count: 1.5", "TK123", "1:8", "count", "found the number `1.5`; valid: a whole number", ""),
    ("count: true", "TK123", "1:8", "count", "found `true`; valid: a whole number", ""),
    ("count: ''", "TK123", "1:8", "count", "found empty text; valid: a whole number", ""),
    ("ratio: '3.5'", "TK123", "1:8", "ratio", "found the text `3.5`; valid: a number", "write `ratio: 3.5`"),
    ("ratio: 10ms", "TK123", "1:8", "ratio", "found the text `10ms`; valid: a number", ""),
    ("on: yes", "TK123", "1:5", "on", "found the text `yes`; valid: true or false", "write `on: true`"),
    ("on: Off", "TK123", "1:5", "on", "found the text `Off`; valid: true or false", "write `on: false`"),
    ("on: 1", "TK123", "1:5", "on", "found the number `1`; valid: true or false", ""),
    ("batching: {preferred: 8}", "TK123", "1:23", "batching.preferred", "; valid: a list", "write `preferred: [8]`"),
    ("batching: {preferred: [8, b]}", "TK123", "1:27", "batching.preferred[1]", "found the text `b`", ""),
    ("batching: {preferred: [1.0]}", "TK123", "1:24", "batching.preferred[0]", "the number `1.0`", "write `- 1`"),
    ("batching: []", "TK123", "1:11", "batching", "found an empty list; valid: a mapping", ""),
    ("model: x.onnx", "TK123", "1:8", "model", "found the text `x.onnx`; valid: a mapping", ""),
    ("models: {a: {onnx: a.onnx, required: []}}", "TK123", "1:38", "models.a.required", "; valid: a mapping", ""),
    ("mean: a", "TK123", "1:7", "mean", "found the text `a`; valid: a number or a list", ""),
    ("mean: '1'", "TK123", "1:7", "mean", "the text `1`; valid: a number or a list", "write `mean: 1`"),
    ("mean: [1, a]", "TK123", "1:11", "mean[1]", "found the text `a`; valid: a number", ""),
    ("pair: [1, x]", "TK123", "1:11", "pair[1]", "found the text `x`; valid: a whole number", ""),
    ("smart: [x]", "TK123", "1:9", "smart[0]", "found the text `x`; valid: a mapping", ""),
    ("smart: [{resize: [a, 1]}]", "TK123", "1:19", "smart[0].resize[0]", "found the text `a`; valid: a whole", ""),
    ("pet: 5", "TK123", "1:6", "pet", "found the number `5`; valid: a mapping", ""),
    # choices
    ("colour: grey", "TK124", "1:9", "colour", "found the text `grey`; valid: `gray`, `rgb`", "did you mean `gray`?"),
    ("colour: RGB", "TK124", "1:9", "colour", "", "did you mean `rgb`?"),
    ("colour: 3", "TK124", "1:9", "colour", "found the number `3`; valid: `gray`, `rgb`", ""),
    ("model: {onnx: a.onnx, precision: fp61}", "TK124", "1:34", "model.precision", "", "did you mean `fp16`?"),
    ("model: {onnx: a.onnx, precision: int8}", "TK124", "1:34", "model.precision", "`fp32`, `fp16`, `bf16`", ""),
    ("choice: '1'", "TK124", "1:9", "choice", "valid: `1`, `2`, `true`, `one`", "write `choice: 1`"),
    ("choice: [1]", "TK124", "1:9", "choice", "found a list of 1 item; valid: `1`", ""),
    ("size: aut", "TK124", "1:7", "size", "the text `aut`; valid: `auto`, `none` or a whole", "did you mean `auto`?"),
    ("size: 1.5", "TK123", "1:7", "size", "the number `1.5`; valid: `auto`, `none` or a whole", ""),
    ("smart: [{decode: {to: grey}}]", "TK124", "1:23", "smart[0].decode.to", "", "did you mean `gray`?"),
    ("steps: [{decode: {to: grey}}]", "TK124", "1:23", "steps[0].decode.to", "", "did you mean `gray`?"),
    (
        "steps: [{decod: {}}]",
        "TK124",
        "1:10",
        "steps[0].decod",
        "`decod`; valid: `decode`, `s",
        "did you mean `decode`?",
    ),
    ("steps: [a]", "TK124", "1:9", "steps[0]", "found `a`; valid: `decode`, `softmax`", ""),
    ("steps: [5]", "TK124", "1:9", "steps[0]", "the number `5`, which fits none of the forms", ""),
    ("steps: [{}]", "TK124", "1:9", "steps[0]", "valid: a mapping with one of `decode`, `softmax`", ""),
    ("pet: {kind: cow}", "TK124", "1:13", "pet.kind", "found `cow`; valid: `cat`, `dog`", ""),
    ("pets: {cat: {kind: dgo}}", "TK124", "1:20", "pets.cat.kind", "", ""),
    # numbers, lengths, forms
    ("batching: {max_batch_size: 0}", "TK125", "1:28", "batching.max_batch_size", "; valid: from 1 to 64", ""),
    ("batching: {max_batch_size: 65}", "TK125", "1:28", "batching.max_batch_size", "; valid: from 1 to 64", ""),
    ("model: {onnx: a.onnx, floor: 1}", "TK125", "1:30", "model.floor", "greater than 0 and less than 1", ""),
    ("model: {onnx: a.onnx, big: 9}", "TK125", "1:28", "model.big", "the number `9`; valid: a multiple of 8", ""),
    ("model: {onnx: a.onnx, finite: .inf}", "TK125", "1:31", "model.finite", "`.inf`; valid: a finite number", ""),
    ("size: 0", "TK125", "1:7", "size", "found the number `0`; valid: greater than 0", ""),
    ("smart: [{top_k: -1}]", "TK125", "1:17", "smart[0].top_k", "`-1`; valid: greater than 0", ""),
    (
        "model: {onnx: a.onnx, labels: [a]}",
        "TK126",
        "1:31",
        "model.labels",
        "a list of 1 item; valid: at least 2 items",
        "",
    ),
    ("model: {onnx: a.onnx, labels: [a, b, c, d]}", "TK126", "1:31", "model.labels", "valid: at most 3 items", ""),
    (
        "model: {onnx: a.onnx, short: abcd}",
        "TK126",
        "1:30",
        "model.short",
        "text of 4 characters; valid: at most 3",
        "",
    ),
    (
        "model: {onnx: a.onnx, required: {}}",
        "TK126",
        "1:33",
        "model.required",
        "of 0 fields; valid: at least 1 field",
        "",
    ),
    ("pair: [1]", "TK126", "1:7", "pair[1]", "item 2 of the list is missing", "add it"),
    ("pair: [1, 2, 3]", "TK126", "1:7", "pair", "a list of 3 items; valid: at most 2 items", ""),
    ("model: {onnx: a.onnx, named: A b}", "TK127", "1:30", "model.named", "matches `^[a-z]+$`", "Small letters."),
    ("models: {A: {onnx: a.onnx}}", "TK127", "1:10", "models.A", "the key `A`; valid: text that matches", ""),
    # rules
    ("model: {onnx: a.trt}", "TK128", "1:15", "model.onnx", "`a.trt` is not an .onnx file", ""),
    ("model: {onnx: a.onnx, short: 'no'}", "TK128", "1:30", "model.short", "the word `no` is taken", ""),
    ("model: {onnx: a.onnx, short: as}", "TK128", "1:30", "model.short", "asserted", ""),
    ("model: {onnx: a.onnx, short: bad}", "TK128", "1:30", "model.short", "", ""),
    ("count: 1\nname: plain", "TK128", "1:1", "", "a plain sentence", ""),
    ("name: empty", "TK128", "1:1", "", "the value breaks a rule of this field", ""),
    ("pets: {c: {kind: dog}}\nname: key", "TK298", "1:8", "pets.c", "bad key", ""),
    ("batching: {queue: {}}\nname: gone", "TK298", "1:19", "batching.queue.max_size", "not there", ""),
    ("batching: {preferred: [1, 2]}", "TK299", "1:27", "batching.preferred[1]", "2 is more than", "lower it"),
    # the rest of pydantic's
    ("model: {onnx: a.onnx, since: 2024-13-01}", "TK123", "1:30", "model.since", "; valid: a date such as", ""),
    ("function: a", "TK129", "1:11", "function", "found the text `a`; input should be callable", ""),
]


@pytest.mark.parametrize(("text", "code", "at", "field", "message", "hint"), TABLE)
def test_one_problem(*, text: str, code: str, at: str, field: str, message: str, hint: str) -> None:
    problems = problems_of(text)
    assert [(p.code, str(p.place), p.field) for p in problems] == [(code, f"f.yaml:{at}", field)]
    assert message in problems[0].message
    assert problems[0].hint == hint
