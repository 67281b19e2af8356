"""How the engine process is started: by which Python, with which modules; and batches that a real engine refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from engine_instances import DOUBLED, SUMS, Spin, batch, ended, engine_processes, right, save_spins, work_of

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.engine_process import starting, worker
from tritonkit_runtime.parameters import ParameterError, TensorSpec

NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
INSTANCES, TABLE = 4, 400


@pytest.mark.parametrize("name", ["select", "json", "runpy", "numpy", "tritonkit_runtime"])
def test_nothing_of_the_working_directory_is_imported(
    spins: Spin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server's may be anywhere: what lies there by chance is no module of the engine process."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path / "here")
    loaded = spins.load()
    assert right(batch(2, 0), loaded.ring.run(batch(2, 0)))
    [process] = spins.processes
    assert Path(f"/proc/{process}/cwd").readlink() == tmp_path / "here", "it is the one that it was started in"
    loaded.close()
    assert not (tmp_path / "imported").exists()


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A machine with these interpreters alone, all of them on PATH; their folder."""

    def put(*names: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(sys.executable)
        monkeypatch.setenv("PATH", str(folder))
        for word in ("prefix", "base_prefix"):
            monkeypatch.setattr(sys, word, str(tmp_path / "none"))
        return folder

    return put


@pytest.mark.parametrize("there", [(), ("python", "python3", "python2.7")])
def test_without_a_python_of_this_version_a_sentence_says_so(
    spins: Spin, only: Callable[..., Path], there: tuple[str, ...]
) -> None:
    only(*there)
    sentence = f"^no {NAME} is on PATH for the engine process, which `process: shared` needs$"
    with pytest.raises(ParameterError, match=sentence.replace(".", r"\.")):
        spins.load()
    assert spins.processes == []


def test_the_python_of_this_version_is_taken_from_path_and_no_other(only: Callable[..., Path]) -> None:
    assert starting._interpreter() == str(Path(sys.prefix, "bin", NAME)), "its own, where it is one"
    folder = only("python3", NAME)
    assert starting._interpreter() == str(folder / NAME)


# What the engine refuses ------------------------------------------------------------------------------------------


def save_picky(path: Path) -> None:
    """The model that spins, and looks its number of spins up in a table: those that are not in it are refused."""
    save_spins(path)
    model = onnx.load(path)
    model.graph.node.append(onnx.helper.make_node("Gather", ["table", "spins"], ["found"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, ["n", 1]))
    table = np.arange(TABLE, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def test_what_one_instance_sends_wrong_no_other_sees(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_picky(tmp_path / "picky.onnx")
    outputs = (DOUBLED, SUMS, TensorSpec("found", "FP32", (1,)))
    picky = [worker.load(work_of(tmp_path / "picky.onnx", outputs=outputs), 4) for _ in range(INSTANCES)]
    [process] = engine_processes(tmp_path)
    turns = 60

    def ask(number: int) -> list[str]:
        """What went wrong, turn by turn; the first instance sends every third batch with one bad item."""
        lot, said = np.random.default_rng(number), list[str]()
        for turn, items in enumerate(lot.integers(1, 5, size=turns).tolist()):
            asked = batch(items, 1000 * number + turn, spins=TABLE - 100)
            bad = number == 0 and turn % 3 == 0
            if bad:
                asked["spins"][-1] = -TABLE - 1
            try:
                answer = picky[number].ring.run(asked)
            except BatchError as error:
                said.append(f"{turn}: {error}")
                continue
            assert not bad
            assert right(asked, answer)
            assert (answer["found"] == TABLE - 100).all()
        return said

    with ThreadPoolExecutor(INSTANCES) as pool:
        own, *others = pool.map(ask, range(INSTANCES))
    assert others == [[]] * (INSTANCES - 1)
    assert [int(words.partition(":")[0]) for words in own] == list(range(0, turns, 3))
    assert all("ONNX Runtime could not run" in words and f"idx={-TABLE - 1}" in words for words in own), own
    assert engine_processes(tmp_path) == [process], "and it is the same process all the time"
    for one in picky:
        one.close()
    assert ended(tmp_path)
    jobs, batches = (
        int(word.replace(",", ""))
        for word in capfd.readouterr().err.split("ends with the last instance; ")[1].split()[::7]
    )
    assert batches < jobs == INSTANCES * turns - turns // 3, "batches were merged"
