"""What differs between what a server has and what was rendered, and which versions a policy serves."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.embedded.changes import Wanted, changes, hashes, version_of, versions_served

OLD = {
    "a/config.pbtxt": b"1",
    "a/1/model.py": b"1",
    "b/config.pbtxt": b"1",
    "gone/config.pbtxt": b"1",
    ".manifest": b"1",
}


def test_models_that_came_went_and_changed() -> None:
    new = {**OLD, "a/2/model.py": b"2", "new/config.pbtxt": b"1", ".manifest": b"2"}
    del new["gone/config.pbtxt"]
    assert changes(hashes(OLD), hashes(new)) == {"a": "changed", "b": "same", "gone": "removed", "new": "added"}
    assert changes({}, {}) == {}
    assert changes(hashes(OLD), hashes({**OLD, "b/config.pbtxt": b"2"}))["b"] == "changed"


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [12]),
        ("version_policy { latest { num_versions: 2 } }", [3, 12]),
        ("version_policy { latest { num_versions: 9 } }", [1, 3, 12]),
        ("version_policy { latest { } }", [12]),
        ("version_policy { all { } }", [1, 3, 12]),
        ("version_policy { specific { versions: [ 3, 7 ] } }", [3]),
    ],
)
def test_the_versions_that_a_server_serves(policy: str, served: list[int]) -> None:
    paths = ["config.pbtxt", "12/model.py", "1/model.py", "3/a/b.py", "3/model.py", "007/model.py", "warmup/x", "5"]
    config = text_format.Parse(f'name: "m" {policy}', ModelConfig())
    assert versions_served(config, paths) == served


def test_a_version_directory_is_a_plain_number() -> None:
    assert [version_of(path) for path in ("1/a", "10/a/b", "01/a", "x/a", "1", "\u0661/a", "1_bak/a")] == [
        1, 10, None, None, None, None, None
    ]  # fmt: skip


def test_the_files_and_versions_of_one_model() -> None:
    wanted = Wanted(
        {"m/config.pbtxt": b'name: "m"', "m/1/model.py": b"a", "m/2/model.py": b"b", "mm/1/x": b""}, [["m"]]
    )
    assert set(wanted.of("m")) == {"config.pbtxt", "1/model.py", "2/model.py"}
    assert wanted.served("m") == [2]
