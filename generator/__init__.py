"""From a spec to a model repository: load, resolve, config, render, write; each a pure stage but the two ends."""

import os

# Since 1.29 ONNX Runtime tells its maker about models and machine over the network, and leaves files in the temporary
# folder (`.ses`) and in ~/.cache, unless this is set before anything imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
