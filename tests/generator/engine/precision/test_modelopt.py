"""ModelOpt: what is said where it is missing, and the call that is made where it is there.

The package needs PyTorch and is not among the project's; a stand-in with its signature takes its place here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from lowering_graphs import digits, digits_data, samples

from generator.engine.errors import Finding, StageError
from generator.engine.precision import Kept, modelopt
from generator.engine.runner import Samples

STAND_IN = """
import numpy, shutil, sys
calls = []

def quantize(onnx_path, quantize_mode="int8", calibration_data_reader=None, calibration_method=None,
             calibration_eps=("cpu", "cuda:0", "trt"), nodes_to_exclude=None, output_path=None, log_level="INFO",
             high_precision_dtype="fp16"):
    calls.append(dict(locals()))
    print("what nobody asked for")
    first = calibration_data_reader.get_first()
    read = list(iter(calibration_data_reader.get_next, None))
    assert read[0] is first and calibration_data_reader.get_next() is None
    calibration_data_reader.rewind()
    assert calibration_data_reader.get_next() is first
    calls[-1]["read"] = read
    print("\\n".join(f"line {number}" for number in range(99)))
    print("the last word", file=sys.stderr)
    if quantize_mode == "int8":
        raise RuntimeError("no such luck")
    shutil.copy(onnx_path, output_path)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "modelopt" / "onnx"
    package.mkdir(parents=True)
    (tmp_path / "modelopt" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "quantization.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("modelopt", "modelopt.onnx", "modelopt.onnx.quantization"):
        sys.modules.pop(name, None)


def said(*arguments: object) -> Finding:
    with pytest.raises(StageError) as raised:
        modelopt(*arguments)  # type: ignore[arg-type]
    [finding] = raised.value.findings
    return finding


def test_where_it_is_missing() -> None:
    finding = said(digits(), "fp8", samples(pixels=digits_data()[0][:8]))
    assert finding.code == "TK935"
    assert "pip install" in finding.message


@pytest.mark.usefixtures("stand_in")
def test_the_call(capfd: pytest.CaptureFixture[str]) -> None:
    pixels = digits_data()[0]
    given = Samples(({"pixels": pixels[:8]}, {"pixels": pixels[8:20]}), "")
    made = modelopt(digits(), "fp8", given, Kept(last=1), high_precision="bf16")
    assert [n.name for n in made.graph.node] == [n.output[0] for n in digits().graph.node]
    [call] = sys.modules["modelopt.onnx.quantization"].calls
    assert call["quantize_mode"] == "fp8"
    assert call["nodes_to_exclude"] == ["^logits$"]
    assert call["high_precision_dtype"] == "bf16"
    assert call["calibration_method"] == "max"
    assert [list(batch) for batch in call["read"]] == [["pixels"], ["pixels"]]
    np.testing.assert_array_equal(np.concatenate([batch["pixels"] for batch in call["read"]]), pixels[:20])
    assert capfd.readouterr() == ("", ""), "standard output is data"
    assert not Path(call["onnx_path"]).exists(), "nothing is left behind"
    onnx.checker.check_model(made)


@pytest.mark.usefixtures("stand_in")
def test_a_failure_inside_it_is_one_sentence() -> None:
    finding = said(digits(), "int8", samples(pixels=digits_data()[0][:8]))
    assert (finding.code, finding.message) == ("TK935", "ModelOpt failed: no such luck")
    assert finding.hint.startswith("it printed last: ")
    assert finding.hint.endswith("line 98 the last word")
    assert len(finding.hint) < 500


@pytest.mark.usefixtures("stand_in")
def test_a_graph_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_given: object) -> None:
        raise ValueError("2 GB are the most")

    monkeypatch.setattr(onnx, "save", save)
    finding = said(digits(), "fp8", samples(pixels=digits_data()[0][:8]))
    assert (finding.code, finding.message, finding.hint) == ("TK935", "ModelOpt failed: 2 GB are the most", "")


@pytest.mark.usefixtures("stand_in")
def test_samples_of_unlike_shapes() -> None:
    given = Samples(
        ({"pixels": np.ones((2, 1, 8, 8), np.float32)}, {"pixels": np.ones((2, 1, 9, 8), np.float32)}), ""
    )
    assert "2" in said(digits(), "fp8", given).message
