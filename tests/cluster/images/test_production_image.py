"""The production Dockerfile on a stand-in for NVIDIA's image, which no test can pull: each instruction runs, and serves.

The stand-in has what the Dockerfile relies on: /opt/tritonserver on PATH, Python with pip and its lock of foreign packages
for the system, user 1000, and its own entry point. Its server is the embedded image's, of 24.10, and its Python is 3.11:
so the packages are those of the embedded image's lock, and the spec's release is one that has no newer flag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker_engine import DockerEngine
from image_calls import CLONE, KEY, get, make_image, wait_until_healthy

from deploy.docker import packages
from deploy.docker.base import parse
from deploy.docker.container import Ports, options
from deploy.docker.engine import Engine
from deploy.docker.image import Built, Wanted, build
from deploy.docker.request import DOCKERFILES, Request, prepare
from generator.gate_set import read_gate_set
from generator.plan import Tensor
from generator.project import Project
from tritonkit import Pipeline

STAND_IN = "tritonkit-test-tritonserver:24.11-py3"
DOCKERFILE = """\
FROM {embedded} AS embedded
FROM {base}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 libpython3.11 python3-pip \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home triton-server
COPY --from=embedded /opt/tritonserver/ /opt/tritonserver/
ENV PATH=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LD_LIBRARY_PATH=/opt/tritonserver/lib
WORKDIR /opt/tritonserver
ENTRYPOINT ["/bin/false"]
"""


@pytest.fixture(scope="module")
def stand_in(engine: DockerEngine, base: str, built: dict[str, Any]) -> str:
    text = DOCKERFILE.format(base=base.partition("@")[0], embedded=built["image"])
    return make_image(engine, STAND_IN, text, {})


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """The digits in one Python model with ONNX Runtime in it: what needs the most of the image's Python."""
    root = tmp_path_factory.mktemp("production")
    (root / "specs").mkdir()
    for name in ("models", "data", "steps"):
        (root / name).symlink_to(CLONE / name)
    spec = yaml.safe_load((CLONE / "specs" / "digits.yaml").read_text())
    spec["layout"] = "fused"
    spec["targets"]["production"] = {
        "server": "24.11",
        "instances": [{"kind": "cpu", "count": 1}],
        "batching": {"queue": None},
    }
    (root / "specs" / "digits.yaml").write_text(yaml.safe_dump(spec))
    return prepare(Project(root), [], target="production", embedded=False, allow_vulnerable=True)


@pytest.fixture(scope="module")
def steps() -> list[str]:
    """What the build says of its steps."""
    return []


@pytest.fixture(scope="module")
def production(engine: DockerEngine, request_: Request, stand_in: str, steps: list[str]) -> Built:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(packages.LOCKS, "production", packages.LOCKS["embedded"])
        return build(request_, Wanted(base=parse(stand_in)), Engine(engine.client), steps.append)


@pytest.fixture(scope="module")
def container(engine: DockerEngine, request_: Request, production: Built) -> Iterator[Any]:
    made = engine.client.containers.run(detach=True, **options(request_, production.name, Ports(0, 0, 0), KEY))
    try:
        wait_until_healthy(made)
        yield made
    finally:
        made.remove(force=True)


def test_each_instruction_of_the_dockerfile_has_run(production: Built, steps: list[str]) -> None:
    text = DOCKERFILES["production"].read_text().replace("\\\n", " ")
    words = [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith(("#", " "))]
    wanted = [*words, "LABEL", "CMD"]
    done = [step.partition(": ")[2].split()[0] for step in steps if step.startswith("step ")]
    assert done == wanted


def test_the_image_is_what_the_dockerfile_says(engine: DockerEngine, production: Built, request_: Request) -> None:
    about = engine.client.images.get(production.name).attrs["Config"]
    assert (about["User"], about["Entrypoint"], about["Cmd"]) == (
        "1000:1000",
        ["/opt/tritonkit/start"],
        request_.arguments(),
    )
    assert set(about["ExposedPorts"]) == {"8000/tcp", "8001/tcp", "8002/tcp"}
    assert about["Healthcheck"]["Test"] == ["CMD", "python3", "-I", "/opt/tritonkit/healthy.py"]
    assert about["Labels"]["io.tritonkit.target"] == "production"
    assert about["Labels"]["org.opencontainers.image.base.name"] == STAND_IN


def test_it_answers_right(container: Any) -> None:
    gate = read_gate_set(
        CLONE / "data" / "digits-gate.npz", [Tensor("image", "STRING", (1,), encoded=True)], "png"
    )  # fmt: skip
    port = container.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
    with Pipeline("digits", f"127.0.0.1:{port}", protocol="http") as digits:
        answers = digits.infer([item["image"] for item in gate.items[:32]])
    right = sum(
        answer.label[0] == str(label) for answer, label in zip(answers, gate.labels[:32].reshape(-1), strict=True)
    )
    assert right >= 31
    assert get(f"127.0.0.1:{port}", "/v2/logging") == 403
    assert get(f"127.0.0.1:{port}", "/v2/logging", {"tritonkit-key": KEY}) == 200


def test_models_get_the_packages_of_the_image_and_not_the_systems(container: Any, production: Built) -> None:
    told = container.exec_run(
        [
            "python3",
            "-I",
            "-c",
            "import json, numpy, cv2, onnxruntime as o; print(json.dumps([numpy.__file__, cv2.__file__, o.__file__]))",
        ]
    )
    assert told.exit_code == 0, told.output.decode()
    assert all(Path(file).is_relative_to("/opt/tritonkit/packages") for file in json.loads(told.output))
    assert production.components > 50


def test_it_runs_as_the_images_user_with_nothing_more(container: Any) -> None:
    assert container.exec_run("id -un").output == b"triton-server\n"
    status = dict(
        line.split(":\t", 1)
        for line in container.exec_run("cat /proc/1/status").output.decode().splitlines()
        if ":\t" in line
    )
    assert status["Name"] == "tritonserver"
    assert {status[name].strip("0") for name in ("CapPrm", "CapEff", "CapBnd")} == {""}
    assert container.exec_run(["sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null"]).output == b""
    assert container.exec_run("touch /opt/tritonkit/packages/x").exit_code != 0
    container.stop(timeout=60)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0
