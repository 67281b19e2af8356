"""One process that runs the engine for all instances of a model on one GPU, or on the CPU: `process: shared`.

An instance is a process. With an engine of its own each, kernels of several contexts take turns on the GPU, in the
small batches that one instance collects. Here the instances do the host's work and hand rows over in shared memory
(`worker`), and the engine process (`serving`) runs what has come from all of them as one batch. Where a kernel there
makes an input, instances hand over images, and files among them are decoded there (`decoding`).
"""
