"""The steps before an engine as one kernel on its GPU: resize, normalize, cast and layout of a batch in one launch.

`pattern` says which steps it can take over, `recipe` reads them, `source` is the kernel, `nvrtc` compiles it while
the model loads, `staging` holds the pixels of a lane on their way, and `kernel` puts them together. `wanted` is what
a model asks for; where another process has the engine, `parcel` is what it is handed.
"""
