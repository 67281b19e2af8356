"""TensorRT plans that another machine or trtexec built: judged where TensorRT is, refused where it is not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_projects import digits_graph, digits_project, files, merged, model, with_batch
from trtexec_stand_in import plan, program

from generator.lint.check import check
from generator.lint.files import MemoryFolder
from generator.lint.server import Gpu, Server

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PRODUCTION = {"targets": {"production": {"server": "25.03", "engine": "tensorrt", "gpu": "h200"}, "embedded": None}}
FP16 = merged(PRODUCTION, model(precision="fp16"))
ALL = {"pixels": [[1, 1, 8, 8], [32, 1, 8, 8], [32, 1, 8, 8]]}
PREPARED = Path("build", "engines", "prepared", "production", "digits_engine", "1")
TAKE = ("build", "specs/digits.yaml", "--target", "production", "--json", "--from")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return digits_project(tmp_path / "project", FP16).root


def put(root: Path, data: bytes) -> str:
    (root / "model.plan").write_bytes(data)
    return "model.plan"


def good(version: tuple[int, ...] = (10, 9, 0, 34), shapes: dict[str, Any] | None = None) -> bytes:
    return plan(digits_graph(), version, [shapes or ALL])


def manifest(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(root.joinpath("engines/production/digits_engine/1/engine.json").read_text())
    return found


def refused(done: subprocess.CompletedProcess[str], root: Path) -> str:
    """The one error that was told."""
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    [outcome] = json.loads(done.stdout)
    [error] = [problem for problem in outcome["problems"] if problem["severity"] == "error"]
    assert (outcome["status"], error["code"]) == ("refused", "TK992")
    assert not (root / "engines").exists()
    return f"{error['message']} {error['hint']}"


def test_a_good_plan_is_judged_and_installed(root: Path, command: Run) -> None:
    done = command(root, *TAKE, put(root, good()), tensorrt="10.9.0", STAND_IN_GPU_NAME="NVIDIA H200")
    assert done.returncode == 0, done.stderr
    found = manifest(root)
    assert found["elsewhere"] == {"file": "model.plan", "tensorrt": "10.9.0.34"}
    assert (found["judged_with"]["gpu"], found["judged_with"]["compute_capability"]) == ("NVIDIA H200", "9.0")
    assert found["accuracy"]["metric"]["value"] >= 0.98
    assert "compiled" not in found
    listed = json.loads(command(root, "engines", "--json").stdout)
    assert [one["state"] for one in listed if one["target"] == "production"] == ["current"]
    assert "tensorrt fp16, built elsewhere" in command(root, "engines").stdout
    assert command(root, "render", "--target", "production").returncode == 0
    assert (root / "model_repository" / "production" / "digits_engine" / "1" / "model.plan").read_bytes() == good()


def test_where_nothing_runs_it_that_is_said(root: Path, command: Run) -> None:
    said = refused(command(root, *TAKE, put(root, good())), root)
    assert "model.plan cannot be judged on this machine: neither the package tensorrt" in said
    assert "run the same command where TensorRT's Python package and a GPU (h200) are" in said


@pytest.mark.parametrize(
    ("data", "tensorrt", "said"),
    [
        (good((10, 4, 0, 26)), "10.4.0", "was built by TensorRT 10.4.0.26; Triton 25.03 has 10.9.0"),
        (good((10, 11, 0, 1)), "10.11.0", "was built by TensorRT 10.11.0.1; Triton 25.03 has 10.9.0"),
        (good(), "10.15.1", "was built by TensorRT 10.9.0.34, and here is 10.15.1, which cannot load it"),
        (good()[:-10], "10.9.0", "and its header tells of"),
        (digits_graph(), "10.9.0", "is no TensorRT plan: it begins with 08 08"),
        (b"", "10.9.0", "is empty"),
        (
            good(shapes={"pixels": [[1, 1, 8, 8], [8, 1, 8, 8], [16, 1, 8, 8]]}), "10.9.0",
            "does not take `pixels` [32, 1, 8, 8]",
        ),
        (plan(with_batch(digits_graph(), 32), (10, 9, 0, 34), []), "10.9.0", "does not take `pixels` [1, 1, 8, 8]"),
    ],
)  # fmt: skip
def test_what_is_refused_before_it_runs(root: Path, command: Run, data: bytes, tensorrt: str, said: str) -> None:
    assert said in refused(command(root, *TAKE, put(root, data), tensorrt=tensorrt), root)


@pytest.fixture
def compatible(tmp_path: Path) -> Path:
    return digits_project(tmp_path / "p", merged(FP16, model(build={"version_compatible": True}))).root


def test_a_version_compatible_plan_may_be_older(compatible: Path, command: Run) -> None:
    root, here = compatible, {"tensorrt": "10.9.0", "STAND_IN_GPU_NAME": "NVIDIA H200"}
    done = command(root, *TAKE, put(root, good((10, 4, 0, 26))), **here)
    assert done.returncode == 0, done.stderr
    assert manifest(root)["elsewhere"]["tensorrt"] == "10.4.0.26"
    assert manifest(root)["judged_with"]["version_compatible"] is True
    # A server is rendered with it: what was seen here is what TK703 goes by.
    done = command(root, "render", "--target", "production")
    assert done.returncode == 0, done.stderr
    assert command(root, *TAKE, put(root, good()), **here).returncode == 0
    assert "version_compatible" not in manifest(root)["judged_with"], "of a plan of the same version nothing shows it"


def test_the_target_may_not_load_what_the_older_tensorrt_here_does(compatible: Path, command: Run) -> None:
    said = refused(command(compatible, *TAKE, put(compatible, good((10, 4, 0, 26))), tensorrt="10.4.0"), compatible)
    assert "whether Triton 25.03 loads it, which has 10.9.0, does not show here" in said
    assert "judge it with the TensorRT of that release" in said


def test_the_gpu_that_it_was_judged_on_has_to_be_the_servers(root: Path, command: Run) -> None:
    a100 = {"STAND_IN_GPU_NAME": "NVIDIA A100-SXM4-80GB", "STAND_IN_GPU_MAJOR": "8"}
    assert command(root, *TAKE, put(root, good()), tensorrt="10.9.0", **a100).returncode == 0
    done = command(root, "render", "--target", "production")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "TK797" in said
    assert "the engine was judged on an NVIDIA A100-SXM4-80GB (compute capability 8.0), and the server runs" in said
    # And where the machine itself is asked, by the manifest that was written:
    folder = root.joinpath("engines/production/digits_engine/1")
    served = {
        "m/config.pbtxt": b'platform: "tensorrt_plan"\ninstance_group { kind: KIND_GPU }\n',
        **{f"m/1/{file.name}": file.read_bytes() for file in folder.iterdir()},
    }

    def codes(*machine: Gpu) -> set[str]:
        server = Server("25.03", frozenset({"tensorrt"}), gpus=1, machine=machine)
        return {problem.code for problem in check([MemoryFolder(served, "")], server).problems}

    h200 = codes(Gpu("NVIDIA H200", "9.0"))
    assert h200 - codes(Gpu("NVIDIA A100-SXM4-80GB", "8.0")) == {"TK797"}
    assert "TK797" in codes()


def test_several_engines_are_refused_by_name(root: Path, command: Run) -> None:
    done = command(root, "build", "--from", put(root, good()))
    assert done.returncode == 1
    assert "2 were named: embedded: digits_engine 1; production: digits_engine 1" in done.stderr


# trtexec ---------------------------------------------------------------------------------------------------


@pytest.fixture
def trtexec(tmp_path: Path) -> str:
    return str(program(tmp_path))


def build(
    command: Run, root: Path, *words: str, gpu: bool = True, **more: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The outcome of production's engine, and what was told of it without the target's notes."""
    done = command(root, "build", "--target", "production", "--json", *words, gpu=gpu, **more)
    [outcome] = json.loads(done.stdout)
    assert done.returncode == (1 if outcome["status"] == "refused" else 0), done.stderr
    return outcome, outcome["problems"]


def test_trtexec_builds_a_plan_that_waits_for_its_judge(root: Path, command: Run, trtexec: str) -> None:
    outcome, [note] = build(command, root, TRTEXEC=trtexec)
    assert (outcome["status"], note["code"], note["severity"]) == ("prepared", "TK995", "note")
    assert "it has not been judged, and is not installed" in note["message"]
    way = f"`tritonkit build specs/digits.yaml --target production --from digits_engine/1={PREPARED / 'model.plan'}`"
    assert note["hint"].endswith(way)
    assert not (root / "engines").exists()
    assert (root / PREPARED / "model.plan").is_file()
    said = command(root, "build", "--target", "production", gpu=True, TRTEXEC=trtexec).stderr
    assert "graph, commands and plan are in" in said
    assert "without tensorrt" not in said
    # Where TensorRT is, that very command brings it in.
    done = command(root, *way.strip("`").split()[1:], tensorrt="10.9.0")
    assert done.returncode == 0, done.stderr
    assert manifest(root)["elsewhere"]["tensorrt"] == "10.9.0.0"


def test_on_path_it_is_found_too(root: Path, command: Run, trtexec: str) -> None:
    path = f"{Path(trtexec).parent}{os.pathsep}{os.environ['PATH']}"
    assert build(command, root, PATH=path)[1][0]["code"] == "TK995"


def test_a_plan_stays_while_graph_and_command_do(root: Path, command: Run, trtexec: str) -> None:
    _, [note] = build(command, root, TRTEXEC=trtexec)
    assert note["code"] == "TK995"
    file = root / PREPARED / "model.plan"
    file.write_bytes(b"built in the image meanwhile")
    # As after build.sh: nothing builds it again, and nobody needs a trtexec to be told of it.
    for more in (dict[str, str](), {"TRTEXEC": trtexec}):
        assert build(command, root, **more)[1][0]["code"] == "TK995"
        assert file.read_bytes() == b"built in the image meanwhile"
    build(command, root, "--force", TRTEXEC=trtexec)
    assert file.read_bytes().startswith(b"ftrt")
    spec = root / "specs" / "digits.yaml"
    spec.write_text(spec.read_text().replace("max_drop: 0.005", "max_drop: 0.006"))
    assert build(command, root)[1][0]["code"] == "TK995", "how it is judged changes no plan"
    spec.write_text(spec.read_text().replace("precision: fp16", "precision: tf32"))
    outcome, problems = build(command, root)
    assert (outcome["status"], problems) == ("prepared", [])
    assert not file.exists(), "a plan of another graph would be taken for this one's"


def test_one_of_another_version_is_not_used(root: Path, command: Run, trtexec: str) -> None:
    outcome, [note] = build(command, root, TRTEXEC=trtexec, TRTEXEC_VERSION="8601")
    assert (outcome["status"], note["code"]) == ("prepared", "TK987")
    assert "is of TensorRT 8.6.1, and Triton 25.03 has 10.9.0: it is not used" in note["message"]
    assert not (root / PREPARED / "model.plan").exists()


def test_one_of_an_older_version_is_used_for_a_version_compatible_plan(
    compatible: Path, command: Run, trtexec: str
) -> None:
    outcome, [note] = build(command, compatible, TRTEXEC=trtexec, TRTEXEC_VERSION="100400")
    assert (outcome["status"], note["code"]) == ("prepared", "TK995")
    assert (compatible / PREPARED / "model.plan").is_file()
    (compatible / PREPARED / "model.plan").unlink()
    assert build(command, compatible, TRTEXEC=trtexec, TRTEXEC_VERSION="101100")[1][0]["code"] == "TK987"


def test_a_trtexec_that_is_not_there_is_told(root: Path, command: Run) -> None:
    outcome, [note] = build(command, root, TRTEXEC="/opt/nowhere/trtexec")
    assert (outcome["status"], note["code"], note["severity"]) == ("prepared", "TK987", "note")
    assert "TRTEXEC names /opt/nowhere/trtexec, and there is no such program" in note["message"]


def test_a_changed_plugin_makes_the_plan_anothers(tmp_path: Path, command: Run, trtexec: str) -> None:
    root = digits_project(tmp_path / "p", merged(FP16, model(build={"plugins": ["plugins/a.so"]}))).root
    library = root / "plugins" / "a.so"
    library.parent.mkdir()
    library.write_bytes(b"one")
    assert build(command, root, TRTEXEC=trtexec)[1][0]["code"] == "TK995"
    assert build(command, root)[1][0]["code"] == "TK995"
    library.write_bytes(b"another")
    assert build(command, root)[1] == []
    assert not (root / PREPARED / "model.plan").exists()


def test_the_command_counts_from_the_current_folder(tmp_path: Path, command: Run, trtexec: str) -> None:
    root = digits_project(tmp_path / "p", FP16).root
    (root / "some where").mkdir()
    _, [note] = build(command, root / "some where", TRTEXEC=trtexec)
    told = shlex.split(note["hint"].partition("`")[2].rstrip("`"))
    done = command(root / "some where", *told[1:], tensorrt="10.9.0")
    assert done.returncode == 0, done.stderr
    assert manifest(root)["elsewhere"]["file"] == "model.plan"


@pytest.mark.parametrize("stage", ["compile", "validate", "measure"])
def test_until_a_stage_that_nothing_here_reaches(root: Path, command: Run, trtexec: str, stage: str) -> None:
    outcome, [note] = build(command, root, "--until", stage, TRTEXEC=trtexec)
    assert (outcome["status"], note["code"]) == ("prepared", "TK995")


def test_without_a_gpu_it_is_not_tried(root: Path, command: Run, trtexec: str) -> None:
    outcome, [note] = build(command, root, gpu=False, TRTEXEC=trtexec, TRTEXEC_FAILS="no device")
    assert (outcome["status"], note["code"], note["severity"]) == ("prepared", "TK987", "note")
    assert f"{trtexec} is here and not used: it builds on a GPU, and NVIDIA's driver" in note["message"]


@pytest.mark.parametrize(
    ("bytes_", "said"),
    [
        (b"", "is empty"),
        (b"hello", "is no TensorRT plan"),
        (plan(b"", (10, 9, 0, 34), [])[:-1], "has 44 bytes, and its header tells of 45"),
    ],
)
def test_a_worthless_plan_is_not_believed(root: Path, command: Run, tmp_path: Path, bytes_: bytes, said: str) -> None:
    worthless, file = tmp_path / "worthless.plan", tmp_path / "trtexec"
    worthless.write_bytes(bytes_)
    file.write_text(
        "#!/bin/sh\n"
        "if [ $1 = --help ]; then echo '[TensorRT v100900]'; exit 0; fi\n"
        f'for word in "$@"; do case $word in --saveEngine=*) cp {worthless} "${{word#*=}}";; esac; done\n'
    )
    file.chmod(0o755)
    outcome, [error] = build(command, root, TRTEXEC=str(file))
    assert (outcome["status"], error["code"]) == ("refused", "TK955")
    assert f"ended well and wrote no plan: model.plan {said}" in error["message"]
    assert not (root / PREPARED / "model.plan").exists()


def test_its_errors_are_the_builds(root: Path, command: Run, trtexec: str) -> None:
    outcome, [error] = build(command, root, TRTEXEC=trtexec, TRTEXEC_FAILS="[TRT] no tactic for layer conv_0")
    assert (outcome["status"], error["code"]) == ("refused", "TK955")
    assert "no tactic for layer conv_0" in error["message"]
    assert sorted(file.name for file in (root / PREPARED).iterdir()) == ["build.sh", "job.yaml", "model.onnx"]
    assert files(root) == {}
