"""A model loaded once beside the running ones, under a name of its own, before anything of them is touched.

A version that fails to load stays in the server's books as unavailable, and the server then calls itself not ready
until it is restarted or that version loads. So a model is tried first, with its content in the request: it is in no
repository, no index shows it, and when it failed a model of nothing takes its place and is unloaded. Seen on 2.51.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from deploy.embedded import log
from deploy.embedded.changes import version_of
from deploy.embedded.control import Control, LoadFailedError
from generator.problems import UserError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

SUFFIX = ".tritonkit-trial"
LARGEST_BYTES = 2**31 - 2**24  # of one message, and some room for its other fields
_FOLDER = re.compile(r"(?:/\S*?/)?\bfolder\w{6}(?=/)")  # where the server keeps the content of a request
_NOTHING = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


def try_model(
    control: Control, config: ModelConfig, files: Mapping[str, bytes], versions: Iterable[int],
    on_progress: Callable[[str], None] = lambda _line: None,
) -> bool:  # fmt: skip
    """Load these versions of a model once, with one instance of each group, and unload them.

    `files` are those of its directory. False when they are too large to be sent and so were not tried. Raises
    LoadFailedError, with the server as it was before. An interrupt waits for the load, which the server does not
    break off.
    """
    wanted = set(versions)
    content = {path: data for path, data in files.items() if version_of(path) in {*wanted, None}}
    content.pop("config.pbtxt", None)
    _check_python(config, content, wanted)
    if sum(map(len, content.values())) > LARGEST_BYTES:
        return False
    # A name of its own each time: the load of what a broken-off trial left would do nothing, and so always succeed.
    name = f"{config.name}{SUFFIX}-{secrets.token_hex(4)}"
    try:
        control.load(name, config=_as_json(_alone(config, name)), files=content)
        control.unload(name)
    except BaseException as error:
        if not isinstance(error, LoadFailedError):
            on_progress(f"ending the trial of {config.name}: the server finishes that load first")
        with contextlib.suppress(UserError):
            control.load(name, config=_as_json(_of_nothing(name)), files={f"{v}/model.py": _NOTHING for v in wanted})
            control.unload(name)
        if isinstance(error, LoadFailedError):
            raise LoadFailedError([_renamed(cause, name, config.name) for cause in error.causes]) from error
        raise
    return True


def unload_left_over(control: Control) -> None:
    """Unloads what trials left that were killed. Raises UserError; only for who knows that no trial runs."""
    for name in control.loaded():
        if SUFFIX in name:
            control.unload(name)


def _check_python(config: ModelConfig, content: Mapping[str, bytes], versions: Iterable[int]) -> None:
    """Triton 2.51 waits for ever for a Python model without its file."""
    if config.backend != "python":
        return
    file = config.default_model_filename or "model.py"
    missing = [f"{version}/{file}" for version in sorted(versions) if f"{version}/{file}" not in content]
    if missing:
        cause = log.Cause(
            config.name, f"its {missing[0]} is missing", "put it where the spec's `files` leads", "python"
        )
        raise LoadFailedError([cause])


def _alone(config: ModelConfig, name: str) -> ModelConfig:
    """The configuration under another name, for all versions there are, with the fewest instances."""
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    tried = ModelConfig()
    tried.CopyFrom(config)
    tried.name = name
    tried.version_policy.all.SetInParent()
    for group in tried.instance_group:
        group.count = 1
    return tried


def _of_nothing(name: str) -> ModelConfig:
    """A Python model that loads whatever the machine, and is never asked anything."""
    from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

    config = ModelConfig(name=name, backend="python")
    config.input.add(name="x", data_type="TYPE_FP32", dims=[1])
    config.output.add(name="y", data_type="TYPE_FP32", dims=[1])
    config.instance_group.add(kind=ModelInstanceGroup.KIND_CPU, count=1)
    config.version_policy.all.SetInParent()
    return config


def _as_json(config: ModelConfig) -> str:
    from google.protobuf import json_format

    return json_format.MessageToJson(config, preserving_proto_field_name=True)


def _renamed(cause: log.Cause, trial: str, model: str) -> log.Cause:
    """The cause as of the model that is tried, and of the files that were sent."""
    sentence = _FOLDER.sub(model, cause.sentence).replace(trial, model)
    return replace(cause, model=model if cause.model else "", sentence=sentence)
