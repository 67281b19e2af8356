"""The problems of fields, brackets and separators in words, each with where reading goes on behind it."""

from __future__ import annotations

from generator.pbtxt import codes, words
from generator.pbtxt.recovery import CLOSE, CLOSERS, Recovery, is_number
from generator.pbtxt.schema import Field, Message, owners
from generator.pbtxt.tokens import END, Source
from generator.pbtxt.tree import Node, path_of
from generator.pbtxt.values import QUOTES
from generator.problems import Problem, Severity, errors

MAX_PROBLEMS = 100


class TooManyError(Exception):
    """Raised when a file has more problems than anybody reads."""


class Complaints(Recovery):
    """Collects the problems of one source. Most methods give the index of the token to go on at."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.problems: list[Problem] = []
        self._last = -1
        self.swallowed = False  # a text without its closing quote has taken closing brackets with it

    def problem(
        self, code: str, at: int, message: str, hint: str = "", *, name: str = "", field: Field | None = None,
        severity: Severity = Severity.ERROR, within: int = 0,
    ) -> None:  # fmt: skip
        """Tells a problem at a token, if nothing was told about that token before.

        Raises TooManyError for an error that is too many; warnings that are too many are left out.
        """
        if at == self._last or (code == codes.UNCLOSED and self.swallowed):
            return
        if severity is Severity.ERROR:
            self._last = at
        if severity is not Severity.ERROR and len(self.problems) > MAX_PROBLEMS:
            return
        path = path_of(self.open, name or (field.name if field else ""), field)
        problem = Problem(code, self.source.place(at, within), path, message, hint, severity)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
            return
        if len(self.problems) == MAX_PROBLEMS:
            text = "this file has more problems, which are not listed"
            self.problems.append(Problem(codes.TOO_MANY, problem.place, "", text, "mend these first", Severity.NOTE))
        if severity is Severity.ERROR:
            if not errors(self.problems):
                self.problems.append(problem)  # what is not accepted has an error
            raise TooManyError

    # Fields --------------------------------------------------------------------------------------------------------

    def no_field(self, message: Message, at: int) -> int:
        """A token that is no name of a field of `message`, and closes nothing."""
        here = self.tokens[at]
        if self.is_name(at):
            return self._unknown(message, at)
        if here == "[":
            self.problem(codes.SYNTAX, at, f"a name in brackets is an extension, and {message.name} has none",
                         "write the name of a field, or remove it")  # fmt: skip
            return self.skip_field(self.skip_bracket(at))
        if here[:1] in QUOTES:
            inner = here.strip("\"'")
            known = inner in message.fields
            self.problem(codes.SYNTAX, at, f"found {words.found(here)}; valid: the name of a field",
                         f"write `{inner}` without quotes" if known else "")  # fmt: skip
            return self.skip_field(at + 1)
        if here in (",", ";"):
            self.problem(codes.SYNTAX, at, f"found `{here}` with nothing before it", "remove it")
            return at + 1
        if here == "/" and self.tokens[at + 1] in ("/", "*"):
            self.problem(codes.SYNTAX, at, f"`/{self.tokens[at + 1]}` begins no comment here", "begin it with `#`")
            return self.next_line(at)
        if is_strange(here):
            return self.strange(at)
        self.problem(codes.SYNTAX, at, f"found {words.found(here)}; valid: the name of a field")
        if here not in ("{", "<"):
            return self.next_field(at + 1)
        behind = self.skip_bracket(at)
        # A bracket that stands twice, and closes once, is one too many: its fields are those of the block.
        if self.tokens[at - 1] == here and self.is_missing(here):
            self.count_missing(here)
            return at + 1
        return self.next_field(behind)

    def _unknown(self, message: Message, at: int) -> int:
        word, behind = self.source.word(at)
        hint = words.did_you_mean(words.guess(word, message.fields))
        others = owners(self.root, word) if self.root is not None and not hint else []
        if others:
            hint = f"it is a field of {words.listed(others[:3])}"
        elif not hint and self.root is not None and word in self.root.fields:
            hint = "it is a field of the whole configuration: move it out of this block"
        text = f"{message.name} has no field `{words.shown(word)}`"
        # All of its fields where none of them is meant: ModelConfig has 25.
        text += "" if hint else f"; valid: {words.listed(message.fields)}"
        self.problem(codes.UNKNOWN_FIELD, at, text, hint or "remove it", name=words.shown(word))
        following = self.tokens[behind]
        if following in (":", "=", "{", "<", "[") or following[:1] in QUOTES or is_number(following):
            self._unclosed_value(behind)
            return self.skip_field(behind)
        return self.next_field(behind)

    def _unclosed_value(self, at: int) -> None:
        """Tells of a bracket that is not closed, in what is skipped."""
        at += self.tokens[at] in (":", "=")
        opened = self.tokens[at]
        if opened in CLOSE and at not in self.source.partners:
            self.count_missing(opened)
            self.problem(codes.UNCLOSED, at, f"the `{opened}` is not closed", f"add `{CLOSE[opened]}`")

    def strange(self, at: int) -> int:
        """A character that may stand in texts and comments alone; those that touch it are not told again."""
        here = self.tokens[at]
        if here == "\ufeff" and self.source.offsets[at] == 0:
            message, hint = "the file begins with a byte order mark", "save it as UTF-8 without one"
        else:
            message, hint = f"found {words.character(here)}; valid outside texts and comments: ASCII", "remove it"
            if here in "“”„‘’‚«»":
                hint = 'write plain quotes: "'
        self.problem(codes.SYNTAX, at, message, hint)
        if here == "\ufeff":
            return at + 1
        if here == "\0":  # it has cut off a comment or a text, of which the rest follows
            return self.next_line(at)
        while (here := self.tokens[at]) != END and is_strange(here):
            at += 1
        return at

    def given_twice(self, field: Field, at: int) -> None:
        """A field that takes one value has one already."""
        first = next((child for child in self.open[-1].all(field.name)), None)
        where = "" if first is None else f": it stands in line {self.source.place(first.name_at).line}"
        self.problem(codes.TWICE, at, f"`{field.name}` takes one value, and is given already{where}",
                     "keep one of the two", field=field)  # fmt: skip

    def excluded(self, field: Field, other: str, at: int) -> None:
        """Another member of the field's oneof is given already."""
        line = next((self.source.place(c.name_at).line for c in self.open[-1].all(other)), 0)
        valid = words.listed([field.name, *field.oneof])
        text = f"`{field.name}` and `{other}` (line {line}) exclude each other; valid: one of {valid}"
        self.problem(codes.ONE_OF, at, text, "keep one of the two", field=field)

    # Brackets and separators ---------------------------------------------------------------------------------------

    def not_closed(self, node: Node, at: int) -> None:
        """A field of a message around `node` begins inside it."""
        if node.start in self.told:
            return
        self.told.add(node.start)
        opened = self.tokens[node.start]
        self.count_missing(opened)
        where = f"the `{opened}` of `{node.name}` in line {self._line(node.start)}"
        text = f"{where} is not closed before `{self.tokens[at]}`"
        self.problem(codes.UNCLOSED, at, text, f"add `{CLOSE[opened]}` before it")

    def wrong_end(self, node: Node, close: str, at: int) -> int:
        """A message ends at the file's end, or at a bracket that is not its own."""
        if node.start in self.told:
            return at
        return self._wrong_end(node.name, node.start, close, at)

    def _wrong_end(self, name: str, start: int, close: str, at: int) -> int:
        opened, here = self.tokens[start], self.tokens[at]
        is_other_kind = here != END and self.is_surplus(at) and self.is_missing(opened)
        self.count_missing(opened)
        if here == END:
            text = f"the `{opened}` of `{name}` is not closed"
            self.problem(codes.UNCLOSED, start, text, f"add `{close}`", name=name)
            return at
        stays = not is_other_kind and self.closes_before(at, start)
        text = f"found `{here}`; the `{opened}` of `{name}` in line {self._line(start)} is not closed"
        self.problem(codes.UNCLOSED, at, text, f"add `{close}` before it" if stays else f"write `{close}`", name=name)
        if not stays:
            self.count_surplus(here)
        return at if stays else at + 1

    def _line(self, at: int) -> int:
        return self.source.place(at).line

    def closes_nothing(self, at: int) -> None:
        """A closing bracket that is one too many."""
        self.count_surplus(self.tokens[at])
        self.problem(codes.UNCLOSED, at, f"`{self.tokens[at]}` closes nothing", "remove it, or open it above")

    def no_comma(self, field: Field, start: int, at: int) -> int:
        """Something else than `,` or `]` behind an item of a list; `~index` where the list ends here."""
        here = self.tokens[at]
        first = at
        while here in CLOSERS and here != "]" and self.is_surplus(at) and not self.is_missing("["):
            self.closes_nothing(at)
            at += 1
            here = self.tokens[at]
        if at > first and here in (",", "]"):
            return at + 1 if here == "," else ~(at + 1)
        if here == END or here in CLOSERS:
            return ~self._wrong_end(field.name, start, "]", at)
        if self.begins_field(at):
            if field.message is not None and here in field.message.fields and self.is_surplus(at - 1):
                self.closes_nothing(at - 1)
                self._last = at  # the block goes on: its bracket, which would be missed here, is the one before
                return at
            partner = self.source.partners.get(start)
            if partner is None or self.is_missing("["):
                self.count_missing("[")
                text = f"the `[` of `{field.name}` in line {self._line(start)} is not closed before `{here}`"
                self.problem(codes.UNCLOSED, at, text, "add `]` before it", name=field.name)
                return ~at
            text = f"found the name `{words.shown(here)}` in a list; valid: values between commas"
            self.problem(codes.SYNTAX, at, text, field=field)
            return ~(partner + 1)
        if here == ";" or not self.begins_value(at):
            self.problem(codes.SYNTAX, at, f"found {words.found(here)}; valid in a list: `,` or `]`", field=field)
            return at + 1 if here == ";" else self._item_or_end(self.next_item(at + 1))
        if at == first:
            self.problem(codes.SYNTAX, at, f"there is no `,` before {words.found(here)}", "add `,`", field=field)
        return at

    def _item_or_end(self, at: int) -> int:
        """Behind a comma, or the list's end as `~index`."""
        return at + 1 if self.tokens[at] == "," else ~(at + (self.tokens[at] == "]"))

    def comma_before_end(self, field: Field, at: int) -> None:
        """`[1, 2,]`."""
        text = "found `,` before `]`; valid: only between two values"
        self.problem(codes.SYNTAX, at, text, "remove it", field=field)

    def no_colon(self, field: Field, name_at: int, at: int) -> int:
        """Something else than `:` behind the name of a scalar; `~index` where no value follows."""
        here = self.tokens[at]
        if here == "=":
            self.problem(codes.SYNTAX, at, "found `=`; valid: `:`", f"write `{field.name}: …`", field=field)
            return at + 1
        if is_strange(here):
            at = self.strange(at)
            return at + 1 if self.tokens[at] == ":" else ~self.next_field(at)
        if here in ("{", "<") or (here == "[" and not field.is_repeated):
            return at  # the value is wrong: that is told
        if self.begins_value(at) and not self.begins_field(at):
            self.problem(codes.SYNTAX, at, f"there is no `:` behind `{field.name}`", f"write `{field.name}: …`",
                         field=field)  # fmt: skip
            return at
        return ~self.no_value(field, name_at, at)

    def without_brace(self, field: Field, at: int) -> bool:
        """Whether the fields of a block follow without the bracket that opens it, which is told."""
        message = field.message
        following = self.tokens[at + 1]
        if message is None or self.tokens[at] not in message.fields or not (following == ":" or following in CLOSE):
            return False
        self.told.add(at)
        self.count_surplus("}")
        text = f"there is no `{{` before the fields of `{field.name}`"
        self.problem(codes.UNCLOSED, at, text, "add `{`", field=field)
        return True

    def no_block(self, field: Field, name_at: int, at: int) -> int:
        """Something else than `{` behind the name of a message."""
        here = self.tokens[at]
        if here == "=":
            self.problem(codes.SYNTAX, at, "found `=`; valid: `{`", f"write `{field.name} {{ … }}`", field=field)
            return self.skip_value(at + 1)
        if here == END or here in CLOSERS or here in (",", ";") or self.begins_field(at):
            return self.no_value(field, name_at, at)
        if not self.begins_value(at):
            self.problem(codes.SYNTAX, at, f"found {words.found(here)}; valid: `{{`", field=field)
            return self.next_field(at + 1)
        self.problem(codes.WRONG_TYPE, at, f"found {words.found(here)}; valid: {words.valid(field)}",
                     f"write `{field.name} {{ … }}`", field=field)  # fmt: skip
        return self.skip_value(at)

    def no_value(self, field: Field, name_at: int, at: int) -> int:
        """A name with nothing behind it, or a place in a list without a value."""
        in_list = self.tokens[at - 1] in ("[", ",")
        what = f"found {words.found(self.tokens[at])}" if in_list else f"`{field.name}` has no value"
        self.problem(codes.SYNTAX, at if in_list else name_at, f"{what}; valid: {words.valid(field)}", field=field)
        return at


def is_strange(here: str) -> bool:
    """Whether a token is a character that only texts and comments may have."""
    return len(here) == 1 and (not here.isascii() or here < " " or here == "\x7f")
