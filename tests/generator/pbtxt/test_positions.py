"""Where everything stands: fields, values, comments; and the way from a problem's path to it."""

from __future__ import annotations

import pytest

from generator.pbtxt.reader import read
from generator.pbtxt.tokens import Source

TEXT = """# The model.
name: "m"  # tritonkit: ignore[TK502] because it is an example
input [
  {
    name: 'x' 'y'
    dims: [ 1, -2,
            3 ]
  },
  # the second
  < name: "z" dims: 4 dims: 5 >
]
parameters { key: "a.b" value: { string_value: "1" } }
parameters { key: "c" value { string_value: "2" } }
dynamic_batching { }
# The end, without a line break"""


@pytest.mark.parametrize(
    ("path", "name_at", "value_at", "value"),
    [
        ("name", "2:1", "2:7", "m"),
        ("input[0]", "3:1", "4:3", None),
        ("input[0].name", "5:5", "5:11", "xy"),
        ("input[0].dims[1]", "6:5", "6:16", -2),
        ("input[0].dims[2]", "6:5", "7:13", 3),
        ("input[1]", "3:1", "10:3", None),
        ("input[1].dims[1]", "10:23", "10:29", 5),
        ("parameters[a.b]", "12:1", "12:12", None),
        ("parameters[a.b].value.string_value", "12:34", "12:48", "1"),
        ("parameters[c].key", "13:14", "13:19", "c"),
        ("dynamic_batching", "14:1", "14:18", None),
    ],
)
def test_names_and_values(path: str, name_at: str, value_at: str, value: object) -> None:
    found = read(TEXT, "f")
    node = found.tree.find(path)
    assert node is not None
    assert str(found.source.place(node.name_at)) == f"f:{name_at}"
    assert str(found.source.place(node.start)) == f"f:{value_at}"
    if value is not None:
        assert node.value == value
    assert (node.children is None) == (value is not None)


@pytest.mark.parametrize(
    "path", ["backend", "input[2]", "input[0].nothing", "parameters[x]", "name.x", "dynamic_batching.x"]
)
def test_what_is_not_there(path: str) -> None:
    assert read(TEXT, "f").tree.find(path) is None


def test_where_values_end() -> None:
    """A node ends before the token that follows it, so that what it says can be cut out of the text."""
    found = read(TEXT, "f")

    def said(path: str) -> str:
        node = found.tree.find(path)
        assert node is not None
        last = node.end - 1
        return (
            found.source.text[found.source.offsets[node.start] : found.source.offsets[last]]
            + found.source.tokens[last]
        )

    assert said("input[0].name") == "'x' 'y'"
    assert said("input[0].dims[1]") == "-2"
    assert said("input[1]") == '< name: "z" dims: 4 dims: 5 >'
    assert said("parameters[c].value") == '{ string_value: "2" }'
    assert said("dynamic_batching") == "{ }"


def test_comments() -> None:
    source = read(TEXT, "f").source
    assert [(comment.text, str(comment.place)) for comment in source.comments] == [
        ("# The model.", "f:1:1"),
        ("# tritonkit: ignore[TK502] because it is an example", "f:2:12"),
        ("# the second", "f:9:3"),
        ("# The end, without a line break", "f:15:1"),
    ]
    assert [source.tokens[comment.token] for comment in source.comments] == ["name", "input", "<", ""]
    assert [source.starts_line(source.tokens.index(token)) for token in ("name", "m", "input")[::2]] == [True, True]
    assert read("name: '# none' #\r\n#x\r#y", "f").source.comments[-1].text == "#x\r#y", (
        "the server's lines end at LF"
    )


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_they_are_shown(line_break: str) -> None:
    source = Source(line_break.join(["name: 'a'", "", "\tbackend: 'b'"]), "f")
    assert str(source.place(source.tokens.index("backend"))) == "f:3:2"


def test_a_column_counts_characters() -> None:
    [problem] = read("name: '日本é' bakend: 'x'".encode(), "f").problems
    assert problem.place.column == 13


def test_positions_of_a_file_with_mistakes() -> None:
    found = read("max_batchsize: 3\ninput { name: x dims: [ 1, y, 3 ] }\nname: 'm'", "f")
    assert found.message is None
    name, dims = found.tree.find("name"), found.tree.find("input[0].dims[1]")
    assert name is not None
    assert dims is not None
    assert (name.value, str(found.source.place(name.start)), dims.value) == ("m", "f:3:7", 3)
