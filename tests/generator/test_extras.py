"""What says how to install an optional package says it right, wherever it is said."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from generator.extras import EXTRAS, install, missing, remedy

ROOT = Path(__file__).parents[2]
PACKAGES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}  # where it is not the module's name
OUR_OWN = {"tritonkit": ROOT / "pyproject.toml", "tritonkit-runtime": ROOT / "python_backend" / "pyproject.toml"}
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?")
# A line of pip's that installs a folder as it stands, whichever pip.
EDITABLE = re.compile(r"pip install (?:-c \S+ )?-e [^`\n]*")


def brought_by(project: str, extra: str) -> set[str]:
    """Every package that an extra names, those of our own extras in it too."""
    told: dict[str, Any] = tomllib.loads(OUR_OWN[project].read_text(encoding="utf-8"))
    found: set[str] = set()
    for line in told["project"]["optional-dependencies"][extra]:
        match = REQUIREMENT.match(line)
        assert match is not None
        if match[1] in OUR_OWN:
            found |= set().union(*(brought_by(match[1], inner) for inner in match[2].split(",")))
        else:
            found.add(match[1])
    return found


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_an_extra_brings_what_it_is_named_for(package: str, extra: str) -> None:
    assert PACKAGES.get(package, package).replace("_", "-") in brought_by("tritonkit", extra)


def test_the_line_takes_the_runtime_from_beside_it_and_the_versions_as_tested() -> None:
    """No index has the runtime, and what pip would choose by itself nobody has tried."""
    line = 'pip install -c constraints.txt -e python_backend -e ".[load]"'
    assert install("load") == line
    assert remedy("load") == f"`{line}` in the clone brings it"
    assert (ROOT / "constraints.txt").is_file()
    assert tomllib.loads(OUR_OWN["tritonkit-runtime"].read_text())["project"]["name"] == "tritonkit-runtime"


@pytest.mark.parametrize(
    "folder", ["benchmarks", "deploy", "docs", "generator", "loadtest", "models", "python_backend", "tritonkit"]
)
def test_every_line_that_is_told_is_this_one(folder: str) -> None:
    files = [file for kind in ("*.md", "*.py", "*.yaml") for file in (ROOT / folder).rglob(kind)]
    told = [line for file in files for line in EDITABLE.findall(file.read_text(encoding="utf-8"))]
    # ModelOpt wants versions of its own, so it comes without ours.
    tested = [line for line in told if ".[modelopt]" not in line]
    assert all(line.startswith("pip install -e python_backend -e ") for line in set(told) - set(tested))
    assert [line for line in tested if not line.startswith(install("").partition("[")[0])] == []


def test_only_a_package_of_an_extra_is_the_users_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(name: str) -> ModuleNotFoundError:
        return ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setitem(sys.modules, "tokenizers", ModuleType("tokenizers"))
    assert missing(raised("tokenizers.no_such_part")) is None  # it is there: another version, or a mistake of ours
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    sentence = "this needs the package `onnxruntime`, which is not installed here"
    assert missing(raised("onnxruntime")) == (sentence, remedy("build"))
    assert missing(raised("onnxruntime.quantization")) == (sentence, remedy("build"))
    assert missing(raised("generator.no_such_module")) is None  # ours to mend
    assert missing(ModuleNotFoundError("without a name")) is None
    assert missing(ImportError("broken", name="onnxruntime")) is None
