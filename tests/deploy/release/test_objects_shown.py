"""Objects of manifests: read as the API reads them, told apart, and shown without secrets."""

from __future__ import annotations

import base64

import pytest

from deploy.release.differences import Action, Change, _change, differing, summary
from deploy.release.objects import Key, as_yaml, is_hook, key_of, manifest_of, objects_of, told
from generator.problems import UserError

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "data": {"key": "aHVzaA=="},
    "stringData": {"b": "hush"},
}


def test_documents_lists_and_nothing() -> None:
    text = "# only a comment\n---\n---\nkind: A\napiVersion: v1\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n"
    assert [item["kind"] for item in objects_of(text)] == ["A", "B", "C"]


def test_what_looks_like_a_date_is_text() -> None:
    [item] = objects_of("kind: A\nmetadata: {annotations: {since: 2026-11-22, n: 0444}}\n")
    assert item["metadata"]["annotations"] == {"since": "2026-11-22", "n": 0o444}
    assert objects_of(manifest_of([item])) == [item]


def test_versions_of_a_group_are_one_object() -> None:
    old, new = (
        {"apiVersion": "autoscaling/v1", "kind": "H", "metadata": {"name": "a"}},
        {"apiVersion": "autoscaling/v2", "kind": "H", "metadata": {"name": "a"}},
    )
    assert key_of(old) == key_of(new) == Key("autoscaling", "H", "a")
    assert key_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}).group == ""


def test_no_value_of_a_secret_is_shown() -> None:
    text = as_yaml(told(SECRET))
    assert "hush" not in text
    assert "aHVzaA" not in text
    assert "key: (hidden)" in text


def test_a_secret_that_changes_says_so_and_no_more() -> None:
    after = {**SECRET, "data": {"key": "bmV3"}}
    change = _change(key_of(SECRET), SECRET, after)
    assert change.action is Action.CHANGE
    assert "values that are not shown" in change.diff()
    assert "bmV3" not in change.diff()
    assert _change(key_of(SECRET), SECRET, SECRET).action is Action.KEEP


def test_files_are_shown_by_their_size_and_hash() -> None:
    item = {
        "kind": "ConfigMap",
        "metadata": {},
        "binaryData": {"a": base64.b64encode(b"x" * 5000).decode(), "b": "?"},
    }
    text = as_yaml(told(item))
    assert "a: (5,000 bytes, SHA-256 " in text
    assert "b: (not base64)" in text
    assert len(text) < 200


def test_what_servers_write_is_no_difference() -> None:
    live = {
        "kind": "Deployment", "status": {"replicas": 2},
        "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "generation": 3, "managedFields": [],
                     "annotations": {"deployment.kubernetes.io/revision": "4", "meta.helm.sh/release-name": "a"}},
    }  # fmt: skip
    assert told(live) == {"kind": "Deployment", "metadata": {"name": "a"}}


def test_changes_are_counted_and_written_as_a_diff() -> None:
    before, after = (
        {"kind": "A", "metadata": {"name": "a"}, "spec": {"n": 1}},
        {"kind": "A", "metadata": {"name": "a"}, "spec": {"n": 2}},
    )
    changes = [
        _change(key_of(before), before, after),
        _change(key_of(before), before, before),
        Change(key_of(before), Action.DELETE, "x\n"),
    ]
    assert summary(changes) == "1 to change, 1 to delete, 1 as they are"
    assert [change.action for change in differing(changes)] == [Action.CHANGE, Action.DELETE]
    assert "-  n: 1\n+  n: 2\n" in changes[0].diff()
    assert changes[1].diff() == ""
    assert changes[2].diff().splitlines()[-1] == "-x"
    assert summary([]) == "nothing"


def test_hooks() -> None:
    assert is_hook({"metadata": {"annotations": {"helm.sh/hook": "test"}}})
    assert not is_hook({"metadata": {}})


@pytest.mark.parametrize("text", ["kind: A\nmetadata: [", "WARN: 1: 2\nkind: A\n", "kind: A\n\tb: 1\n", "[" * 5000])
def test_what_helm_printed_and_is_no_yaml(text: str) -> None:
    with pytest.raises(UserError, match="what `helm` printed is no YAML") as caught:
        objects_of(text)
    assert "PATH" in caught.value.hint
