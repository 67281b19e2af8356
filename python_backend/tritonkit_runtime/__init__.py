"""What runs inside Triton's Python backend: a model's parameters, its steps or engine, and batches of requests.

`adapter` is the only module that knows the server; everything else runs, and is tested, without one.
"""
