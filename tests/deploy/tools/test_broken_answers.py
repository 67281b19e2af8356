"""Programs that end well and print nothing, half of it, or something else: a sentence, and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_ins import stand_in

from deploy.tools.helm import Helm, HelmError
from deploy.tools.kubectl import Kubectl, KubectlError

CHART = Path("/chart")
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
BROKEN = ["", "   \n", '{"revision": 1', "[1, 2]", '"a"', "7", "null", "[{}]", "banner of a wrapper\n{}", "[" * 9000]
HELM: dict[str, Callable[[Helm], Any]] = {
    "upgrade": lambda helm: helm.dry_run("digits", CHART, "{}"),
    "list": lambda helm: helm.marked("digits", "m"),
    "history": lambda helm: helm.history("digits"),
    "get values": lambda helm: helm.values("digits"),
}
KUBECTL: dict[str, Callable[[Kubectl], Any]] = {
    "config view": lambda kubectl: kubectl.current(),
    "get --raw /version": lambda kubectl: kubectl.raw("/version"),
    "get --raw /apis/apps/v1": lambda kubectl: kubectl.raw("/apis/apps/v1"),
    "create": lambda kubectl: kubectl.create([MAP, MAP], dry_run=True),
    "replace": lambda kubectl: kubectl.replace([MAP]),
}


@pytest.mark.parametrize("printed", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("words", HELM)
def test_of_helm(tmp_path: Path, words: str, printed: str) -> None:
    if (words, printed) in {("get values", "null"), ("list", "null")}:
        printed = "nul"  # null is what Helm prints of a release without values
    with pytest.raises(HelmError, match=rf"`helm {words} .*` ended well and printed ") as caught:
        HELM[words](Helm(stand_in(tmp_path, out=printed)))
    assert str(tmp_path / "helm") in caught.value.hint


@pytest.mark.parametrize("printed", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("words", KUBECTL)
def test_of_kubectl(tmp_path: Path, words: str, printed: str) -> None:
    program = stand_in(tmp_path, out=printed).rename(tmp_path / "kubectl")
    with pytest.raises(KubectlError, match=r"`kubectl .*` (ended well and printed |was given )") as caught:
        KUBECTL[words](Kubectl(program))
    assert str(program) in caught.value.hint


@pytest.mark.parametrize("printed", ['{"a": ', "{}", "[]", '{"kind": 3}', '{"kind": "List"}', "a banner"])
def test_of_objects_that_are_none(tmp_path: Path, printed: str) -> None:
    with pytest.raises(KubectlError, match=r"`helm get pods .*` ended well and printed "):
        Kubectl(stand_in(tmp_path, out=printed)).get(["pods"])


def test_no_objects_are_no_mistake(tmp_path: Path) -> None:
    assert Kubectl(stand_in(tmp_path)).get(["pods"]) == []
    assert Kubectl(stand_in(tmp_path, out='{"kind": "List", "items": []}')).get(["pods"]) == []


def test_a_manifest_without_a_word_in_it(tmp_path: Path) -> None:
    """It would read as if the release had nothing on the cluster."""
    with pytest.raises(HelmError, match="`helm get manifest digits` ended well and printed nothing"):
        Helm(stand_in(tmp_path)).manifest("digits")


def test_of_data_nothing_is_shown(tmp_path: Path) -> None:
    cut = json.dumps({"manifest": "kind: Secret\ndata: {key: c2VjcmV0}"})[:-3]
    with pytest.raises(HelmError) as caught:
        Helm(stand_in(tmp_path, out=cut)).dry_run("digits", CHART, "{}")
    assert caught.value.message.endswith("printed data that is cut short, or not of the kind that was asked for")
    assert "c2VjcmV0" not in str(caught.value)


def test_of_what_is_no_data_the_beginning_is_shown(tmp_path: Path) -> None:
    with pytest.raises(HelmError, match="printed what is no data: switched to context prod"):
        Helm(stand_in(tmp_path, out="switched to context prod\n[]")).history("digits")
