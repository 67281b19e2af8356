"""What an object becomes when its release changes: removed, set, and left alone, as Helm does it."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.release.merge import merged

Json = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
Objects = st.dictionaries(st.sampled_from("abcd"), Json, max_size=4)


def of(api: str = "apps/v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def test_what_others_wrote_stays_and_what_the_release_dropped_goes() -> None:
    live = of(replicas=5, paused=False, revisionHistoryLimit=3)
    assert merged(live, of(revisionHistoryLimit=3), of())["spec"] == {"replicas": 5, "paused": False}
    assert merged(live, of(replicas=2), of(replicas=3))["spec"]["replicas"] == 3


def test_containers_are_merged_by_name_and_lists_of_words_as_a_whole() -> None:
    live = of(
        containers=[
            {"name": "server", "args": ["--a", "--b"], "terminationMessagePath": "/dev/log"},
            {"name": "by-hand"},
        ]
    )
    old = of(containers=[{"name": "server", "args": ["--a", "--b"]}, {"name": "gone"}])
    new = of(containers=[{"name": "server", "args": ["--a"]}])
    assert merged(live, old, new)["spec"]["containers"] == [
        {"name": "server", "args": ["--a"], "terminationMessagePath": "/dev/log"}, {"name": "by-hand"},
    ]  # fmt: skip
    live["spec"]["containers"].append({"name": "gone"})
    assert len(merged(live, old, new)["spec"]["containers"]) == 2


def test_env_and_ports() -> None:
    live = of(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], ports=[{"port": 80, "nodePort": 30001}])
    old, new = (
        of(env=[{"name": "B", "value": "2"}], ports=[{"port": 80}]),
        of(env=[{"name": "A", "value": "3"}], ports=[{"port": 80}]),
    )
    spec = merged(live, old, new)["spec"]
    assert spec["env"] == [{"name": "A", "value": "3"}]
    assert spec["ports"] == [{"port": 80, "nodePort": 30001}]


def test_a_volume_that_changes_its_kind_is_not_both() -> None:
    live, old = (
        of(volumes=[{"name": "m", "emptyDir": {"sizeLimit": "1Gi"}}]),
        of(volumes=[{"name": "m", "emptyDir": {}}]),
    )
    new = of(volumes=[{"name": "m", "configMap": {"name": "models"}}])
    assert merged(live, old, new)["spec"]["volumes"] == [{"name": "m", "configMap": {"name": "models"}}]
    live = of(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    assert merged(live, live, of(strategy={"type": "Recreate"}))["spec"]["strategy"] == {"type": "Recreate"}


def test_lists_of_custom_resources_are_exchanged_as_a_whole() -> None:
    live = of("keda.sh/v1alpha1", env=[{"name": "A"}, {"name": "B"}])
    new = of("keda.sh/v1alpha1", env=[{"name": "A", "value": "1"}])
    assert merged(live, of("keda.sh/v1alpha1"), new)["spec"]["env"] == [{"name": "A", "value": "1"}]


def test_null_takes_a_field_away() -> None:
    assert merged(of(replicas=5), of(), of(replicas=None))["spec"] == {}


@given(Objects, Objects, Objects)
def test_what_the_release_says_is_so_and_its_words_are_not_changed(live: Any, old: Any, new: Any) -> None:
    before = copy.deepcopy((live, old, new))
    result = merged(live, old, new)
    assert (live, old, new) == before
    _holds(result, new)
    for name in set(old) - set(new) - {"apiVersion"}:
        assert name not in result
    for name in set(live) - set(old) - set(new):
        assert result[name] == live[name]


def _holds(result: Any, new: Any) -> None:
    for name, value in new.items():
        if isinstance(value, dict):
            _holds(result[name], value)
        else:
            assert result[name] == value


@given(Objects)
def test_a_release_that_is_sent_again_changes_nothing(new: Any) -> None:
    assert {**merged(new, new, new), "apiVersion": None} == {**new, "apiVersion": None}
