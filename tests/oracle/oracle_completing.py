"""Models whose own code completes their configuration, for a server that lets them: rightly, or not."""

from __future__ import annotations

from random import Random

from oracle_mutations import Change
from oracle_repository import MODEL_PY, Repository

_HEAD = "\n    @staticmethod\n    def auto_complete_config(config):\n"
_BODIES = (
    "return config",
    "return config",
    "return config",
    "pass",
    "return None",
    "config.set_max_batch_size(64)\nreturn config",
    "config.set_max_batch_size(1)\nreturn config",
    "config.set_dynamic_batching()\nreturn config",
    'config.add_input({"name": "in0", "data_type": "TYPE_FP32", "dims": [2]})\nreturn config',
    'config.add_input({"name": "more9", "data_type": "TYPE_FP32", "dims": [2], "optional": True})\nreturn config',
    'config.add_input({"name": "more9", "data_type": "TYPE_FP32"})\nreturn config',
    'config.add_output({"name": "more9", "data_type": "TYPE_FP32", "dims": [2], "label_filename": "x"})\nreturn config',
    'config.add_output({"name": "out0", "data_type": "TYPE_INT32", "dims": [1, 2]})\nreturn config',
    'config.add_output({"name": "more9", "data_type": "TYPE_FP32", "dims": [-1]})\nreturn config',
    'config.add_output({"name": "more9", "data_type": "TYPE_FP32", "dims": [0]})\nreturn config',
    'config.set_model_transaction_policy({"decoupled": True})\nreturn config',
)
_FREE = (
    "\n    def auto_complete_config(config):\n        return config\n",
    "\n    def auto_complete_config(self, config):\n        return config\n",
    "\n    @classmethod\n    def auto_complete_config(cls, config):\n        return config\n",
    "\n    @staticmethod\n    def auto_complete_config():\n        return None\n",
)


def complete(random: Random, repository: Repository) -> list[Change]:
    """Give some of the Python models such a method, and take from some configs what it might give back."""
    changes = []
    for key, model in repository.models.items():
        names = [name for name, data in model.files.items() if data == MODEL_PY]
        if not names or random.random() < 0.5:
            continue
        body = random.choice(_BODIES)
        lines = "".join(f"        {line}\n" for line in body.split("\n"))
        method = random.choice(_FREE) if random.random() < 0.25 else _HEAD + lines
        for name in names:
            model.files[name] = MODEL_PY + method.encode()
        changes.append(Change(key, f"auto_complete_config of {key}: {' '.join(method.split())}", (33,)))
    return changes
