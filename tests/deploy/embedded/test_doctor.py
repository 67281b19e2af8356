from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded import doctor, processes, state, supervisor
from deploy.embedded.state import ServerRecord


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_this_machine_can_run_the_server() -> None:
    found = doctor.checks()
    assert [check for check in found if not check.ok and not check.note] == []
    names = by_name(found)
    assert {
        "platform",
        "glibc",
        "python",
        "wheel",
        "stub",
        "libpython",
        "numpy",
        "pip",
        "shared memory",
        "gpu",
    } <= set(names)
    assert names["numpy"].found.startswith("1.")
    assert all(check.remedy for check in found if not check.ok)


def test_an_empty_environment_lacks_everything_and_each_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /srv/nowhere/bin\nversion = 3.4.0\n")
    found = doctor.checks(tmp_path)
    failed = {check.name: check for check in found if not check.ok and not check.note}
    assert set(failed) == {"python", "stub", "libpython", "numpy", "tritonclient"}
    assert all(check.remedy for check in failed.values())


def test_shared_memory_too_small() -> None:
    check = by_name(doctor.checks(shm_bytes=1 << 60))["shared memory"]
    assert not check.ok
    assert "--shm-size" in check.remedy


def test_an_environment_that_names_a_path_that_is_not_ascii(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /srv/nowhere/bin\nversion = 3.11.0\n")
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    assert by_name(doctor.checks(tmp_path))["paths"].ok
    (site / "project.pth").write_text("/srv/prö\n", encoding="utf-8")
    check = by_name(doctor.checks(tmp_path))["paths"]
    assert not check.ok
    assert "move" in check.remedy


def test_an_old_pip(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /srv/nowhere/bin\nversion = 3.11.0\n")
    site = tmp_path / "lib" / "python3.11" / "site-packages" / "pip-20.2.4.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: pip\nVersion: 20.2.4\n")
    check = by_name(doctor.checks(tmp_path))["pip"]
    assert not check.ok
    assert check.found == "20.2.4"


def test_a_taken_port_is_a_note(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DEFAULT_PORTS", {"HTTP": listening})
    check = by_name(doctor.checks())["HTTP port"]
    assert not check.ok
    assert check.note
    assert f"process {os.getpid()}" in check.found


@pytest.mark.alone  # any server that starts removes what is stale
def test_running_servers_and_stale_segments_are_shown(tmp_path: Path) -> None:
    ticks = processes.start_ticks(os.getpid()) or 0
    addresses = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    record = ServerRecord(os.getpid(), ticks, *addresses, (), "k", "embedded", "")
    prefix, lock = supervisor.claim_prefix()
    os.close(lock)
    try:
        with state.recorded(tmp_path, record):
            names = by_name(doctor.checks(state_directory=tmp_path))
        assert f"process {os.getpid()} at 127.0.0.1:1" in names["running server"].found
        assert f"/dev/shm/{prefix}*" in names["stale segments"].remedy
    finally:
        supervisor.remove_segments(prefix)


def test_a_hanging_nvidia_smi_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert by_name(doctor.checks())["gpu"].found == "GPU 0: NVIDIA H200"

    def hang(*_args: object, **_options: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert by_name(doctor.checks())["gpu"].found == "nvidia-smi does not answer"


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import deploy.embedded.doctor, deploy.embedded.server; "
        "heavy = {'numpy', 'tritonclient', 'onnx', 'cv2', 'pydantic', 'pytriton', 'grpc'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) if heavy else 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
