from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from deploy.embedded import installation as module
from deploy.embedded.environment import PythonEnvironment
from deploy.embedded.installation import Installation, InstallationError


def make_environment(path: Path, *, version: str = "3.11", packages: dict[str, str] | None = None) -> Path:
    """A virtual environment as far as files tell, of this interpreter."""
    site = path / "lib" / f"python{version}" / "site-packages"
    site.mkdir(parents=True)
    (path / "bin").mkdir()
    (path / "bin" / "python3").symlink_to(sys.executable)
    home = Path(sys.base_prefix) / "bin"
    (path / "pyvenv.cfg").write_text(f"home = {home}\nversion = {version}.0\n")
    for name, number in (packages or {"numpy": "1.26.4"}).items():
        metadata = site / f"{name}-{number}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return path


def running_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_running_environment_is_complete() -> None:
    installation = Installation.find()
    assert os.access(installation.binary, os.X_OK)
    assert installation.environment.path == Path(sys.prefix)
    variables = installation.variables()
    assert variables["PATH"].startswith(f"{Path(sys.prefix) / 'bin'}:")
    assert variables["TRITONKIT_NUMPY1_STUB"] == "1"
    libraries = [Path(part) for part in variables["LD_LIBRARY_PATH"].split(":")]
    assert libraries[0].name == "nvidia_pytriton.libs"
    assert (libraries[1] / f"libpython{running_version()}.so.1.0").is_file()


def test_no_pythonpath_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/srv/x")
    monkeypatch.setenv("PYTHONHOME", "/srv/y")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/srv/cuda")
    variables = Installation.find().variables()
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(variables)
    assert variables["LD_LIBRARY_PATH"].endswith(":/srv/cuda")


def test_numpy_2_is_refused(tmp_path: Path) -> None:
    path = make_environment(tmp_path / "venv", version=running_version(), packages={"numpy": "2.0.0"})
    with pytest.raises(InstallationError) as caught:
        Installation.find(path)
    [piece] = caught.value.missing
    assert piece.name == "numpy"
    assert piece.sentence.startswith(f"numpy 2.0.0 is installed in {path}; with it")
    assert piece.remedy == f"{path}/bin/python3 -m pip install 'numpy>=1.26,<2'"


def test_another_environment_with_numpy_1_is_taken(tmp_path: Path) -> None:
    path = make_environment(tmp_path / "venv", version=running_version())
    assert Installation.find(path).variables()["PATH"].startswith(f"{path}/bin:")


def test_a_pth_file_that_the_stub_cannot_read_is_refused(tmp_path: Path) -> None:
    path = make_environment(tmp_path / "venv", version=running_version())
    [site] = path.glob("lib/python3.*/site-packages")
    (site / "fine.pth").write_text("/srv/with a space\n")
    assert Installation.find(path)
    (site / "project.pth").write_text("/srv/prö\n", encoding="utf-8")
    with pytest.raises(InstallationError) as caught:
        Installation.find(path)
    [piece] = caught.value.missing
    assert piece.name == "paths"
    assert piece.sentence.startswith(f"{site / 'project.pth'} names a path that is not ASCII")


def test_every_missing_piece_is_named(tmp_path: Path) -> None:
    path = make_environment(tmp_path / "venv", version="3.7", packages={"pip": "23.0"})
    (path / "bin" / "python3").unlink()
    with pytest.raises(InstallationError) as caught:
        Installation.find(path)
    assert [piece.name for piece in caught.value.missing] == ["python", "stub", "libpython", "numpy"]
    text = str(caught.value)
    assert "has no stub for Python 3.7; it has 3.8, 3.9, 3.10, 3.11, 3.12, 3.13" in text
    assert all(piece.remedy in text for piece in caught.value.missing)


def test_no_environment_at_all(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="is no Python environment"):
        Installation.find(tmp_path)


def test_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    path = make_environment(tmp_path / "venv", version=running_version())
    with pytest.raises(InstallationError) as caught:
        Installation.find(path)
    [piece] = caught.value.missing
    assert piece.remedy == f"{path}/bin/python3 -m pip install nvidia-pytriton==0.7.0"


def test_an_incomplete_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    path = make_environment(tmp_path / "venv", version=running_version())
    (path / "lib" / f"python{running_version()}" / "site-packages" / "pytriton").mkdir()
    with pytest.raises(InstallationError) as caught:
        Installation.find(path)
    sentences = [piece.sentence for piece in caught.value.missing if piece.name == "wheel"]
    assert len(sentences) == 3
    assert all(sentence.startswith("nvidia-pytriton is incomplete: ") for sentence in sentences)


def test_libpython_remedies(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.4.1\n")
    debian = PythonEnvironment(tmp_path)
    assert debian.libpython() is None
    assert debian.libpython_remedy() == "apt-get install libpython3.4"
    (tmp_path / "pyvenv.cfg").write_text("home = /home/me/.pyenv/versions/3.4.1/bin\nversion_info = 3.4.1.final.0\n")
    pyenv = PythonEnvironment(tmp_path)
    assert pyenv.version == "3.4"
    assert pyenv.libpython_remedy() == "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.4.1"


def test_system_packages_count_where_they_are_allowed(tmp_path: Path) -> None:
    base = make_environment(tmp_path / "base", packages={"numpy": "2.1.0"})
    venv = make_environment(tmp_path / "venv", packages={"pip": "23.0"})
    settings = f"home = {base}/bin\nversion = 3.11.0\ninclude-system-site-packages = "
    (venv / "pyvenv.cfg").write_text(settings + "false\n")
    assert PythonEnvironment(venv).package_version("numpy") is None
    (venv / "pyvenv.cfg").write_text(settings + "true\n")
    assert PythonEnvironment(venv).package_version("numpy") == "2.1.0"


class TestBackendDirectory:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return tmp_path / "cache" / "tritonkit"

    def test_is_made_once(self, cache: Path) -> None:
        installation = Installation.find()
        directory = installation.backend_directory()
        stub = directory / "python" / "triton_python_backend_stub"
        assert os.access(stub, os.X_OK)
        assert (directory / "python" / "libtriton_python.so").is_file()
        before = stub.stat().st_ino
        assert installation.backend_directory() == directory
        assert stub.stat().st_ino == before
        assert list(cache.iterdir()) == [directory]

    def test_is_mended_when_damaged(self, cache: Path) -> None:
        installation = Installation.find()
        library = installation.backend_directory() / "python" / "libtriton_python.so"
        library.write_bytes(b"half a file")
        directory = installation.backend_directory()
        assert library.stat().st_size > 1_000_000
        assert list(cache.iterdir()) == [directory]

    def test_is_safe_for_many_at_once(self, cache: Path) -> None:
        installation = Installation.find()
        barrier = threading.Barrier(6)
        results: list[Path] = []

        def make() -> None:
            barrier.wait()
            results.append(installation.backend_directory())

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 6
        assert list(cache.iterdir()) == [results[0]]

    def test_without_a_home_a_private_directory_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
        directory = module.cache_directory()
        assert directory == tmp_path / f"tritonkit-{os.getuid()}"
        assert directory.stat().st_mode & 0o777 == 0o700
