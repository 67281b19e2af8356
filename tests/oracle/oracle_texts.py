"""Mutations of a config's text: mistakes of spelling, and other spellings of the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from oracle_mutations import TEXT, Change, mutation
from oracle_repository import Repository

Rewrite = Callable[[Random, str], str]


def _one(random: Random, pattern: str, text: str, new: Callable[[re.Match[str]], str]) -> str:
    """`text` with one of the matches of `pattern` replaced."""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if not found:
        return text
    match = random.choice(found)
    return text[: match.start()] + new(match) + text[match.end() :]


def _insert(random: Random, text: str, line: str) -> str:
    lines = text.splitlines()
    lines.insert(random.randint(0, len(lines)), line)
    return "\n".join(lines) + "\n"


def _end(text: str, line: str) -> str:
    return f"{text}{line}\n"


def _swapped(name: str, at: int) -> str:
    return name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]


def _wrong(random: Random, name: str) -> str:
    """A word that is hardly the enum's, or the number 0, which is."""
    return random.choice((name.lower(), name + "S", name.split("_", 1)[1], f'"{name}"', "0"))


def _escaped(random: Random, first: str, rest: str) -> str:
    """A string whose first letter is escaped; what follows must not go on as part of the number."""
    if rest[:1] in "0123456789abcdefABCDEF":
        return f'"{first}{rest}"'
    code = ord(first)
    number = random.choice((f"{code:o}", f"x{code:x}", f"u{code:04x}"))
    return '"' + "\\" + number + rest + '"'


BROKEN: dict[str, Rewrite] = {
    "bracket lost": lambda r, t: _one(r, r"[{}]", t, lambda m: ""),
    "bracket more": lambda r, t: _insert(r, t, r.choice("{}[]")),
    "field misspelt": lambda r, t: _one(r, r"\b[a-z_]{4,}(?=[: ])", t, lambda m: _swapped(m[0], r.randrange(len(m[0]) - 1))),
    "unknown field": lambda r, t: _insert(r, t, r.choice(("batching: 1", "inputs { }", "Name: 'x'", "[a.b]: 1"))),
    "field twice": lambda r, t: _end(t, r.choice(("max_batch_size: 4", 'backend: "python"', "name: 'x'"))),
    "oneof twice": lambda r, t: _end(t, r.choice(("dynamic_batching { }\nsequence_batching { }", "ensemble_scheduling { }\ndynamic_batching { }"))),
    "policy twice": lambda r, t: _end(t, "version_policy { all { } latest { } }"),
    "wrong enum": lambda r, t: _one(r, r"\b(TYPE|KIND|FORMAT|CONTROL|BATCH)_[A-Z0-9_]+", t, lambda m: _wrong(r, m[0])),
    "wrong type": lambda r, t: _one(r, r": (-?\d+)$", t, lambda m: r.choice((f': "{m[1]}"', f": {m[1]}.5", ": true", ": one", f": {m[1]}u", ": 0x", ": 08"))),
    "number for text": lambda r, t: _one(r, r': "[^"\n]*"$', t, lambda m: r.choice((": 1", ": x", ": 'x", ': "x', ': "\\q"'))),
    "no colon": lambda r, t: _one(r, r": (?=[^{\n]+$)", t, lambda m: r.choice((" ", "= ", ":: "))),
    "too large": lambda r, t: _one(r, r": (\d+)$", t, lambda m: r.choice((": 2147483648", ": 9223372036854775808", ": 99999999999999999999", ": -1"))),
    "newer field": lambda r, t: _end(t, r.choice(("model_metrics { }", "ensemble_scheduling { max_inflight_requests: 1 }"))),
    "other comment": lambda r, t: _insert(r, t, r.choice(("// remark", "/* remark */", "; remark"))),
    "cut off": lambda r, t: t[: r.randrange(len(t) // 2, len(t))],
    "odd character": lambda r, t: _insert(r, t, r.choice(("\x00", "\ufeff", "\u00a0", "é", "$", "\\"))),
}  # fmt: skip

SAME: dict[str, Rewrite] = {
    "colon before bracket": lambda r, t: _one(r, r" \{$", t, lambda m: ": {"),
    "angles": lambda r, t: re.sub(r"^(\s*\w+) \{\n((?:\s*\w+: .*\n)+)\s*\}$", r"\1 <\n\2>", t, count=1, flags=re.MULTILINE),
    "separators": lambda r, t: _one(r, r"$", t.rstrip("\n"), lambda m: r.choice((",", ";"))) + "\n",
    "comments": lambda r, t: _insert(r, t, r.choice(("# remark", "  # { [", "#\t'"))),
    "quotes": lambda r, t: _one(r, r'"([^"\'\\\n]*)"', t, lambda m: r.choice((f"'{m[1]}'", f'"{m[1]}" ""', f'""\n"{m[1]}"'))),
    "escapes": lambda r, t: _one(r, r'"([a-z])([^"\n]*)"', t, lambda m: _escaped(r, m[1], m[2])),
    "numbers": lambda r, t: _one(r, r": (\d+)$", t, lambda m: r.choice((f": 0x{int(m[1]):x}", f": 0{int(m[1]):o}", f":{m[1]}", f": # x\n{m[1]}"))),
    "booleans": lambda r, t: _one(r, r": (true|false)$", t, lambda m: ": " + r.choice({"true": ("1", "t", "True", "true"), "false": ("0", "f", "False")}[m[1]])),
    "lists": lambda r, t: re.sub(r"^(\s*)(dims|versions|preferred_batch_size): (-?\d+)$", r"\1\2: [ \3 ]", t, flags=re.MULTILINE),
    "one line": lambda r, t: " ".join(t.split()) if '"' not in t or "  " not in t else t,
    "carriage returns": lambda r, t: t.replace("\n", "\r\n"),
    "enum numbers": lambda r, t: _one(r, r": TYPE_FP32$", t, lambda m: ": 11"),
    "empty message": lambda r, t: t if "\noptimization" in t else _end(t, "optimization { }"),
    "extra lists": lambda r, t: _end(t, r.choice(("metric_tags [ ]", "cc_model_filenames [ ]", "instance_group [ ]", "input [ ]"))),
    "nothing set": lambda r, t: t if "\nresponse_cache" in t else _end(t, r.choice(("response_cache { }", "response_cache { enable: false }"))),
    "float as integer": lambda r, t: _one(r, r": (\d+\.\d+)$", t, lambda m: r.choice((f": {m[1]}f", ": 1", f": {m[1]}e0"))),
    "byte order mark": lambda r, t: "\ufeff" + t,
    "no last newline": lambda r, t: t.rstrip("\n"),
}  # fmt: skip


@mutation(TEXT, 3)
def broken_text(random: Random, repository: Repository) -> Change | None:
    """What strict text format does not take, mostly."""
    return _rewrite(random, repository, BROKEN)


@mutation(TEXT, 10)
def same_text(random: Random, repository: Repository) -> Change | None:
    """Another spelling of the same."""
    return _rewrite(random, repository, SAME)


def _rewrite(random: Random, repository: Repository, table: dict[str, Rewrite]) -> Change | None:
    key = random.choice(list(repository.models))
    model = repository.models[key]
    name = random.choice(list(table))
    if not model.text:
        return None
    text = table[name](random, model.text)
    if text == model.text:
        return None
    model.text = text
    return Change(key, name, (1,))
