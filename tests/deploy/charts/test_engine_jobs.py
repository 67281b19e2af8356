"""The Jobs that build engines: the same as `generator.engine.compile.kubernetes_job` writes for a cluster without Helm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import triton_chart as chart

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.kubernetes_job import KubernetesJob

IMAGE = "registry.example.com/tritonserver:26.07-py3"
SETTINGS = Settings("fp16", [{"x": ShapeRange((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))}], workspace_mib=1024)


def values_of(job: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Values with one Job."""
    build = {"enabled": True, "image": IMAGE, "claimName": "models", "jobs": [job]}
    return {"engineBuild": build} | more


def as_values(manifest: dict[str, Any], product: str) -> dict[str, Any]:
    """What a values file says for the Job that a spec comes to."""
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    return {
        "name": "digits-engine",
        "gpuProduct": product,
        "command": container["command"],
        "subPath": container["volumeMounts"][0]["subPath"],
        "memory": container["resources"]["requests"]["memory"],
        "cpu": container["resources"]["requests"]["cpu"],
    }


def test_the_chart_and_the_spec_come_to_the_same_job() -> None:
    product = {"nvidia.com/gpu.product": "NVIDIA-H200"}
    spec_side = KubernetesJob("digits-engine", IMAGE, 11, "models", folder="digits/1", node_selector=product)
    expected = spec_side.manifest(SETTINGS)
    [job] = chart.of_kind("Job", values_of(as_values(expected, "NVIDIA-H200")))
    assert job["apiVersion"] == expected["apiVersion"]

    spec, wanted = job["spec"], dict(expected["spec"])
    # A release keeps its Job, so that the next upgrade does not build once more.
    del wanted["ttlSecondsAfterFinished"]
    assert {name: spec[name] for name in spec if name != "template"} == {
        n: wanted[n] for n in wanted if n != "template"
    }

    ours, theirs = spec["template"]["spec"], wanted["template"]["spec"]
    beside = {"serviceAccountName", "enableServiceLinks", "tolerations"}
    # trtexec comes first, and then what gives the plan its name and its mark.
    assert ours.keys() - theirs.keys() == beside | {"initContainers"}
    for name in theirs.keys() - {"containers", "securityContext"}:
        assert ours[name] == theirs[name], name
    assert ours["securityContext"] == theirs["securityContext"] | {"fsGroupChangePolicy": "OnRootMismatch"}
    [mine], [other] = ours["initContainers"], theirs["containers"]
    # The same command, but for the name that the plan has until it is whole.
    [mark] = marked(values_of(as_values(expected, "NVIDIA-H200")))
    until = f".building-{mark.rpartition('-')[2]}"
    runs = [word + until if word.startswith("--saveEngine=") else word for word in other.pop("command")]
    ran = mine.pop("command")
    assert (ran[:2], ran[3], ran[8:]) == (["sh", "-c"], "engine-build", runs)
    assert {n: mine[n] for n in mine.keys() - {"env", "imagePullPolicy", "terminationMessagePolicy"}} == other


def test_a_node_with_the_gpus_own_taint_takes_it() -> None:
    [job] = chart.of_kind(
        "Job", values_of({"name": "a", "gpuProduct": "", "command": ["c"], "memory": "1Gi", "cpu": 1})
    )
    spec = job["spec"]["template"]["spec"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert "nodeSelector" not in spec


def test_the_servers_image_builds_where_no_other_is_named() -> None:
    job = {"name": "a", "gpuProduct": "", "command": ["c"], "memory": "1Gi", "cpu": "1"}
    values = chart.merged(values_of(job), {"engineBuild": {"image": ""}, "image": {"release": "26.09"}})
    [found] = chart.of_kind("Job", values)
    spec = found["spec"]["template"]["spec"]
    images = {container["image"] for container in spec["initContainers"] + spec["containers"]}
    assert images == {"nvcr.io/nvidia/tritonserver:26.09-py3"}


def test_another_specification_is_another_job_and_the_same_one_stays() -> None:
    """What a Job runs cannot be changed: an upgrade that tried would fail."""
    job = {"name": "a", "gpuProduct": "", "command": ["c"], "memory": "1Gi", "cpu": "1"}

    def name(**changed: str) -> str:
        [found] = chart.of_kind("Job", values_of(job | changed))
        made: str = found["metadata"]["name"]
        return made

    assert len({name(), name(memory="2Gi"), name(gpuProduct="NVIDIA-L4")}) == 3
    [other] = chart.of_kind("Job", values_of(job, sharedMemoryBytes=1 << 30, workload={"replicas": 5}))
    assert other["metadata"]["name"] == name()


# The pods wait for the plans ---------------------------------------------------------------------------------

ON_THE_CLAIM = chart.CHART / "ci" / "engines-values.yaml"


def waiting(values: chart.Values) -> dict[str, Any]:
    """The init container of the servers that waits."""
    [container] = chart.pod(values)["spec"]["initContainers"]
    assert container["name"] == "wait-for-engines"
    return dict(container)


def waited_for(values: chart.Values) -> list[str]:
    """The files that it waits for, on the claim."""
    command: list[str] = waiting(values)["command"]
    return [word.removeprefix("/claim/") for word in command[command.index("wait-for-engines") + 1 :]]


def marked(values: chart.Values) -> list[str]:
    """The files that the Jobs make on the claim when a plan is whole."""
    found = []
    for job in chart.of_kind("Job", values):
        [last] = job["spec"]["template"]["spec"]["containers"]
        folder, key, hashed = last["command"][4:7]
        [mount] = last["volumeMounts"]
        assert folder == mount["mountPath"]
        found.append("/".join(part for part in (mount.get("subPath"), f".built-{key}-{hashed}") if part))
    return found


def test_the_pods_wait_for_what_the_jobs_make() -> None:
    values = chart.read(ON_THE_CLAIM)
    [job] = values["engineBuild"]["jobs"]
    root = {name: value for name, value in job.items() if name != "subPath"} | {"name": "at-the-root"}
    both = chart.merged(values, {"engineBuild": {"jobs": [job, root]}})
    assert waited_for(both) == marked(both)
    assert [path.rpartition("/")[0] for path in marked(both)] == ["production/digits_engine/1", ""]
    # Where it looks is the root of the claim, and nothing can be written there.
    [mount] = waiting(both)["volumeMounts"]
    assert mount == {"name": "model-repository", "mountPath": "/claim", "readOnly": True}


def test_a_folder_of_the_repository_is_found_wherever_that_is_on_the_claim() -> None:
    values = chart.read(chart.CHART / "ci" / "engines-derived-values.yaml")
    at_root = chart.merged(values, {"modelRepository": {"persistentVolumeClaim": {"subPath": ""}}})
    deep = chart.merged(values, {"modelRepository": {"persistentVolumeClaim": {"subPath": "a/b/"}}})
    for one, folder in ((values, "production/digits_engine/1"), (at_root, "digits_engine/1"),
                        (deep, "a/b/digits_engine/1")):  # fmt: skip
        assert waited_for(one) == marked(one)
        assert [path.rpartition("/")[0] for path in marked(one)] == [folder]


def test_another_graph_for_the_same_command_is_built_and_waited_for() -> None:
    values = chart.read(chart.CHART / "ci" / "engines-derived-values.yaml")
    [job] = values["engineBuild"]["jobs"]
    other = chart.merged(values, {"engineBuild": {"jobs": [job | {"request": "other"}]}})
    assert marked(values) != marked(other) == waited_for(other)
    [first], [second] = chart.of_kind("Job", values), chart.of_kind("Job", other)
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_a_job_runs_on_the_gpu_of_the_pods_unless_it_says_another() -> None:
    values = chart.read(chart.CHART / "ci" / "engines-derived-values.yaml")
    label = "nvidia.com/gpu.product"
    [job] = chart.of_kind("Job", values)
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {label: "NVIDIA-H200"}
    [entry] = values["engineBuild"]["jobs"]
    named = {"gpu": {"product": ""}, "engineBuild": {"jobs": [entry | {"gpuProduct": "NVIDIA-L4"}]}}
    [job] = chart.of_kind("Job", chart.merged(values, named))
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {label: "NVIDIA-L4"}


JOB = {"name": "a", "gpuProduct": "", "command": ["c"], "memory": "1Gi", "cpu": "1"}
CLAIM = {"modelRepository": {"source": "persistentVolumeClaim", "persistentVolumeClaim": {"claimName": "models"}}}


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        (
            {"subPath": "m/1", "modelFolder": "m/1"},
            "engineBuild.jobs has a with a modelFolder and a subPath: leave one of them out (subPath counts from the "
            "claim's root)",
        ),
        (
            {"modelFolder": "../1"},
            'engineBuild.jobs has a with the modelFolder "../1": it is a version\'s folder in the repository, as in '
            "digits/1",
        ),
        (
            {"gpuProduct": "NVIDIA-L4"},
            "engineBuild.jobs builds a on NVIDIA-L4, and the pods that wait for it run on NVIDIA-H200, which cannot load "
            "it: give both the same, or leave the Job's gpuProduct empty",
        ),
    ],
)
def test_jobs_that_contradict_themselves_or_the_pods(job: dict[str, str], complaint: str) -> None:
    values = values_of(JOB | job, gpu={"product": "NVIDIA-H200"}) | CLAIM
    assert chart.complaints(values) == [complaint]


@pytest.mark.parametrize(
    "other",
    [
        {"engineBuild": {"image": "registry.example.com/tensorrt:11"}},
        {"image": {"tag": "26.07-other"}},
        {"gpu": {"product": "NVIDIA-L4"}},
    ],
    ids=["its image", "the server's image", "the GPU"],
)
def test_another_plan_is_waited_for_anew(other: chart.Values) -> None:
    """The mark of an engine that was built before says nothing of the next one."""
    values = chart.read(chart.CHART / "ci" / "engines-derived-values.yaml")
    after = chart.merged(values, other)
    assert marked(values) == waited_for(values) != waited_for(after) == marked(after)


def test_another_command_makes_another_plan() -> None:
    values = chart.read(ON_THE_CLAIM)
    [job] = values["engineBuild"]["jobs"]
    other = chart.merged(values, {"engineBuild": {"jobs": [job | {"command": [*job["command"], "--fp16"]}]}})
    assert marked(values) == waited_for(values) != waited_for(other) == marked(other)


@pytest.mark.parametrize(
    "other",
    [
        {"commonLabels": {"team": "vision"}},
        {"securityContext": {"runAsUser": 1001}},
        {"serviceAccount": {"name": "others"}},
    ],
    ids=["a label", "the user", "the account"],
)
def test_what_decides_no_plan_is_another_job_that_finds_it_built(other: chart.Values) -> None:
    """The Job has to be another one, since none can be changed; what it would build is there."""
    values = chart.read(ON_THE_CLAIM)
    after = chart.merged(values, other)
    assert marked(values) == waited_for(after) == marked(after)
    [first], [second] = chart.of_kind("Job", values), chart.of_kind("Job", after)
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_two_stages_of_one_folder_have_marks_of_their_own_and_two_jobs_for_one_plan_are_refused() -> None:
    values = chart.read(ON_THE_CLAIM)
    [job] = values["engineBuild"]["jobs"]
    stage = job | {"name": "second", "command": ["trtexec", "--saveEngine=/work/second.plan"]}
    both = chart.merged(values, {"engineBuild": {"jobs": [job, stage]}})
    first, second = waited_for(both)
    assert first.rpartition("-")[0] == "production/digits_engine/1/.built-model.plan"
    assert second.rpartition("-")[0] == "production/digits_engine/1/.built-second.plan"
    twice = chart.merged(values, {"engineBuild": {"jobs": [job, job | {"name": "again"}]}})
    assert chart.complaints(twice) == [
        "engineBuild.jobs has digits-engine-h200 and another one that write the same plan, model.plan of "
        "production/digits_engine/1, and would take away each other's: give each a folder of its own"
    ]


def test_a_rollout_is_given_the_time_that_a_job_may_take() -> None:
    values = chart.read(ON_THE_CLAIM)
    [workload] = chart.of_kind("Deployment", values)
    [job] = chart.of_kind("Job", values)
    assert workload["spec"]["progressDeadlineSeconds"] == 900 + job["spec"]["activeDeadlineSeconds"]


def test_pods_that_read_from_elsewhere_wait_for_nothing_and_it_is_said(tmp_path: Path) -> None:
    values = chart.merged(chart.read(ON_THE_CLAIM), {"engineBuild": {"claimName": "others"}})
    assert "initContainers" not in chart.pod(values)["spec"]
    said = "nothing brings the plans to them"
    assert said in chart.notes(values, tmp_path)
    assert said not in chart.notes(chart.read(ON_THE_CLAIM), tmp_path)


def test_it_goes_on_when_the_last_mark_is_there(tmp_path: Path) -> None:
    command: list[str] = waiting(chart.read(ON_THE_CLAIM))["command"]
    script = command[: command.index("wait-for-engines") + 1]
    first, second = tmp_path / ".built-1", tmp_path / "a folder" / ".built-2"
    first.touch()
    second.parent.mkdir()
    with subprocess.Popen([*script, str(first), str(second)], stdout=subprocess.PIPE, text=True) as waits:
        assert waits.stdout is not None
        assert waits.stdout.readline() == f"waits for the Job that ends with {second}\n"
        second.touch()
        assert waits.wait(timeout=60) == 0
