"""Mutations of what lies beside the configs: directories, versions, label and warm-up files, code."""

from __future__ import annotations

from random import Random

from oracle_mutations import DISK, Change, mutation
from oracle_repository import MODEL_PY, Model, Repository


def _any(random: Random, repository: Repository) -> tuple[str, Model]:
    key = random.choice(list(repository.models))
    return key, repository.models[key]


@mutation(DISK, 3)
def version_folders(random: Random, repository: Repository) -> Change | None:
    """Version directories removed, added, or under names that are no plain numbers."""
    key, model = _any(random, repository)
    way = random.choice(("remove", "rename", "rename", "rename", "add", "add", "file", "reserved"))
    name = random.choice(
        ("01", "1_bak", "v1", "0", "1 ", "1.0", " 1", "00", "+1", "2", "4294967296", "1e3", "warmup")
    )
    files, empty = model.files, model.empty
    if way == "add":
        empty.add(random.choice((name, "notes", "3x")))
        return Change(key, f"a directory more in {key}", (3,))
    if way == "reserved":
        empty.add(random.choice(("warmup", "initial_state", "configs")))
        return Change(key, f"an empty directory of a reserved name in {key}", (3,))
    inside = {path: data for path, data in files.items() if path.startswith("1/")}
    if not inside and "1" not in empty:
        return None
    for path in inside:
        del files[path]
    empty.discard("1")
    if way == "rename":
        files.update({name + path[1:]: data for path, data in inside.items()})
        if not inside:
            empty.add(name)
    elif way == "file":
        files["1"] = b"1\n"
    return Change(key, f"{way} the version directory 1 of {key} ({name!r})", (3, 26))


@mutation(DISK, 0.8)
def folder_name(random: Random, repository: Repository) -> Change | None:
    """The model's directory has another name than its config, or the config is gone."""
    key, model = _any(random, repository)
    if random.random() < 0.6:
        model.folder += random.choice(("x", ".bak", "_2"))
        return Change(key, f"{key}'s directory is {model.folder}", (2, 26))
    model.text = None
    return Change(key, f"{key} has no config.pbtxt", (2, 6))


@mutation(DISK, 0.7)
def twin(random: Random, repository: Repository) -> Change | None:
    """The same name in a second repository, or nothing but an empty second repository."""
    key, model = _any(random, repository)
    model.twin = True
    return Change(key, f"{key} is in two repositories", (2,))


@mutation(DISK, 2.5)
def shorter_file(random: Random, repository: Repository) -> Change | None:
    """A warm-up or state file of another size, or gone."""
    found = [
        (key, name)
        for key, model in repository.models.items()
        for name in model.files
        if name.startswith(("warmup/", "initial_state/"))
    ]
    if not found:
        return None
    key, name = random.choice(found)
    files = repository.models[key].files
    way = random.choice(("shorter", "longer", "longer", "gone", "empty"))
    data = files.pop(name)
    if way != "gone":
        files[name] = {"shorter": data[:-1], "longer": data + b"\0", "empty": b""}[way]
    return Change(key, f"{name} of {key}: {way}", (22,) if name.startswith("warmup/") else (17,))


@mutation(DISK, 1.5)
def lost_labels(random: Random, repository: Repository) -> Change | None:
    """The file of labels is gone, or elsewhere, or a directory."""
    found = [key for key, model in repository.models.items() if "labels.txt" in model.files]
    if not found:
        return None
    key = random.choice(found)
    model = repository.models[key]
    data = model.files.pop("labels.txt")
    way = random.choice(("gone", "version", "folder", "empty", "binary"))
    if way == "version":
        model.files["1/labels.txt"] = data
    elif way == "folder":
        model.empty.add("labels.txt")
    elif way != "gone":
        model.files["labels.txt"] = {"empty": b"", "binary": b"\xff\x00\n"}[way]
    return Change(key, f"labels.txt of {key}: {way}", (21,))


_CODES = {
    "syntax error": b"class TritonPythonModel\n",
    "no class": b"class Model:\n    def execute(self, requests):\n        return []\n",
    "class elsewhere": MODEL_PY.replace(b"class TritonPythonModel", b"class Model")
    + b"\n\nTritonPythonModel = Model\n",
    "no execute": b"class TritonPythonModel:\n    pass\n",
    "comment": b"# -*- coding: utf-8 -*-\n" + MODEL_PY,
    "empty": b"",
    "class inside": MODEL_PY.replace(b"\n\nclass", b"\n\nif True:\n    pass\n\n\nclass"),
    "lower case": MODEL_PY.replace(b"TritonPythonModel", b"tritonPythonModel"),
    "tabs": MODEL_PY.replace(b"    ", b"\t"),
    "bad indentation": MODEL_PY.replace(b"        self.decoupled", b"      self.x = 1\n        self.decoupled"),
    "finalize": MODEL_PY + b"\n    def finalize(self):\n        pass\n",
}


@mutation(DISK, 4)
def code(random: Random, repository: Repository) -> Change | None:
    """Code that Python or the backend does not take, or that looks odd and is fine."""
    key, model = _any(random, repository)
    names = [name for name in model.files if name.endswith(".py")]
    if not names:
        return None
    name = random.choice(names)
    way = random.choice(list(_CODES))
    model.files[name] = _CODES[way]
    return Change(key, f"{name} of {key}: {way}", (4,))
