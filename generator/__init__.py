"""From a spec to a model repository: load, resolve, config, render, write; each a pure stage but the two ends."""
