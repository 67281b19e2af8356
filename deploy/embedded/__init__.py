"""The embedded server: the real tritonserver of the nvidia-pytriton wheel, started, watched and always reaped."""
