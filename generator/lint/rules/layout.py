"""Names, version directories, configurations and model files: what stands where, before any value is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from generator.lint.files import Folder
from generator.lint.model import CONFIG_FILE, Model
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.versions import OTHERS, is_too_large, number_of
from generator.pbtxt.words import guess, some
from generator.problems import Place, errors

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_REPOSITORY = "core model_repository_manager.cc"
_LIFECYCLE = "core model_lifecycle.cc, VersionsToLoad"
# What a shell without quotes makes something else of, and what the stub's Python cannot read: it knows ASCII alone.
_NOT_FOR_A_SHELL = re.compile(r"[\s'\"\\`;&|()<>]|^#|\$[\w{(@*#?$!-]|\{[^{}]*,|[^\x00-\x7f]")
_MODULE = re.compile(r"(?:[^./]+/)*[^./]*\.py")
_CHECKS_NAMES_SINCE = "26.03"
# Backends of which it is known that they need the file of `default_model_filename` in the version's directory.
# TensorRT reads one, too: TK700.
_READ_A_FILE = ("python", "onnxruntime", "pytorch", "openvino", "tensorflow")


def is_module(file: str) -> bool:
    """Whether a Python model can have that file: the backend imports it, so its path is that of a module."""
    return _MODULE.fullmatch(file) is not None and not _NOT_FOR_A_SHELL.search(file)


def has_no_config(model: Model) -> bool:
    """Whether there is no configuration, and the server may not or cannot make one."""
    if model.config_folder is not None:
        return False
    if not model.server.auto_complete or model.folder.has_folder(CONFIG_FILE) or _is_no_model(model):
        return True
    return not model.completed.backend


def _is_no_model(model: Model) -> bool:
    """Whether a directory without a configuration has nothing of a model but a dot in its name, of which the server
    makes a backend, as of `.git`."""
    has_version = any(number_of(name) is not None for name, is_folder in model.folder.entries.items() if is_folder)
    return not has_version and "." in model.name and model.completed.backend == model.name.partition(".")[2]


# What says which files a model needs.
FILE_FIELDS = ("backend", "platform", "runtime", "default_model_filename", "cc_model_filenames", "version_policy")


def is_known(model: Model, *fields: str) -> bool:
    """Whether fields of the top say what they are meant to, although other parts of the file could not be read."""
    if model.is_complete:
        return True
    if model.config_folder is None:
        return False
    known = model.config.DESCRIPTOR.fields_by_name
    for problem in errors(model.text.problems):
        top = re.split(r"[.\[]", problem.field)[0]
        if not top or (top if top in known else guess(top, known)) in fields:
            return False
    return True


def is_text(name: str) -> bool:
    """Whether the bytes of a name are UTF-8; Python has those that are not as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


@rule("TK502", ERROR, f"{_REPOSITORY}, InitializeModelInfo", local=True)
def another_name(model: Model) -> Iterator[Finding]:
    """A config.pbtxt names another model than its directory.

    A model is asked for by its directory's name, and the server refuses a configuration that gives it another one.
    Without `name`, the directory's name counts.

    Bad:
        name: "sums"
    Good:
        name: "adder"
    """
    name = model.config.name
    if name and name != model.name and is_text(model.name):
        text = f"`{name}` stands in directory `{model.name}`"
        # A name with anything else in it would have to be escaped: that is better done by hand.
        edits = model.replaced("name", f'"{model.name}"') if _PLAIN.fullmatch(model.name) else ()
        hint = f"Triton wants both alike: write `{model.name}` here, or rename the directory"
        yield model.found("name", text, hint, edits=edits)


@rule("TK503", ERROR, _LIFECYCLE, local=True)
def no_version(model: Model) -> Iterator[Finding]:
    """A model has no version directory.

    The server looks for directories that are called by a number and offers each as a version; a model without one is
    refused. Names that begin with a zero, such as `01`, are passed over, and so are files. An ensemble needs a
    version, too, even if it is empty.

    Bad:
        -- adder/01/model.py = identity --
    Good:
        -- adder/1/model.py = identity --
    """
    if has_no_config(model) or any(
        number_of(name) is not None for name, is_dir in model.folder.entries.items() if is_dir
    ):
        return
    near = [name for name in model.folder.entries if name not in OTHERS and re.match(r"\d", name)]
    text = "there is no version directory beside it"
    if near:
        kind = "begins with a zero" if model.folder.has_folder(near[0]) else "is a file"
        text += f": `{near[0]}` {kind}"
    yield model.found("", text, "`mkdir 1`, even if it is empty")


@rule("TK600", ERROR, f"{_REPOSITORY}, InitializeModelInfo", local=True)
def no_config(model: Model) -> Iterator[Finding]:
    """A directory has no config.pbtxt.

    Every directory of a repository is a model to the server, hidden ones such as `.git` too. A server that loads
    all models by itself does not start with one that it cannot load, unless it is told to. One without a
    configuration is refused when the server runs with `--disable-auto-complete-config`; else it takes the backend
    from the files in the first sub-directory, if it knows one of them. A directory of the name `config.pbtxt` ends
    the server: it reads it as a file.

    Bad:
        import triton_python_backend_utils as pb_utils
    Good:
        backend: "python"
    """
    if not has_no_config(model):
        return
    place = Place(model.folder.path)
    if model.name.startswith(".") and model.folder.entries.get(CONFIG_FILE) is None:
        text = f"`{model.name}` is no model, and the server takes every directory of a repository for one"
        hint = "keep the repository in a directory that has models alone, below the one with this"
        yield model.found("", text, hint, place=place)
        return
    if model.folder.has_folder(CONFIG_FILE):
        text = f"`{CONFIG_FILE}` is a directory, and a server that reads it ends"
        yield model.found("", text, "it is a file", place=Place(model.folder.shown(CONFIG_FILE)))
        return
    configs = model.folder.folder("configs").entries if model.folder.has_folder("configs") else {}
    names = [name.removesuffix(".pbtxt") for name in configs if name.endswith(".pbtxt")]
    asked = model.server.config_name
    text = f"there is no {CONFIG_FILE}" + (f", and no configs/{asked}.pbtxt" if asked else "")
    if model.server.auto_complete:
        text += ", and no file in the first sub-directory tells the backend"
    hint = "write one, or move what is no model out of the repository: every directory in it is taken for a model"
    if names and not asked:
        hint = f"of those in configs/ the server takes one by `--model-config-name`, as in `{names[0]}`"
    yield model.found("", text, hint, place=place)


@rule("TK601", ERROR, _LIFECYCLE, local=True)
def no_version_left(model: Model) -> Iterator[Finding]:
    """A version policy leaves no version.

    The server takes what the policy allows of the version directories that there are, and refuses a model of which
    nothing is left. `latest` without `num_versions` means none.

    Bad:
        version_policy { specific { versions: [ 3 ] } }
    Good:
        version_policy { specific { versions: [ 1 ] } }
    """
    if not model.versions or model.served or not is_known(model, "version_policy"):
        return
    policy = model.config.version_policy
    there = f"there {'is' if len(model.versions) == 1 else 'are'} {_listed(model.versions)}"
    if policy.HasField("specific"):
        wanted = _listed(policy.specific.versions) if policy.specific.versions else "none"
        yield model.found("version_policy.specific", f"it asks for {wanted}, {there}", "no version is left to serve")
        return
    text = f"the latest {policy.latest.num_versions} versions of {_listed(model.versions)} are none"
    yield model.found("version_policy.latest", text, "`latest { num_versions: 1 }` serves the newest")


@rule("TK602", ERROR, f"{_REPOSITORY}, Poll", local=True)
def two_of_a_name(model: Model) -> Iterator[Finding]:
    """Two repositories have a model of the same name.

    A server with several repositories refuses a name that stands in more than one of them: it loads neither, nor an
    ensemble that needs it. That one of them is empty or broken does not help.
    Below, another repository `A` has an `adder`, too.

    Bad:
        -- B:adder/config.pbtxt --
    Good:
        -- B:doubler/config.pbtxt --
    """
    twins = model.repository.twins[model.name]
    if len(twins) > 1:
        others = " and ".join(twin.folder.path for twin in twins if twin is not model)
        yield model.found(
            "", f"there is another model `{model.name}`: {others}", "rename one, or serve one repository"
        )


@rule("TK603", WARNING, _LIFECYCLE, local=True)
def absent_version(model: Model) -> Iterator[Finding]:
    """A version policy names a version that is not there.

    The server logs it as an error, loads the versions that there are, and calls the model ready. A client that asks
    for the other version fails.

    Bad:
        version_policy { specific { versions: [ 1, 2 ] } }
    Good:
        version_policy { specific { versions: [ 1 ] } }
    """
    if not model.served or not is_known(model, "version_policy"):
        return
    there = set(model.versions)
    for index, number in enumerate(model.config.version_policy.specific.versions):
        if number not in there:
            text = f"there is no directory `{number}`, and the server only logs that"
            yield model.found(f"version_policy.specific.versions[{index}]", text, "remove it, or add the version")


@rule("TK604", WARNING, _LIFECYCLE, local=True)
def odd_version_name(model: Model) -> Iterator[Finding]:
    """A directory has a name that the server reads as another number, or passes over.

    The server reads the number that a directory's name begins with and ignores the rest: `1_bak` makes a version 1,
    whose files it then looks for in `1`. A directory whose name begins with a zero is passed over. A number beyond 64
    bits ends the server, and a negative one makes a version that nobody can ask for.

    Bad:
        -- adder/2_old/model.py = identity --
    Good:
        -- adder/2/model.py = identity --
    """
    for name, is_folder in model.folder.entries.items():
        if not is_folder or name in OTHERS:
            continue
        number, place = number_of(name), Place(model.folder.shown(name))
        if number is None:
            if model.versions and name.isdecimal() and name.isascii():
                yield model.found("", f"`{name}` begins with a zero, and the server passes it over", "", place=place)
        elif is_too_large(number):
            text = f"the number {number} does not fit into 64 bits, and a server that reads it ends"
            yield model.found("", text, "give it a smaller one", place=place, severity=ERROR)
        elif number < 0:
            # The API takes -1 for the newest version, and lists no negative one.
            alone = model.is_complete and bool(model.served) and all(v.number < 0 for v in model.served)
            text = f"the server takes `{name}` for version {number}, which nobody can ask for"
            yield model.found("", text, "rename it", place=place, severity=ERROR if alone else None)
        elif str(number) != name:
            text = f"the server takes `{name}` for version {number}"
            hint = "move it out of the model's directory, or give it a name that does not begin with a number"
            yield model.found("", text, hint, place=place)


_NEEDED = "python_backend python_be.cc and the backends' own; model_lifecycle.cc, OnLoadFinal"


@rule("TK605", ERROR, _NEEDED, local=True)
def no_model_file(model: Model) -> Iterator[Finding]:
    """A version has no model file.

    A backend reads `default_model_filename`, or what it takes without one, such as `model.py`, from every version
    that is served. One version that fails makes the whole model fail. For a Python model without its file the server
    may wait for ever: this load, or the next one of that model, never answers.

    Bad:
        default_model_filename: "sums.py"
    Good:
        default_model_filename: "adder.py"
    """
    config = model.completed
    name, backend = config.default_model_filename, config.backend
    if backend not in _READ_A_FILE or not name or (backend != "python" and config.cc_model_filenames):
        return
    if not is_known(model, *FILE_FIELDS):
        return
    if backend == "python" and not is_module(name):
        return
    for version in model.served:
        if version.number < 0:
            continue
        found = version.folder.find(name)
        there = model.folder.has_folder(str(version.number))
        text = ""
        if found is None and version.folder.has_file("engine.request.json"):
            continue  # rendered: the plan is built of it, on the machine that has the GPU
        if found is None:
            text = f"`{version.number}/{name}` is not there" + ("" if there else ", nor is that directory")
        elif _leads_nowhere(*found):
            text = f"`{version.number}/{name}` is a link that leads nowhere"
        elif backend == "python" and found[0].has_folder(found[1]):
            text = f"`{version.number}/{name}` is a directory"
        if text:
            yield model.found(
                "default_model_filename", text, "put the file there: every version that is served needs it"
            )


def _leads_nowhere(folder: Folder, name: str) -> bool:
    try:
        return folder.has_file(name) and folder.size_bytes(name) < 0
    except FileNotFoundError:
        return True
    except OSError:
        return False  # what cannot be looked at is another rule's


@rule("TK606", ERROR, "python_backend stub_launcher.cc, Launch", local=True)
def name_for_a_shell(model: Model) -> Iterator[Finding]:
    """The name of a Python model has characters that its backend cannot use.

    The Python backend starts a model by a shell command without quotes that has the model's name and path in it. A
    space, a quote or another sign that means something to a shell breaks the command, and the server waits for ever
    for a process that never starts; newer ones refuse some of these names. A letter beyond ASCII fails while the
    model is imported.

    Bad:
        name: "adder(1)"
    Good:
        name: "adder"
    """
    if model.completed.backend != "python" or not is_known(model, *FILE_FIELDS):
        return
    if is_text(model.name) and (found := _NOT_FOR_A_SHELL.search(model.name)):
        text = f"a Python model cannot be called `{model.name}`: the backend's shell command breaks at `{found[0]}`"
        yield model.found("name", text, "take ASCII letters, digits, `_`, `-` and `.`")


@rule("TK607", WARNING, f"{_REPOSITORY}, ValidateModelName", live=False, local=True)
def dots_in_a_name(model: Model) -> Iterator[Finding]:
    """A model's name looks like a path.

    Servers of 26.03 and later refuse to load a model by its name when the name has two dots in a row or is
    nothing but spaces; older ones load it. A server that loads the whole repository by itself takes it.

    Bad:
        name: "adder..2"
    Good:
        name: "adder.2"
    """
    if ".." in model.name or not model.name.strip(" \t\n\v\f\r"):
        severity = ERROR if model.release >= _CHECKS_NAMES_SINCE else None
        text = f"servers of {_CHECKS_NAMES_SINCE} and later refuse to load a model called `{model.name}`"
        yield model.judged(model.found("name", text, "take a name without `..`", severity=severity), WARNING)


@rule("TK608", WARNING, f"{_REPOSITORY}, GetModelConfigFullPath", live=False, local=True)
def falls_back(model: Model) -> Iterator[Finding]:
    """The configuration that is asked for is not there, and another one is taken.

    Under `--model-config-name small` the server takes configs/small.pbtxt of a model, and without a word its
    config.pbtxt where there is none. A model with a `configs` directory probably meant to have it.

    Bad:
        -- adder/configs/large.pbtxt --
    Good:
        -- adder/configs/small.pbtxt --
    """
    asked = model.server.config_name
    if not asked or model.config_folder is None or not model.folder.has_folder("configs"):
        return
    if model.config_folder[0] is model.folder and not model.folder.folder("configs").has_file(f"{asked}.pbtxt"):
        yield model.found(
            "", f"there is no configs/{asked}.pbtxt, so the server takes this", "add it, if it was meant"
        )


@rule("TK609", ERROR, "core filesystem, GetDirectorySubdirs", local=True)
def broken_link(model: Model) -> Iterator[Finding]:
    """A link in a model's directory leads nowhere.

    The server asks of everything in a model's directory whether it is a directory, and refuses the model when it
    cannot tell. Inside a version's directory such a link does no harm.

    Bad:
        -- adder/1/model.py = identity --
        -- adder/weights.bin = nowhere --
    Good:
        -- adder/1/model.py = identity --
        -- adder/1/weights.bin = nowhere --
    """
    for name, is_folder in model.folder.entries.items():
        if is_folder:
            continue
        try:
            model.folder.size_bytes(name)
        except OSError:
            text = f"`{name}` cannot be looked at, as a link that leads nowhere"
            yield model.found("", text, "remove it", place=Place(model.folder.shown(name)))


def _listed(numbers: Iterable[int]) -> str:
    return some(sorted(numbers), quote="")
