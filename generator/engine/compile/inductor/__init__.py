"""PyTorch's Inductor: an ahead-of-time package where that works, else torch.compile with its cache.

torch is an optional extra and heavy: nothing here imports it outside of functions, and what compiles runs in a
process of its own (`worker.py`), which may crash, hang or be stopped without harm.
"""
