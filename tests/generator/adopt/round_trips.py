"""A repository imported into a project, written, rendered from what was written, and compared."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.adopt.adopt import Adopted, Where, adopt
from generator.adopt.put import put
from generator.problems import errors
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from protobuf_text import parse


def imported(repository: Path, project: Project, where: Where) -> Adopted:
    """The import, written into the project."""
    adopted = adopt(repository, project, where)
    put(adopted, project, project.specs)
    return adopted


def rendered(project: Project, target: str) -> dict[str, bytes]:
    """What the specs of the project render to, read from disk as any command reads them."""
    work = open_workspace(project, target=target)
    assert errors(work.problems) == ()
    [tree] = render_trees(work)
    return dict(tree.files)


def configs(files: dict[str, bytes]) -> dict[str, ModelConfig]:
    """The messages by directory, as protobuf's own parser reads them."""
    return {
        path.partition("/")[0]: parse(data.decode())
        for path, data in files.items()
        if path.count("/") == 1 and path.endswith("/config.pbtxt")
    }


def on_disk(repository: Path) -> dict[str, bytes]:
    """Every file of a repository's models by its path, but what Python left there."""
    files = [path for path in sorted(repository.glob("*/**/*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(repository).as_posix(): path.read_bytes() for path in files}


def same(one: dict[str, ModelConfig], other: dict[str, ModelConfig]) -> bool:
    """Whether they are equal, a NaN like any NaN."""
    if one == other:
        return True
    texts = [
        {name: text_format.MessageToString(message) for name, message in found.items()} for found in (one, other)
    ]
    return texts[0] == texts[1]


def comes_back(repository: Path, project: Project, where: Where) -> Adopted:
    """Imports, renders and compares messages and files; what was imported."""
    adopted = imported(repository, project, where)
    theirs, ours = on_disk(repository), rendered(project, where.target)
    assert same(configs(ours), configs(theirs))
    flows = {name for name, draft in adopted.drafts.items() if draft.form == "flow"}
    for path, data in theirs.items():
        model = path.partition("/")[0]
        if path != f"{model}/config.pbtxt" and f"{model}/config.pbtxt" in theirs and model not in flows:
            assert ours[path] == data, path
    return adopted
